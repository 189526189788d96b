//! One DuckDB instance, to which database files are attached and detached: opening an instance costs 20 ms, attaching a
//! file one.

use std::cell::Cell;
use std::path::Path;

use duckdb::{Config, Connection};

use crate::ImporterError;
use crate::tables::literal;

/// An instance with nothing in it. Owned by one thread at a time.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// What this handle chose last for the whole instance.
    works_with: Cell<Option<(usize, RowGroups)>>,
}

/// What an attached file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A new file, in the storage format of DuckDB 1.1 and newer. Its blocks are small, because there are many small tables:
    /// half the size, and less writing for one changed row.
    Create,
    /// A file that may be written.
    Write,
    /// A file that is only read.
    Read,
}

/// What a checkpoint does with small row groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowGroups {
    /// They stay as they are.
    Leave,
    /// They become large ones, without the rows that were deleted.
    Merge,
}

impl Session {
    /// Opens an instance. Nothing is downloaded or loaded behind our back: without a network an attempt would hang.
    ///
    /// # Errors
    /// When DuckDB cannot start.
    pub fn open(memory: u64, threads: usize, spill: &Path) -> Result<Self, ImporterError> {
        let start = || {
            let config = Config::default()
                .with("autoinstall_known_extensions", "false")?
                .with("autoload_known_extensions", "false")?
                .with("storage_compatibility_version", "v1.1.0")?
                .with("threads", threads.max(1).to_string())?
                .with("memory_limit", format!("{}MiB", (memory >> 20).max(32)))?
                .with("temp_directory", spill.to_string_lossy())?
                .with("preserve_insertion_order", "true")?;
            let connection = Connection::open_in_memory_with_flags(config)?;
            // Trying FSST on every column takes half the time of a checkpoint and saves a twentieth of the file.
            connection.execute_batch("SET disabled_compression_methods = 'fsst,dict_fsst'")?;
            Ok(connection)
        };
        Ok(Self { connection: start().map_err(ImporterError::db("starting"))?, works_with: Cell::new(None) })
    }

    /// Another handle on the same instance, for another thread to read or attach with.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn another(&self) -> Result<Self, ImporterError> {
        let connection = self.connection.try_clone().map_err(ImporterError::db("connecting once more"))?;
        Ok(Self { connection, works_with: Cell::new(None) })
    }

    /// Another handle, for which an attached file is the default.
    ///
    /// # Errors
    /// When DuckDB refuses, or there is no file of this name.
    pub fn another_using(&self, name: &str) -> Result<Self, ImporterError> {
        let other = self.another()?;
        other.use_file(name)?;
        Ok(other)
    }

    /// Writes in one transaction: all of it counts when `write` succeeds, nothing when it fails. It is in the file after the next
    /// [`Session::checkpoint`].
    ///
    /// # Errors
    /// What `write` says, or when DuckDB refuses.
    pub fn in_transaction<T>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, ImporterError>,
    ) -> Result<T, ImporterError> {
        let run = |sql, what| self.connection.execute_batch(sql).map_err(ImporterError::db(what));
        run("BEGIN", "beginning the transaction")?;
        let written = write(&self.connection);
        let ended = run(if written.is_ok() { "COMMIT" } else { "ROLLBACK" }, "committing");
        let written = written?;
        ended.map(|()| written)
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Works with so many threads from now on, and says what the next checkpoint does with the small row groups that earlier
    /// imports left: each costs a little at every checkpoint and every reading, and merging them writes whole tables again.
    ///
    /// # Errors
    /// When DuckDB refuses.
    pub fn work_with(&self, threads: usize, small: RowGroups) -> Result<(), ImporterError> {
        let threads = threads.max(1);
        if self.works_with.get() == Some((threads, small)) {
            return Ok(());
        }
        let tasks = match small {
            RowGroups::Leave => 0,
            RowGroups::Merge => 100,
        };
        let sql = format!("SET threads = {threads}; SET max_vacuum_tasks = {tasks}");
        self.connection.execute_batch(&sql).map_err(ImporterError::db("choosing how to work"))?;
        self.works_with.set(Some((threads, small)));
        Ok(())
    }

    /// Attaches a file under a name, without making it the default.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn attach(&self, path: &Path, name: &str, access: Access) -> Result<(), ImporterError> {
        let path = literal(&path.to_string_lossy());
        let option = match access {
            Access::Create => "STORAGE_VERSION 'v1.1.0', BLOCK_SIZE 16384, RECOVERY_MODE no_wal_writes",
            Access::Write => "STORAGE_VERSION 'v1.1.0', RECOVERY_MODE no_wal_writes",
            Access::Read => "READ_ONLY",
        };
        let sql = format!("ATTACH {path} AS {name} ({option})");
        self.connection.execute_batch(&sql).map_err(ImporterError::db("opening a database file"))
    }

    /// Makes an attached file the default.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn use_file(&self, name: &str) -> Result<(), ImporterError> {
        self.connection.execute_batch(&format!("USE {name}")).map_err(ImporterError::db("choosing a database file"))
    }

    /// Writes into an attached file what was committed. A generation is private until it is published, so there is no log
    /// beside it, and without this call the file stays as it was.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn checkpoint(&self, name: &str) -> Result<(), ImporterError> {
        self.connection.execute_batch(&format!("CHECKPOINT {name}")).map_err(ImporterError::db("writing the file"))
    }

    /// Closes an attached file.
    ///
    /// # Errors
    /// When something is still using it.
    pub fn detach(&self, name: &str) -> Result<(), ImporterError> {
        let sql = format!("USE memory; DETACH {name}");
        self.connection.execute_batch(&sql).map_err(ImporterError::db("closing a database file"))
    }
}
