//! Data, not bytes: merges by entity, edits by request; and files that are busy while upstream changes them.

use std::io::Write;
use std::time::{Duration, Instant};

use baft_commit_agent::engine::{Apply, ApplyError, Edit, Extent, Order, SessionStamp, Touched};
use baft_tests::git::Fault;

use crate::support::{Scene, any_cycle, cycle, now};

const VARIABLES: &str = "\
# The state of things
entries:
  - id: SV-01   # water
    trend: stable
    note: 'as  is'
  - id: SV-02
    trend: improving
    note: \"quoted\"
";

/// Files that the built-in declaration knows.
fn scene() -> Scene {
    Scene::new(&[("data/variables.yaml", VARIABLES), ("other.txt", "o\n")])
}

#[test]
fn different_entities_of_one_file_are_merged_and_every_other_byte_stays() {
    let mut scene = scene();
    let mut agent = scene.open();
    scene.save("data/variables.yaml", &VARIABLES.replace("trend: stable", "trend: deteriorating"));
    scene.others_push(&[("data/variables.yaml", &VARIABLES.replace("trend: improving", "trend: unknown"))]);
    let done = cycle(&mut agent);
    assert!(done.parked.is_empty(), "{done:?}");
    let both = VARIABLES.replace("trend: stable", "trend: deteriorating").replace("trend: improving", "trend: unknown");
    assert_eq!(scene.on_remote("data/variables.yaml").as_deref(), Some(both.as_str()));
    assert_eq!(scene.read("data/variables.yaml"), both);
    scene.check();
}

#[test]
fn where_one_entity_conflicts_only_that_one_takes_upstreams_version() {
    let mut scene = scene();
    let mut agent = scene.open();
    let ours = VARIABLES.replace("trend: stable", "trend: ours").replace("trend: improving", "trend: kept");
    scene.save("data/variables.yaml", &ours);
    scene.others_push(&[("data/variables.yaml", &VARIABLES.replace("trend: stable", "trend: theirs"))]);
    let done = cycle(&mut agent);
    assert_eq!(done.parked.len(), 1, "{done:?}");
    let expected = VARIABLES.replace("trend: stable", "trend: theirs").replace("trend: improving", "trend: kept");
    assert_eq!(scene.on_remote("data/variables.yaml").as_deref(), Some(expected.as_str()));
    assert_eq!(scene.read("data/variables.yaml"), expected);
    let rescued = baft_tests::git::git(
        &scene.remote.bare(),
        &["show", &format!("{}:data/variables.yaml", done.parked[0].branch)],
    );
    assert_eq!(format!("{rescued}\n"), ours, "the full local version is on the rescue branch");
    scene.check();
}

#[test]
fn scenario_11_a_conflict_that_upstream_resolves_closes_the_rescue_branch() {
    let mut scene = scene();
    let mut agent = scene.open();
    scene.save("other.txt", "ours\n");
    scene.others_push(&[("other.txt", "theirs\n")]);
    let done = cycle(&mut agent);
    let branch = done.parked[0].branch.clone();
    scene.remote.git(&["fetch", "-q", "origin"]);
    scene.remote.git(&["reset", "-q", "--hard", "origin/main"]);
    scene.remote.git(&["merge", "-q", "-s", "ours", &branch.replace("refs/heads/", "origin/")]);
    scene.remote.git(&["push", "-q", "origin", "HEAD:main"]);
    cycle(&mut agent);
    assert_eq!(scene.remote_branches(), Vec::<String>::new());
    assert!(agent.status().parked.is_empty());
    scene.check();
}

#[test]
fn a_file_that_is_open_for_writing_while_upstream_changes_it_is_brought_together_later() {
    let mut scene = scene();
    let mut agent = scene.open();
    let path = scene.clone_path().join("data/variables.yaml");
    let mut open = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    scene.others_push(&[
        ("data/variables.yaml", &VARIABLES.replace("trend: improving", "trend: unknown")),
        ("other.txt", "theirs\n"),
    ]);
    any_cycle(&mut agent);
    assert_eq!(scene.read("other.txt"), "theirs\n", "the others do not wait");
    assert_eq!(scene.read("data/variables.yaml"), VARIABLES, "a writer's file is left alone");
    let mine = VARIABLES.replace("trend: stable", "trend: deteriorating");
    open.set_len(0).unwrap();
    open.write_all(mine.as_bytes()).unwrap();
    drop(open);
    scene.model.saw("data/variables.yaml", mine.as_bytes());
    any_cycle(&mut agent);
    cycle(&mut agent);
    let both = mine.replace("trend: improving", "trend: unknown");
    assert_eq!(scene.on_remote("data/variables.yaml").as_deref(), Some(both.as_str()));
    assert_eq!(scene.read("data/variables.yaml"), both);
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
}

#[test]
fn a_busy_file_that_was_not_edited_in_the_end_gets_upstreams_content() {
    let mut scene = scene();
    let mut agent = scene.open();
    let open = std::fs::OpenOptions::new().write(true).open(scene.clone_path().join("other.txt")).unwrap();
    scene.others_push(&[("other.txt", "theirs\n")]);
    any_cycle(&mut agent);
    assert_eq!(scene.read("other.txt"), "o\n");
    drop(open);
    drop(agent);
    let mut agent = scene.open();
    cycle(&mut agent);
    assert_eq!(scene.read("other.txt"), "theirs\n");
    assert_eq!(scene.on_remote("other.txt").as_deref(), Some("theirs\n"));
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
}

#[test]
fn a_held_file_that_upstream_changes_meanwhile_keeps_both() {
    let mut scene = scene();
    let mut agent = scene.open();
    scene.save("data/variables.yaml", "entries: [\n");
    scene.model.secret("data/variables.yaml", b"entries: [\n");
    cycle(&mut agent);
    scene.others_push(&[("data/variables.yaml", &VARIABLES.replace("trend: improving", "trend: unknown"))]);
    any_cycle(&mut agent);
    assert_eq!(scene.read("data/variables.yaml"), "entries: [\n");
    scene.check();
    let mine = VARIABLES.replace("trend: stable", "trend: deteriorating");
    scene.save("data/variables.yaml", &mine);
    any_cycle(&mut agent);
    cycle(&mut agent);
    let both = mine.replace("trend: improving", "trend: unknown");
    assert_eq!(scene.on_remote("data/variables.yaml").as_deref(), Some(both.as_str()));
    scene.check();
}

fn set(type_: &str, id: &str, field: &str, value: &str) -> Edit {
    Edit::Entity {
        type_: type_.to_owned(),
        id: id.to_owned(),
        set: vec![(field.to_owned(), value.into())],
        unset: Vec::new(),
    }
}

#[test]
fn a_field_of_an_entity_is_set_by_request_and_every_other_byte_stays() {
    let scene = scene();
    let mut agent = scene.open();
    let session = SessionStamp { id: "s-1".to_owned(), epoch: Some("7".to_owned()), author: None };
    let base = agent.status().head;
    let apply = Apply {
        session: Some(session),
        base,
        edits: vec![set("variables", "SV-01", "trend", "deteriorating")],
        message: Some("seen".to_owned()),
    };
    let applied = agent.apply(&apply).unwrap();
    assert_eq!(applied.paths.len(), 1);
    let expected = VARIABLES.replace("trend: stable", "trend: deteriorating");
    assert_eq!(scene.read("data/variables.yaml"), expected);
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    let message = scene.git(&["log", "-1", "--format=%B"]);
    assert!(message.starts_with("Session s-1: seen") && message.contains("\nSession: s-1"), "{message}");
    cycle(&mut agent);
    assert_eq!(scene.on_remote("data/variables.yaml").as_deref(), Some(expected.as_str()));
    // Looked at before that: refused. Another entity of the same file: not.
    let stale = Apply { session: None, base, edits: vec![set("variables", "SV-01", "trend", "x")], message: None };
    assert!(matches!(agent.apply(&stale), Err(ApplyError::Conflict(_))));
    let other = Apply { session: None, base, edits: vec![set("variables", "SV-02", "trend", "x")], message: None };
    agent.apply(&other).unwrap();
    let unknown =
        Apply { session: None, base: None, edits: vec![set("variables", "SV-99", "trend", "x")], message: None };
    assert!(matches!(agent.apply(&unknown), Err(ApplyError::NotFound(_))));
    scene.check();
}

#[test]
fn edits_by_request_do_not_touch_a_file_somebody_is_editing_and_pass_the_gates() {
    let mut scene = scene();
    let mut agent = scene.open();
    scene.save("other.txt", "being edited\n");
    let file = |path: &str, content: &str| Edit::File {
        path: path.parse().unwrap(),
        content: Some(content.as_bytes().to_vec()),
    };
    let apply = |edits| Apply { session: None, base: None, edits, message: None };
    agent.touched(Touched::Rescan);
    let refused = agent.apply(&apply(vec![file("other.txt", "by request\n")]));
    assert!(matches!(refused, Err(ApplyError::Conflict(_))), "{refused:?}");
    assert_eq!(scene.read("other.txt"), "being edited\n");
    let secret =
        "aws_access_key_id: AKIAIOSFODNN7EXAMPLF\naws_secret_access_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEZ\n";
    let refused = agent.apply(&apply(vec![file("new.yaml", "a: 1\n"), file("s.yaml", secret)]));
    assert!(matches!(refused, Err(ApplyError::Refused { .. })), "{refused:?}");
    assert!(!scene.clone_path().join("new.yaml").exists(), "all or nothing");
    scene.model.secret("s.yaml", secret.as_bytes());
    cycle(&mut agent);
    agent.apply(&apply(vec![file("other.txt", "by request\n"), file("deep/new.yaml", "a: 1\n")])).unwrap();
    agent.apply(&apply(vec![Edit::File { path: "deep/new.yaml".parse().unwrap(), content: None }])).unwrap();
    cycle(&mut agent);
    assert_eq!(scene.on_remote("other.txt").as_deref(), Some("by request\n"));
    assert_eq!(scene.on_remote("deep/new.yaml"), None);
    scene.check();
}

#[test]
fn edits_are_captured_while_a_remote_keeps_us_waiting() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let http = scene.remote.serve_http();
    scene.settings.remote.url = http.url();
    scene.settings.remote.deadline = Some(Duration::from_secs(7));
    scene.settings.quiet = Duration::from_millis(100);
    let mut agent = scene.open();
    http.fault(Fault::Hang);
    let hints = agent.hints();
    let clone = scene.clone_path();
    let started = Instant::now();
    let done = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            std::fs::write(clone.join("a.yaml"), "a: meanwhile\n").unwrap();
            hints.add(Touched::Rescan);
        });
        agent.cycle(&Order { extent: Extent::Push, ..now() })
    });
    scene.model.saw("a.yaml", b"a: meanwhile\n");
    assert!(started.elapsed() >= Duration::from_secs(4), "it did hang");
    assert_eq!(done.captured.len(), 1, "{done:?}");
    scene.check();
    http.fault(Fault::None);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: meanwhile\n"));
}

#[test]
fn the_same_over_ssh() {
    let scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let Some(ssh) = scene.remote.serve_ssh(baft_tests::git::HostKey::Ed25519) else { return };
    let mut scene = scene;
    scene.settings.remote.url = ssh.url();
    scene.settings.remote.known_hosts = baft_repo::transport::KnownHosts::File(ssh.known_hosts());
    scene.settings.remote.credentials.ssh_keys = vec![ssh.key()];
    let mut agent = scene.open();
    scene.save("a.yaml", "a: 2\n");
    scene.others_push(&[("b.yaml", "b: 1\n")]);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"));
    assert_eq!(scene.read("b.yaml"), "b: 1\n");
    scene.save("c.txt", "ours\n");
    scene.others_push(&[("c.txt", "theirs\n")]);
    let done = cycle(&mut agent);
    assert_eq!(done.parked.len(), 1);
    scene.check();
}
