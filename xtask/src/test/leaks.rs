//! The search for secrets in everything that was printed. Names the place; never prints the secret.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use e2e::secrets;

use super::Results;

/// What a search found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// How many secrets were looked for.
    pub(super) secrets: usize,
    files: usize,
    /// Where one was found, a line each.
    pub(super) places: Vec<String>,
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secrets, files, places } = self;
        write!(f, "{} of {secrets} secrets found in {files} outputs", places.len())
    }
}

pub(super) fn search(results: &Results) -> anyhow::Result<Search> {
    search_files(&results.files()?, &results.secrets())
}

fn search_files(files: &[PathBuf], secrets_file: &Path) -> anyhow::Result<Search> {
    let secrets = secrets::read(secrets_file)?;
    let mut search = Search { secrets: secrets.len(), files: files.len(), places: Vec::new() };
    let looking = secrets::Search::new(&secrets);
    for file in files {
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let lines = looking.lines(&String::from_utf8_lossy(&bytes));
        let place = |line: usize| format!("a secret stands in {}:{line}", file.display());
        search.places.extend(lines.into_iter().map(place));
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_secret_is_named_and_not_the_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("it is written");
            path
        };
        let known = write("secrets", "tok3n-of-somebody\npassw0rd-of-somebody\n");
        let clean = write("clean.log", "a line\nanother\n");
        let leaky = write("leaky.log", "a line\nAuthorization: Bearer tok3n-of-somebody\n");
        let search = search_files(&[clean, leaky.clone()], &known).expect("it searches");
        assert_eq!(search.places, [format!("a secret stands in {}:2", leaky.display())]);
        assert_eq!((search.secrets, search.files), (2, 2));
        assert!(!format!("{search} {search:?}").contains("tok3n"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        assert!(search_files(&[PathBuf::from("/no/such/output")], Path::new("/no/such/file")).is_err());
    }
}
