//! The published database, opened so that a query can read it and do nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use duckdb::{AccessMode, Config, Connection, Statement};

use crate::failure::Failure;
use crate::output::elapsed;
use crate::runtime::Runtime;
use crate::workspace::Workspace;

/// Most memory a query may use; beyond it spills into a temporary folder.
const MEMORY: &str = "1GiB";

/// Most disk space a query may spill.
const SPILL: &str = "4GiB";

/// The published generation that was current when it was opened. What is published later does not change it.
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// Where large queries spill; removed at the end.
    _spill: tempfile::TempDir,
}

impl Database {
    /// Opens what the workspace has published.
    ///
    /// # Errors
    /// Nothing is published yet, or the file cannot be opened.
    pub fn open(workspace: &Workspace) -> Result<Self, Failure> {
        let link = workspace.database();
        let path = match link.canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(nothing_published(workspace)),
            Err(error) => return Err(Failure::new(format!("cannot open {}: {error}", link.display()))),
        };
        let spill = tempfile::Builder::new()
            .prefix("baft-query-")
            .tempdir()
            .map_err(|error| Failure::new(format!("cannot make a temporary folder: {error}")).hint("set TMPDIR"))?;
        let connection = connect(&path, spill.path()).map_err(|error| cannot_open(&path, &error))?;
        Ok(Self { connection, path, _spill: spill })
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The file, links resolved: the name of its folder is the generation.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A value of the database's own description, `_meta`; absent when it has none of that name.
    #[must_use]
    pub fn meta(&self, key: &str) -> Option<String> {
        self.connection.query_row("SELECT value FROM _meta WHERE key = ?", [key], |row| row.get(0)).ok()
    }

    /// Prepares a query of a person.
    ///
    /// # Errors
    /// It is not understood, or not allowed.
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>, Failure> {
        // DuckDB allows this call, refuses to write the log when it comes to it, and aborts the process over that.
        if sql.to_ascii_lowercase().contains("enable_logging") {
            return Err(Failure::new("a query cannot turn on DuckDB's logging"));
        }
        self.connection.prepare(sql).map_err(|error| Failure::new(plain(&error)))
    }

    /// Interrupts whatever runs on the connection when the time is over, until the result is dropped.
    #[must_use]
    pub fn limit(&self, time: Duration) -> TimeLimit {
        let handle = self.connection.interrupt_handle();
        let (done, wait) = channel();
        let expired = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = Arc::clone(&expired);
        std::thread::spawn(move || {
            // Interrupted again and again: the first may fall between two steps of the query.
            let mut left = time;
            while wait.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                flag.store(true, std::sync::atomic::Ordering::Relaxed);
                handle.interrupt();
                left = Duration::from_millis(50);
            }
        });
        TimeLimit { time, expired, _done: done }
    }
}

/// See [`Database::limit`].
pub struct TimeLimit {
    time: Duration,
    expired: Arc<std::sync::atomic::AtomicBool>,
    _done: Sender<()>,
}

impl TimeLimit {
    /// Says what went wrong with a query: the time was over, or what DuckDB says.
    #[must_use]
    pub fn explain(&self, error: &duckdb::Error) -> Failure {
        if self.expired.load(std::sync::atomic::Ordering::Relaxed) {
            return Failure::new(format!("the query was stopped after {}", elapsed(self.time)))
                .hint("allow more with --timeout");
        }
        Failure::new(plain(error))
    }
}

/// What DuckDB says, without the wrapping.
#[must_use]
pub fn plain(error: &duckdb::Error) -> String {
    match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => message.trim_end().to_owned(),
        other => other.to_string(),
    }
}

/// Everything is set while opening: afterwards the configuration is locked, and outside access is off before the first
/// statement runs. Extensions are never loaded: the file needs none, and a missing one would become a download.
fn connect(path: &Path, spill: &Path) -> duckdb::Result<Connection> {
    let config = Config::default()
        .access_mode(AccessMode::ReadOnly)?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("allow_community_extensions", "false")?
        .with("temp_directory", spill.to_string_lossy())?
        .with("max_temp_directory_size", SPILL)?
        .max_memory(MEMORY)?
        .enable_external_access(false)?
        .with("lock_configuration", "true")?;
    Connection::open_with_flags(path, config)
}

fn nothing_published(workspace: &Workspace) -> Failure {
    let failure = Failure::try_again(format!("there is no database at {}", workspace.database().display()));
    match Runtime::of(workspace) {
        Some(_) => failure
            .hint("the fleet is running and has not finished its first import; `baft status` shows how far it is"),
        None => failure.hint("start the fleet with `baft up`, or name its folder with --workspace"),
    }
}

fn cannot_open(path: &Path, error: &duckdb::Error) -> Failure {
    let message = plain(error);
    let failure = Failure::new(format!("cannot open {}: {message}", path.display()));
    if message.contains("Conflicting lock") {
        return failure
            .hint("another program has opened this file for writing; published files must be opened read-only");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("itp.duckdb")).unwrap();
        connection.execute_batch("CREATE TABLE entities (id VARCHAR); INSERT INTO entities VALUES ('G1')").unwrap();
        drop(connection);
        let workspace = Workspace::at(folder.path());
        (folder, workspace)
    }

    #[test]
    fn a_query_reads_the_database_and_reaches_nothing_else() {
        let (folder, workspace) = published();
        std::fs::write(folder.path().join("secret.csv"), "a,b\n1,2\n").unwrap();
        let before = std::fs::read(workspace.database()).unwrap();
        let database = Database::open(&workspace).unwrap();
        let secret = folder.path().join("secret.csv");
        let secret = secret.display();
        let out = folder.path().join("out");
        let out = out.display();
        for sql in [
            format!("SELECT * FROM '{secret}'"),
            format!("SELECT * FROM read_text('{secret}')"),
            format!("SELECT * FROM read_blob('{secret}')"),
            format!("SELECT * FROM read_csv('{secret}')"),
            format!("SELECT * FROM sniff_csv('{secret}')"),
            format!("SELECT * FROM glob('{}/*')", folder.path().display()),
            "SELECT * FROM glob('/etc/*')".to_owned(),
            format!("COPY entities TO '{out}'"),
            "COPY entities TO '/dev/stderr'".to_owned(),
            format!("COPY (SELECT 1) TO '{out}' (FORMAT parquet)"),
            format!("EXPORT DATABASE '{out}'"),
            format!("IMPORT DATABASE '{out}'"),
            format!("ATTACH '{out}' AS other"),
            format!("ATTACH '{}' AS again (READ_WRITE)", workspace.database().display()),
            "INSERT INTO entities VALUES ('G2')".to_owned(),
            "DELETE FROM entities".to_owned(),
            "DROP TABLE entities".to_owned(),
            "CREATE TABLE t (a INTEGER)".to_owned(),
            "INSTALL fts".to_owned(),
            "INSTALL httpfs".to_owned(),
            "LOAD httpfs".to_owned(),
            format!("LOAD '{out}'"),
            "SET enable_external_access = true".to_owned(),
            "SET lock_configuration = false".to_owned(),
            "SET memory_limit = '100GB'".to_owned(),
            "SET temp_directory = '/'".to_owned(),
            "PRAGMA enable_profiling = 'json'; PRAGMA profiling_output = '/tmp/x'".to_owned(),
            "RESET memory_limit".to_owned(),
            "CREATE PERSISTENT SECRET s (TYPE http)".to_owned(),
            format!("CALL enable_logging(storage = 'file', storage_config = {{'path': '{out}'}})"),
            format!("SELECT 1; COPY entities TO '{out}'; SELECT 2"),
        ] {
            let allowed = database.prepare(&sql).is_ok_and(|mut statement| statement.execute([]).is_ok());
            assert!(!allowed, "this was allowed: {sql}");
        }
        assert!(!folder.path().join("out").exists());
        assert_eq!(std::fs::read(workspace.database()).unwrap(), before);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_query_may_spill_to_disk_although_files_are_closed_to_it() {
        let (_folder, workspace) = published();
        let database = Database::open(&workspace).unwrap();
        let setting = |name: &str| -> String {
            database
                .connection()
                .query_row(&format!("SELECT current_setting('{name}')::VARCHAR"), [], |row| row.get(0))
                .unwrap()
        };
        assert!(setting("temp_directory").contains("baft-query-"));
        assert_eq!(setting("enable_external_access"), "false");
    }

    #[test]
    fn a_query_without_end_is_stopped() {
        let (_folder, workspace) = published();
        let database = Database::open(&workspace).unwrap();
        let limit = database.limit(Duration::from_millis(100));
        let sql = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11";
        let error = database.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_err();
        let failure = limit.explain(&error);
        assert!(failure.message.contains("stopped after 100 ms"), "{failure}");
    }

    #[test]
    fn without_a_database_the_hint_says_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Database::open(&Workspace::at(folder.path())).err().unwrap();
        assert_eq!(failure.exit, baft_kit::Exit::TryAgain);
        assert!(failure.hint.unwrap().contains("baft up"));
    }
}
