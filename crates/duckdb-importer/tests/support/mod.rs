//! What the engine's tests share: a repository to edit, and a comparison of two databases row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, missing_docs)]

use std::path::{Path, PathBuf};

use baft_duckdb_importer::Settings;
use baft_duckdb_importer::config::{Follow, Source};
use baft_tests::git::git;
use duckdb::Connection;
use tempfile::TempDir;

/// A working clone with git, gone when dropped.
pub struct Clone {
    folder: TempDir,
    clock: std::cell::Cell<i64>,
}

impl Clone {
    pub fn new() -> Self {
        baft_repo::init(&baft_repo::Settings::default()).unwrap();
        let folder = tempfile::Builder::new().prefix("baft-test-importer-").tempdir().unwrap();
        git(folder.path(), &["init", "-q", "-b", "main", "clone"]);
        let clone = Self { folder, clock: std::cell::Cell::new(1_700_000_000) };
        clone.git(&["config", "user.name", "Test"]);
        clone.git(&["config", "user.email", "test@localhost"]);
        clone
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.path(), args)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.path().join(path)).unwrap();
    }

    /// Commits everything, a day after the commit before.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.clock.set(self.clock.get() + 86_400);
        let date = format!("--date=@{} +0000", self.clock.get());
        self.git(&["commit", "-q", "--allow-empty", "-m", message, &date]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Settings that follow the commits of this clone, publishing in its own folder `name`.
    pub fn commits(&self, name: &str) -> Settings {
        let source = Source::Git { repo: self.path(), follow: Follow::Ref("HEAD".to_owned()) };
        self.settings(source, name)
    }

    /// Settings that follow the saved files.
    pub fn files(&self, name: &str) -> Settings {
        self.settings(Source::Worktree { clone: self.path() }, name)
    }

    fn settings(&self, source: Source, name: &str) -> Settings {
        let mut settings = Settings::new(source, self.workspace(name));
        settings.publish.keep_for = std::time::Duration::ZERO;
        settings
    }

    pub fn workspace(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn db(&self, name: &str) -> PathBuf {
        self.workspace(name).join("itp.duckdb")
    }
}

/// Opens a published database as a reader.
pub fn reader(db: &Path) -> Connection {
    let config = duckdb::Config::default().access_mode(duckdb::AccessMode::ReadOnly).unwrap();
    Connection::open_with_flags(std::fs::canonicalize(db).unwrap(), config).unwrap()
}

/// One value as text.
pub fn ask(db: &Path, sql: &str) -> String {
    let value: Option<String> =
        reader(db).query_row(&format!("SELECT CAST(({sql}) AS VARCHAR)"), [], |row| row.get(0)).unwrap();
    value.unwrap_or_else(|| "NULL".to_owned())
}

/// One column as texts.
pub fn list(db: &Path, sql: &str) -> Vec<String> {
    let connection = reader(db);
    let mut statement = connection.prepare(&format!("SELECT CAST(x AS VARCHAR) FROM ({sql}) AS t(x)")).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
    rows.map(|row| row.unwrap().unwrap_or_else(|| "NULL".to_owned())).collect()
}

/// What must be equal in a database that was carried on and one that was built anew: everything but document numbers,
/// the time of import, the generation and the change feed. Returns what is not.
pub fn differences(carried: &Path, built: &Path) -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    for (name, db) in [("carried", carried), ("built", built)] {
        let db = std::fs::canonicalize(db).unwrap();
        connection.execute_batch(&format!("ATTACH '{}' AS {name} (READ_ONLY)", db.display())).unwrap();
    }
    let mut rows = vec![
        ("entities".to_owned(), "SELECT * EXCLUDE (imported_at, docid) FROM {db}.entities".to_owned()),
        ("sections".to_owned(), "SELECT * EXCLUDE (docid) FROM {db}.sections".to_owned()),
        (
            "_meta".to_owned(),
            "FROM {db}._meta WHERE key IN ('rules', 'schema_version', 'history_truncated')".to_owned(),
        ),
    ];
    let mut tables: Vec<String> = {
        let sql = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'built' AND schema_name = 'main'";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    tables.retain(|table| !["entities", "sections", "_meta", "_changes"].contains(&table.as_str()));
    assert!(tables.len() >= 5, "{tables:?}");
    rows.extend(tables.iter().map(|table| (table.clone(), format!("FROM {{db}}.{table}"))));
    for index in ["fts_main_entities", "fts_main_sections"] {
        let table = |table: &str| format!("{{db}}.{index}.{table}");
        rows.push((format!("{index}.docs"), format!("SELECT name, len FROM {}", table("docs"))));
        rows.push((format!("{index}.dict"), format!("SELECT term, stem FROM {}", table("dict"))));
        rows.push((
            format!("{index}.terms"),
            format!(
                "SELECT name, fieldid, term, tf FROM {} AS t JOIN {} AS d ON d.docid = t.docid JOIN {} AS w ON w.termid = t.termid",
                table("terms"),
                table("docs"),
                table("dict")
            ),
        ));
        rows.push((format!("{index}.terms count"), format!("SELECT count(*) FROM {}", table("terms"))));
    }
    let mut found = Vec::new();
    for (table, sql) in rows {
        for (one, other) in [("carried", "built"), ("built", "carried")] {
            let sql = format!(
                "SELECT CAST(t AS VARCHAR) FROM ({} EXCEPT ALL {}) AS t",
                sql.replace("{db}", one),
                sql.replace("{db}", other)
            );
            let mut statement = connection.prepare(&sql).unwrap();
            let only: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            found.extend(only.into_iter().take(4).map(|row| format!("{table}, only {one}: {row:.600}")));
        }
    }
    found
}
