//! The clients that are written in Python: how a program of e2e/clients/python is run.

use std::path::PathBuf;

use tokio::process::Command;

use crate::node::installed;

/// The folder with the programs and their environment: `cargo xtask test` makes it.
const FOLDER_VARIABLE: &str = "TEST_PYTHON_CLIENTS";

/// Python's programs, where they can be run.
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// None, aloud, where they were not installed.
    pub(crate) fn for_test() -> Option<Self> {
        Some(Self { folder: installed(FOLDER_VARIABLE, "Python's packages are not installed")? })
    }

    /// How Python runs a program.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut python = Command::new(self.folder.join("environment/bin/python"));
        python.arg(self.folder.join(program));
        python
    }
}
