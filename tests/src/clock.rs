//! A wall clock that a test sets, for one program and while it runs. Its monotonic clock goes on as before.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::process::workspace;

/// A wall clock of its own for the programs that are given it.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    folder: TempDir,
}

impl Clock {
    /// As right as the machine's at first. `None`, with the reason on standard error, where there is no libfaketime:
    /// `$BAFT_LIBFAKETIME`, else the one `make tools` fetched.
    #[must_use]
    #[allow(clippy::print_stderr)]
    pub fn right() -> Option<Self> {
        let named = std::env::var_os("BAFT_LIBFAKETIME").filter(|value| !value.is_empty());
        let library = named.map_or_else(|| workspace().join(".tools/bin/libfaketime.so"), PathBuf::from);
        if !library.is_file() {
            eprintln!(
                "skipped: no {}: run `make tools`; there is none for this kind of machine but x86_64",
                library.display()
            );
            return None;
        }
        let clock = Self { library, folder: tempfile::tempdir().expect("a temporary folder") };
        clock.set_to(0);
        Some(clock)
    }

    /// Puts it so many seconds before or behind the machine's, at once.
    ///
    /// # Panics
    /// When the file it is read from cannot be written.
    pub fn set_to(&self, seconds: i64) {
        // It is read all the time: whole, or not at all.
        let (new, file) = (self.folder.path().join("new"), self.folder.path().join("offset"));
        std::fs::write(&new, format!("{seconds:+}\n")).expect("a file for the offset");
        std::fs::rename(&new, &file).expect("a file for the offset");
    }

    /// Gives it to a program that is about to be started.
    pub fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.folder.path().join("offset"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
