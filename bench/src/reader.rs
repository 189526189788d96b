//! A reader as others write them: opens the published file read-only, asks, closes.

use std::fs::canonicalize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duckdb::{AccessMode, Config, Connection};

/// Waits for a row to become visible to somebody who opens the database now.
pub struct Reader {
    database: PathBuf,
}

/// Which file is published; by default none is known.
#[derive(Default)]
pub struct Published(Option<(PathBuf, u64)>);

impl Reader {
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self { database: database.into() }
    }

    /// What a new connection reads.
    pub fn ask(&self, sql: &str) -> Result<String> {
        ask(&self.database, sql).map(|(answer, _)| answer)
    }

    /// What is published now. Taken before an edit, it spares the waiting reader from opening what cannot have it yet.
    pub fn published(&self) -> Published {
        Published(identity(&self.database))
    }

    /// Returns the moment at which a new connection had read `wanted`; opens whenever something else than `seen` is
    /// published.
    pub fn wait_for(&self, seen: Published, sql: &str, wanted: &str, deadline: Duration) -> Result<Instant> {
        let until = Instant::now() + deadline;
        let Published(mut seen) = seen;
        let mut last = String::new();
        while Instant::now() < until {
            let now = identity(&self.database);
            if now.is_some() && now != seen {
                // Whatever goes wrong while a baseline swaps its file is a wrong answer, not the end.
                let (answer, read) =
                    ask(&self.database, sql).unwrap_or_else(|error| (format!("{error:#}"), Instant::now()));
                if answer == wanted {
                    return Ok(read);
                }
                last = answer;
                seen = now;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("{sql} gave {last:?} and not {wanted:?} after {deadline:?}")
    }
}

fn identity(path: &Path) -> Option<(PathBuf, u64)> {
    let real = canonicalize(path).ok()?;
    let inode = std::fs::metadata(&real).ok()?.ino();
    Some((real, inode))
}

/// The answer, and the moment it was there: what closing takes is no part of reading.
fn ask(database: &Path, sql: &str) -> Result<(String, Instant)> {
    let config = Config::default().access_mode(AccessMode::ReadOnly)?;
    let connection =
        Connection::open_with_flags(database, config).with_context(|| format!("opening {}", database.display()))?;
    let value: String = connection.query_row(sql, [], |row| row.get(0)).with_context(|| sql.to_owned())?;
    Ok((value, Instant::now()))
}
