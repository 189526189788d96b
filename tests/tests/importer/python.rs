//! Python's duckdb, as analysts and the MCP gateway use it, reading while the importer works.

use std::path::PathBuf;
use std::process::Command;

use baft_tests::process::workspace;
use baft_tests::{Process, wait_until};

use crate::support::{Place, SOON, gaps, remote};

/// Opens, searches and closes for ever; every state must be whole, and none older than the one before.
const READER: &str = r#"
import duckdb, sys, os
path, stop, ready = sys.argv[1:4]
last, looks = 0, 0
long = duckdb.connect(path, read_only=True)
first = long.execute("SELECT any_value(description) FROM gaps").fetchone()[0]
while not os.path.exists(stop):
    con = duckdb.connect(path, read_only=True)
    texts, count, generation = con.execute(
        "SELECT count(DISTINCT description), count(*), (SELECT CAST(value AS BIGINT) FROM _meta WHERE key = 'generation') FROM gaps").fetchone()
    assert (texts, count) == (1, 40), (texts, count)
    assert generation >= last, (generation, last)
    found = con.execute(
        "SELECT sq.id FROM (SELECT *, fts_main_entities.match_bm25(id, ?, fields := 'title,content,tags') AS score FROM entities) sq "
        "WHERE sq.score IS NOT NULL ORDER BY sq.score DESC LIMIT 1", ["G01-07"]).fetchone()
    assert found == ("G01-07",), found
    con.close()
    assert long.execute("SELECT any_value(description) FROM gaps").fetchone()[0] == first
    last, looks = generation, looks + 1
    open(ready, "w").write(str(looks))
print("looks", looks, "last", last, duckdb.__version__)
"#;

fn reads_while_the_importer_publishes(venv: &str, version: &str) {
    let python: PathBuf = workspace().join(".tools").join(venv).join("bin/python");
    let asked = Command::new(&python).args(["-c", "import duckdb; print(duckdb.__version__)"]).output();
    let there =
        asked.as_ref().is_ok_and(|output| output.status.success() && output.stdout.starts_with(version.as_bytes()));
    if !there {
        eprintln!("skipped: no duckdb {version} in {} (`make tools` puts it there)", python.display());
        return;
    }
    let remote = remote("round 0");
    let place = Place::new();
    let _process = place.follow(&remote.bare(), &["--poll", "1h"], &[]);
    place.wait_for("round 0");
    let (stop, ready) = (place.path("stop"), place.path("ready"));
    let mut command = Command::new(&python);
    command.args(["-c", READER]).arg(place.db()).arg(&stop).arg(&ready);
    let mut reader = Process::spawn("python reader", command);
    wait_until("Python to read", SOON, || {
        assert!(reader.is_running(), "{}", reader.logs());
        ready.exists().then_some(())
    });
    for round in 1..=10 {
        let text = format!("round {round}");
        remote.commit(&[("data/gaps.yaml", &gaps(&text))]);
        place.wait_for(&text);
        assert!(reader.is_running(), "{}", reader.logs());
    }
    std::fs::write(stop, "").unwrap();
    assert!(reader.wait(SOON).success(), "{}", reader.logs());
    assert!(reader.stdout().starts_with("looks"), "{}", reader.logs());
}

#[test]
fn python_duckdb_1_4_reads_and_searches_while_the_importer_publishes() {
    reads_while_the_importer_publishes("venv14", "1.4");
}

#[test]
fn python_duckdb_1_5_reads_and_searches_while_the_importer_publishes() {
    reads_while_the_importer_publishes("venv", "1.5");
}
