//! The commands beside `baft up`, as a person or a script uses them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod baft;

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use baft::{Machine, SOON, finish};
use baft_tests::git::git;
use baft_tests::{NatsServer, Process, wait_until};
use serde_json::{Value, json};

/// A machine with the sample imported, shared by the tests that only read.
fn sample() -> &'static Machine {
    static SAMPLE: OnceLock<Machine> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let machine = Machine::new();
        machine.ok(&["up", "--once", "--workspace", "w"]);
        machine
    })
}

fn search(args: &[&str]) -> Vec<Value> {
    let found = sample().json(&[&["search", "--workspace", "w", "--json"], args].concat());
    found["results"].as_array().unwrap().clone()
}

#[test]
fn an_id_is_found_first_in_whatever_spelling() {
    for query in ["G14-01", "g14-01", "Obs-3", "Session-11-12", "SUPP-LEAKS"] {
        let results = search(&[query]);
        let first = results.first().unwrap_or_else(|| panic!("nothing for {query}"));
        let id = first["id"].as_str().unwrap().to_lowercase().replace('_', "-");
        assert_eq!(id, query.to_lowercase(), "{first}");
        assert!(first["path"].as_str().unwrap().starts_with("data/"), "{first}");
        assert!(first["line"].as_u64().unwrap() > 0, "{first}");
    }
}

#[test]
fn persian_is_found_in_either_spelling_and_the_hit_is_in_the_snippet() {
    for query in ["آب انبار", "آب\u{200c}انبار", "شركت آب"] {
        let results = search(&[query]);
        assert!(!results.is_empty(), "nothing for {query}");
        let shown = results.iter().any(|hit| {
            let text = format!("{} {}", hit["title"].as_str().unwrap(), hit["snippet"].as_str().unwrap());
            text.contains("انبار") || text.contains("رکت") || text.contains("ركت")
        });
        assert!(shown, "{results:#?}");
    }
}

#[test]
fn entities_and_sections_are_found_and_can_be_chosen() {
    let all = search(&["water", "--limit", "100"]);
    assert!(
        all.iter().any(|hit| hit["kind"] == "section") && all.iter().any(|hit| hit["kind"] == "entity"),
        "{all:#?}"
    );
    let sections = search(&["water", "--type", "section"]);
    assert!(!sections.is_empty() && sections.iter().all(|hit| hit["kind"] == "section"));
    let gaps = search(&["water", "--type", "gaps", "--limit", "100"]);
    assert!(!gaps.is_empty() && gaps.iter().all(|hit| hit["type"] == "gaps"), "{gaps:#?}");
    assert_eq!(search(&["water", "--limit", "2"]).len(), 2);
    let scores: Vec<f64> = sections.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
}

#[test]
fn what_is_not_there_is_not_a_failure_and_hostile_queries_are_only_words() {
    let answer = sample().baft(&["search", "--workspace", "w", "zzzyx"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{answer:#?}");
    assert!(answer.stderr.contains("Nothing found"), "{answer:#?}");
    let answer = sample().baft(&["search", "--workspace", "w", "water", "--type", "nonsense"]);
    assert!(answer.stderr.contains("There is no type 'nonsense'") && answer.stderr.contains("gaps"), "{answer:#?}");
    let long = "x ".repeat(5000);
    for query in ["'; DROP TABLE entities; --", "%_\"", "--", "()", "\u{202e}", long.as_str()] {
        let answer = sample().baft(&["search", "--workspace", "w", "--json", "--", query]);
        assert_eq!(answer.code, 0, "{query:.40}: {answer:#?}");
    }
}

#[test]
fn a_query_prints_a_table_json_or_csv() {
    let sql = "SELECT 1 AS n, 'a,b' AS t, NULL AS nothing, [1, 2] AS list, 1 AS n";
    let query = |format: &str| sample().ok(&["query", "--workspace", "w", "--output", format, sql]);
    assert_eq!(
        serde_json::from_str::<Value>(&query("json")).unwrap(),
        json!([{ "n": 1, "t": "a,b", "nothing": null, "list": [1, 2], "n_1": 1 }])
    );
    assert_eq!(query("csv"), "n,t,nothing,list,n_1\n1,\"a,b\",,\"[1,2]\",1\n");
    let table = query("table");
    assert!(table.contains("│ 1 ┆ a,b ┆ NULL") && table.ends_with("(1 row)\n"), "{table}");
    let none = sample().ok(&["query", "--workspace", "w", "-o", "json", "SELECT 1 WHERE false"]);
    assert_eq!(serde_json::from_str::<Value>(&none).unwrap(), json!([]));
}

#[test]
fn rows_beyond_the_limit_are_left_out_and_that_is_said() {
    let args = ["query", "--workspace", "w", "--output", "json", "--limit", "3", "FROM range(1000000000)"];
    let answer = sample().baft(&args);
    assert_eq!(serde_json::from_str::<Value>(&answer.stdout).unwrap().as_array().unwrap().len(), 3);
    assert!(answer.stderr.contains("Only the first 3 rows"), "{answer:#?}");
    let exact = sample().baft(&["query", "--workspace", "w", "--limit", "3", "FROM range(3)"]);
    assert_eq!(exact.stderr, "");
    let all = sample().ok(&["query", "--workspace", "w", "-o", "csv", "--limit", "0", "FROM range(5000)"]);
    assert_eq!(all.lines().count(), 5001);
}

#[test]
fn a_query_reads_only_the_database_writes_nothing_and_ends_in_time() {
    let machine = sample();
    let secret = machine.path("secret.csv");
    std::fs::write(&secret, "a,b\n1,2\n").unwrap();
    let database = machine.workspace().join("itp.duckdb");
    let before = std::fs::read(&database).unwrap();
    for sql in [
        format!("FROM '{}'", secret.display()),
        "FROM read_text('/etc/passwd')".to_owned(),
        format!("COPY entities TO '{}'", machine.path("out.csv").display()),
        "DELETE FROM entities".to_owned(),
        "CREATE TABLE x (a INTEGER)".to_owned(),
        format!("ATTACH '{}' AS other", machine.path("other.duckdb").display()),
        "SET enable_external_access = true".to_owned(),
        "INSTALL httpfs".to_owned(),
        "CALL enable_logging(storage = 'file')".to_owned(),
        "SELEC 1".to_owned(),
    ] {
        let answer = machine.baft(&["query", "--workspace", "w", &sql]);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{sql}: {answer:#?}");
        assert!(answer.stderr.starts_with("error: "), "{sql}: {answer:#?}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert!(!machine.path("out.csv").exists() && !machine.path("other.duckdb").exists());
    let endless = "SELECT count(*) FROM range(1000000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11";
    let answer = machine.baft(&["query", "--workspace", "w", "--timeout", "200ms", endless]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("stopped after 200 ms") && answer.stderr.contains("--timeout"), "{answer:#?}");
}

#[test]
fn a_query_can_come_from_standard_input() {
    let mut command = sample().command("baft", &["query", "--workspace", "w", "-o", "csv", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"SELECT 1 AS n\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"n\n1\n");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let baft = sample().command("baft", &["query", "--workspace", "w", "-o", "csv", "-n", "0", "FROM range(2000000)"]);
    let mut baft = { baft };
    let mut child = baft.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn without_a_database_or_a_fleet_the_hint_says_what_to_do() {
    let machine = Machine::new();
    for args in [&["query", "SELECT 1"][..], &["search", "x"], &["events"], &["import"], &["sync"], &["admin", "init"]]
    {
        let answer = machine.baft(args);
        assert_eq!((answer.code, answer.stdout.as_str()), (75, ""), "{args:?}: {answer:#?}");
        assert!(answer.stderr.contains("hint: ") && answer.stderr.contains("baft up"), "{args:?}: {answer:#?}");
    }
    let status = machine.ok(&["status"]);
    assert!(status.contains("not running"), "{status}");
    let answer = machine.baft(&["events", "--nats-url", "nats://127.0.0.1:1"]);
    assert_eq!(answer.code, 75, "{answer:#?}");
}

#[test]
fn wrong_usage_is_code_2_and_the_version_names_its_origin() {
    let machine = Machine::new();
    for args in [&[][..], &["nonsense"], &["query"], &["search"], &["up", "--clone", ".", "--repo", "x"]] {
        assert_eq!(machine.baft(args).code, 2, "{args:?}");
    }
    for args in [
        &["events", "--since", "yesterday", "--nats-url", "nats://127.0.0.1:1"][..],
        &["events", "--type", "a b"],
        &["query", " "],
    ] {
        assert_eq!(machine.baft(args).code, 2, "{args:?}");
    }
    let version = machine.ok(&["--version"]);
    assert!(version.starts_with("baft 0.") && version.contains("rustc"), "{version}");
}

#[test]
fn completions_are_scripts_their_shells_can_read() {
    let machine = Machine::new();
    for (shell, check) in [("bash", "bash -n"), ("zsh", "zsh -n"), ("fish", "fish --no-execute")] {
        let script = machine.ok(&["completions", shell]);
        assert!(script.contains("search") && !script.contains("run-bound "), "{shell}");
        let file = machine.path(&format!("completion.{shell}"));
        std::fs::write(&file, &script).unwrap();
        let (program, flag) = check.split_once(' ').unwrap();
        // Only bash is everywhere.
        match Command::new(program).arg(flag).arg(&file).output() {
            Ok(output) => assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}"),
            Err(_) => assert_ne!(program, "bash"),
        }
    }
}

#[test]
fn the_streams_of_a_server_are_made_and_checked() {
    let server = NatsServer::start();
    let machine = Machine::new();
    let admin = |args: &[&str]| machine.baft(&[&["admin", "init", "--nats-url", &server.url()], args].concat());
    let missing = admin(&["--check"]);
    assert_eq!(missing.code, 1, "{missing:#?}");
    assert!(missing.stdout.contains("BAFT_EVENTS does not exist"), "{missing:#?}");
    let made = admin(&[]);
    assert!(made.code == 0 && made.stdout.contains("created BAFT_EVENTS"), "{made:#?}");
    let checked = admin(&["--check", "--json"]);
    assert_eq!(checked.code, 0, "{checked:#?}");
    assert_eq!(serde_json::from_str::<Value>(&checked.stdout).unwrap(), json!({ "changes": [], "drift": [] }));
    let events = machine.baft(&["events", "--nats-url", &server.url()]);
    assert!(events.code == 0 && events.stderr.contains("No events"), "{events:#?}");
    let import = machine.baft(&["import", "--nats-url", &server.url()]);
    assert_eq!(import.code, 75, "{import:#?}");
    assert!(import.stderr.contains("not running"), "{import:#?}");
}

#[test]
fn the_publish_folder_of_a_lone_importer_is_a_workspace_too() {
    let machine = Machine::new();
    machine.ok(&["up", "--once", "--workspace", "w"]);
    let sample = machine.path("sample");
    git(&machine.workspace(), &["clone", "-q", "sample.git", sample.to_str().unwrap()]);
    let publish = machine.path("publish");
    let import = machine.command(
        "duckdb-importer",
        &[
            "import",
            "--source",
            "worktree",
            "--root",
            sample.to_str().unwrap(),
            "--workspace",
            publish.to_str().unwrap(),
        ],
    );
    let answer = finish(import);
    assert_eq!(answer.code, 0, "{answer:#?}");
    let mut query = machine.command("baft", &["query", "-o", "csv", "SELECT count(*) > 0 AS some FROM entities"]);
    query.env("BAFT_WORKSPACE", &publish);
    assert_eq!(finish(query).stdout, "some\ntrue\n");
}

#[test]
fn the_users_of_a_nats_server_are_printed_as_its_configuration() {
    let machine = Machine::new();
    let text = machine.ok(&["admin", "nats-users"]);
    let people = machine.ok(&["admin", "nats-users", "ann=analyst", "desk=commit-agent:desk"]);
    assert!(people.contains("baft.commit.*.run.as.ann") && people.contains("$BAFT_NATS_PASSWORD_DESK"), "{people}");
    for (name, text) in [("daemons", text), ("people", people)] {
        let file = machine.path(&format!("{name}.conf"));
        std::fs::write(&file, text).unwrap();
        let mut check = Command::new(baft_tests::nats::find_server());
        check.arg("-t").arg("-c").arg(&file);
        for user in [
            "GIT_SYNC",
            "COMMIT_AGENT",
            "DUCKDB_IMPORTER",
            "PREFLIGHT_PROBE",
            "SESSION_REGISTRY",
            "MCP_GATEWAY",
            "PROVISIONER",
            "ANN",
            "DESK",
        ] {
            check.env(format!("BAFT_NATS_PASSWORD_{user}"), "secret-of-the-day");
        }
        let checked = check.output().unwrap();
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    for wrong in ["ann", "ann=queen", "ann.*=analyst", "desk=commit-agent:*"] {
        let answer = machine.baft(&["admin", "nats-users", wrong]);
        assert_eq!(answer.code, 2, "{wrong}: {}", answer.stderr);
    }
}

#[test]
fn the_rows_of_a_preflight_come_as_they_are_known() {
    let machine = Machine::new();
    let (go, checks) = (machine.path("go"), machine.path("checks.toml"));
    let wait = format!("while [ ! -e '{}' ]; do sleep 0.02; done", go.display());
    let check = |name: &str, command: &str| {
        format!(
            "[[check]]\nname = \"{name}\"\ntitle = \"Check {name}\"\nhint = \"wait\"\ntimeout = \"50s\"\nkind = \"command\"\n\
             command = [\"sh\", \"-c\", {}]\n",
            json!(command)
        )
    };
    let all = [check("first", "true"), check("slow", &wait), check("last", "true")];
    std::fs::write(&checks, all.concat()).unwrap();
    let only = "BAFT-C-first,BAFT-C-slow,BAFT-C-last";
    let args = ["preflight", "--workspace", "w", "--timeout", "55s", "--only", only, "--checks-file"];
    let mut command = machine.command("baft", &args);
    command.arg(&checks);
    let mut preflight = Process::spawn("baft preflight", command);
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("[OK]")).count();
    wait_until("the first row", SOON, || (rows(&preflight.stdout()) == 1).then_some(()));
    assert!(preflight.is_running() && preflight.stdout().starts_with("ITP Preflight Check\n"), "{}", preflight.logs());
    std::fs::write(&go, "").unwrap();
    assert!(preflight.wait(SOON).success(), "{}", preflight.logs());
    let printed = preflight.stdout();
    assert_eq!(rows(&printed), 3, "{printed}");
    let end: Vec<&str> = printed.lines().rev().take(2).collect();
    assert!(end[0].starts_with("3/3 checks passed") && end[1].contains("Check last"), "{printed}");
}
