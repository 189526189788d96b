//! An importer under test, its repository, and readers of what it publishes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baft_tests::{GitRemote, Port, Process, wait_until};
use duckdb::{AccessMode, Config, Connection};
use tempfile::TempDir;

pub const SOON: Duration = Duration::from_secs(30);

/// How many gaps the data of the tests has.
pub const GAPS: usize = 40;

/// A file of gaps that all say the same: whoever reads two different texts has read half a state.
pub fn gaps(text: &str) -> String {
    let mut yaml = "entries:\n".to_owned();
    for n in 1..=GAPS {
        yaml.push_str(&format!("- id: G01-{n:02}\n  description: '{text}'\n  status: OPEN\n"));
    }
    yaml
}

/// A repository with those gaps.
pub fn remote(text: &str) -> GitRemote {
    GitRemote::with_files(&[("data/gaps.yaml", &gaps(text))]).0
}

/// A folder for an importer, with the port of its admin server.
pub struct Place {
    folder: TempDir,
    pub admin: Port,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("baft-importer-").tempdir().unwrap();
        Self { folder, admin: Port::lease() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn workspace(&self) -> PathBuf {
        self.path("workspace")
    }

    pub fn db(&self) -> PathBuf {
        self.workspace().join("itp.duckdb")
    }

    /// Starts a daemon that follows the commits of a repository.
    pub fn follow(&self, repo: &Path, args: &[&str], env: &[(&str, &str)]) -> Process {
        let repo = repo.display().to_string();
        self.run(&[&["--root", &repo, "--repo", &repo, "--source", "git"], args].concat(), env)
    }

    /// Starts a daemon that follows the files of a clone.
    pub fn watch(&self, clone: &Path, args: &[&str]) -> Process {
        let clone = clone.display().to_string();
        self.run(&[&["--root", &clone, "--source", "worktree"], args].concat(), &[])
    }

    pub fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Process {
        let (workspace, admin) = (self.workspace().display().to_string(), self.admin.address().to_string());
        let mut all = vec!["run", "--workspace", &workspace, "--admin-addr", &admin];
        all.extend(args);
        let mut clean = vec![("NATS_URL", "")];
        clean.extend(env);
        Process::spawn_bin("duckdb-importer", all, &clean)
    }

    /// Imports once; gives the exit code and what was said.
    pub fn import(&self, repo: &Path, args: &[&str]) -> (i32, String) {
        let (repo, workspace) = (repo.display().to_string(), self.workspace().display().to_string());
        let mut all = vec!["import", "--root", &repo, "--repo", &repo, "--source", "git", "--workspace", &workspace];
        all.extend(args);
        let mut process = Process::spawn_bin("duckdb-importer", all, &[("NATS_URL", "")]);
        let status = process.wait(SOON);
        (status.code().unwrap_or(-1), process.logs())
    }

    /// Waits until a new reader sees this text in every gap.
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("every gap to say '{text}'"), SOON, || {
            let seen = look(&self.db())?;
            (seen.text == text).then_some(())
        });
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(self.admin.address(), path).unwrap_or((0, String::new()))
    }

    /// The value of a metric, labels included in the name; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    pub fn generations(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.workspace().join("gens"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Compares with a rebuild through the program itself.
    pub fn verify(&self, repo: &Path) {
        let (repo, workspace) = (repo.display().to_string(), self.workspace().display().to_string());
        let args = ["verify", "--root", &repo, "--repo", &repo, "--source", "git", "--workspace", &workspace];
        let mut process = Process::spawn_bin("duckdb-importer", args, &[("NATS_URL", "")]);
        assert!(process.wait(SOON).success(), "{}", process.logs());
    }
}

fn http_get(addr: std::net::SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// What a reader saw, in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub generation: u64,
    pub text: String,
}

/// Opens a database as a reader would, by the path that never changes.
pub fn open(db: &Path) -> Result<Connection, duckdb::Error> {
    let config = Config::default()
        .access_mode(AccessMode::ReadOnly)?
        .with("autoinstall_known_extensions", "false")?
        .with("autoload_known_extensions", "false")?
        .with("threads", "1")?;
    Connection::open_with_flags(db, config)
}

/// Looks once, through a new connection; nothing when nothing is published yet.
pub fn look(db: &Path) -> Option<Seen> {
    if !db.exists() {
        return None;
    }
    Some(read(&open(db).unwrap()))
}

/// Reads everything that belongs together, and checks that it does.
pub fn read(connection: &Connection) -> Seen {
    let sql = "SELECT (SELECT CAST(value AS BIGINT) FROM _meta WHERE key = 'generation'),
        (SELECT count(*) FROM entities WHERE type = 'gaps'), (SELECT count(*) FROM gaps),
        (SELECT count(DISTINCT description) FROM gaps), (SELECT any_value(description) FROM gaps),
        (SELECT count(*) FROM fts_main_entities.docs), (SELECT count(*) FROM entities),
        (SELECT count(*) FROM gaps JOIN entities USING (id) WHERE title <> description)";
    let mut statement = connection.prepare(sql).unwrap();
    let seen = statement.query_row([], |row| {
        let numbers: [i64; 7] =
            [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(5)?, row.get(6)?, row.get(7)?];
        Ok((numbers, row.get::<_, String>(4)?))
    });
    let ([generation, entities, gaps, texts, documents, all, mixed], text) = seen.unwrap();
    assert_eq!((entities, gaps), (GAPS as i64, GAPS as i64), "rows are missing in generation {generation}");
    assert_eq!((texts, mixed), (1, 0), "two states in generation {generation}");
    assert_eq!(documents, all, "the search index of generation {generation} is of another state");
    Seen { generation: generation.unsigned_abs(), text }
}

/// The ids a search finds, best first: the consumer's own query.
pub fn search(connection: &Connection, query: &str) -> Vec<String> {
    let sql = "SELECT sq.id FROM (SELECT *, fts_main_entities.match_bm25(id, ?, fields := 'title,content,tags') AS score \
               FROM entities) sq WHERE sq.score IS NOT NULL ORDER BY sq.score DESC, sq.id LIMIT 5";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([query], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
