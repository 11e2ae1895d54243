//! Every secret that the tests sent or saw. Owns remembering them, so that all output can be searched for them; never
//! prints one.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aho_corasick::AhoCorasick;
use anyhow::Context as _;

/// The file to which each secret is appended, a line each, where this variable names one: `cargo xtask test` searches the
/// output of the whole suite for them.
pub const FILE_VARIABLE: &str = "ROAM_SECRETS_FILE";

static REMEMBERED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers a password, token or cookie. A token's last part (its signature, its MAC) is remembered by itself too: who
/// cuts a token off for a log line has still written a secret.
///
/// # Panics
/// The file that [`FILE_VARIABLE`] names cannot be written: a search for half the secrets would prove nothing.
pub fn remember(secret: &str) {
    let last_part = secret.rsplit('.').next().unwrap_or(secret);
    for part in [secret, last_part] {
        let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
        if is_distinctive(part) && remembered.insert(part.to_owned()) {
            append(part).expect("the file of secrets can be written");
        }
    }
}

/// All that were remembered in this process.
pub fn secrets() -> Vec<String> {
    REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// A text that would not stand in an output by chance, as "wrong password" would.
fn is_distinctive(text: &str) -> bool {
    text.len() >= 12 && !text.contains('\n') && text.bytes().any(|byte| byte.is_ascii_digit())
}

fn append(secret: &str) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty()) else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    // One write, so that lines of several test processes do not mix.
    file.write_all(format!("{secret}\n").as_bytes())?;
    Ok(())
}

/// Reads what several processes appended to `file`; none, where no test met a secret.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(file: &Path) -> anyhow::Result<Vec<String>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let unique: BTreeSet<&str> = text.lines().filter(|line| is_distinctive(line)).collect();
    Ok(unique.into_iter().map(str::to_owned).collect())
}

/// Looks for many secrets at once: a text is read once, however many there are.
#[derive(Debug)]
pub struct Search(AhoCorasick);

impl Search {
    /// # Panics
    /// There are more secrets than memory.
    pub fn new(secrets: &[String]) -> Self {
        Self(AhoCorasick::new(secrets).expect("the secrets fit into memory"))
    }

    /// The lines of `output`, counted from 1, in which a secret stands.
    pub fn lines(&self, output: &str) -> Vec<usize> {
        let (mut lines, mut line, mut counted) = (Vec::new(), 1, 0);
        for found in self.0.find_iter(output) {
            line += output[counted..found.start()].bytes().filter(|byte| *byte == b'\n').count();
            counted = found.start();
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
        lines
    }
}

/// The lines of `output`, counted from 1, in which one of `secrets` stands.
pub fn lines_with_a_secret(output: &str, secrets: &[String]) -> Vec<usize> {
    Search::new(secrets).lines(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_secret_is_named() {
        let secrets = ["s3cret-of-alice".to_owned(), "s3cret-of-bob".to_owned()];
        let output = "login of alice\ntoken=s3cret-of-bob;\nlogout\n{\"p\":\"s3cret-of-alice\"}";
        assert_eq!(lines_with_a_secret(output, &secrets), [2, 4]);
        let twice = "s3cret-of-bob s3cret-of-alice\n\n\u{fc}s3cret-of-alice";
        assert_eq!(lines_with_a_secret(twice, &secrets), [1, 3], "a line once");
        assert!(lines_with_a_secret(output, &[]).is_empty());
        let alike = ["bob".to_owned(), "another-secret-of-bob".to_owned(), "3cret-of-alice".to_owned()];
        assert_eq!(lines_with_a_secret(output, &alike), [2, 4]);
        assert_eq!(lines_with_a_secret(output, &alike[1..2]), [0; 0]);
    }

    #[test]
    fn a_tokens_signature_is_a_secret_by_itself() {
        remember("header1.claims1.signature-of-the-token-1");
        assert!(secrets().iter().any(|secret| secret == "signature-of-the-token-1"));
        assert!(secrets().iter().any(|secret| secret == "header1.claims1.signature-of-the-token-1"));
    }

    #[test]
    fn a_text_that_stands_anywhere_is_not_searched_for() {
        for harmless in ["password", "wrong password", "12345678"] {
            remember(harmless);
            assert!(!secrets().iter().any(|secret| secret == harmless), "{harmless}");
        }
    }

    #[test]
    fn what_was_appended_is_read_once_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secrets");
        assert!(read(&file).expect("no file is no error").is_empty());
        std::fs::write(&file, "s3cret-of-alice\nshort\ns3cret-of-alice\n").expect("it is written");
        assert_eq!(read(&file).expect("it is read"), ["s3cret-of-alice"]);
    }
}
