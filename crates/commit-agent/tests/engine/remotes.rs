//! Scenarios 10 to 16: other pushers, conflicts, and servers that refuse, hang and lie.

use std::time::{Duration, Instant};

use baft_commit_agent::engine::{Blocked, Class, Confirm};
use baft_tests::git::Fault;

use crate::support::{Scene, any_cycle, cycle, settings};

#[test]
fn scenario_10_two_agents_race_and_everything_arrives() {
    let edits: usize = if std::env::var_os("BAFT_SOAK_ROUNDS").is_some() { 500 } else { 50 };
    let mut scene = Scene::new(&[("shared.yaml", "one: 0\n\ntwo: 0\n")]);
    let url = scene.remote.url();
    let mut clones = Vec::new();
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for name in ["one", "two"] {
            let mut settings = settings(scene.clone_path().with_file_name(name), &url, name);
            settings.push.retries = 20;
            clones.push(settings.clone.clone());
            workers.push(scope.spawn(move || {
                let mut model = baft_tests::Model::new();
                let (mut agent, _) = baft_commit_agent::engine::Agent::open(
                    settings.clone(),
                    std::sync::Arc::new(baft_repo::transport::Libgit2::new()),
                )
                .unwrap();
                for n in 0..edits {
                    let (path, text) = (format!("{name}/{n}.yaml"), format!("n: {n}\n"));
                    std::fs::create_dir_all(settings.clone.join(name)).unwrap();
                    std::fs::write(settings.clone.join(&path), &text).unwrap();
                    model.saw(&path, text.as_bytes());
                    any_cycle(&mut agent);
                }
                for _ in 0..20 {
                    if any_cycle(&mut agent).unpushed == 0 {
                        break;
                    }
                }
                model
            }));
        }
        for worker in workers {
            scene.model.extend(worker.join().unwrap());
        }
    });
    let clones: Vec<&std::path::Path> = clones.iter().map(std::path::PathBuf::as_path).collect();
    scene.model.check_all(&clones, &scene.remote.bare(), "main");
    for name in ["one", "two"] {
        for n in 0..edits {
            assert!(scene.on_remote(&format!("{name}/{n}.yaml")).is_some(), "{name}/{n}");
            if n > 5 && edits > 100 {
                break;
            }
        }
    }
    let tree = baft_tests::git::ls_tree(&scene.remote.bare(), "main");
    assert_eq!(tree.len(), 2 * edits + 1);
}

#[test]
fn scenario_12_conflicts_of_every_kind_keep_both_sides() {
    type Change = (&'static str, Option<&'static str>);
    let cases: &[(&str, &[Change], &[Change])] = &[
        ("modify and delete", &[("a.txt", Some("ours\n"))], &[("a.txt", None)]),
        ("delete and modify", &[("a.txt", None)], &[("a.txt", Some("theirs\n"))]),
        ("both add", &[("new.txt", Some("ours\n"))], &[("new.txt", Some("theirs\n"))]),
        ("rename and modify", &[("a.txt", None), ("moved.txt", Some("a\n"))], &[("a.txt", Some("theirs\n"))]),
        ("file for folder", &[("d/x.txt", None), ("d", Some("a file\n"))], &[("d/x.txt", Some("theirs\n"))]),
        ("folder for file", &[("a.txt", None), ("a.txt/in.txt", Some("ours\n"))], &[("a.txt", Some("theirs\n"))]),
        ("case only rename", &[("a.txt", None), ("A.txt", Some("a\n"))], &[("b.txt", Some("theirs\n"))]),
        ("binary", &[("a.txt", Some("ours\u{0}\u{1}\n"))], &[("a.txt", Some("theirs\u{0}\u{2}\n"))]),
    ];
    for (name, ours, theirs) in cases {
        let mut scene = Scene::new(&[
            ("a.txt", "a\n"),
            ("b.txt", "b\n"),
            ("d/x.txt", "x\n"),
            ("e.txt", "e\n"),
            ("f.txt", "f\n"),
            ("g.txt", "g\n"),
        ]);
        scene.settings.scope.include =
            globset::GlobSet::builder().add(globset::Glob::new("**").unwrap()).build().unwrap();
        let mut agent = scene.open();
        for (path, content) in *ours {
            match content {
                Some(content) => scene.save(path, content),
                None => {
                    scene.remove(path);
                    let _ = std::fs::remove_dir(scene.clone_path().join("d"));
                }
            }
        }
        let theirs: Vec<(&str, Option<&[u8]>)> =
            theirs.iter().map(|(path, text)| (*path, text.map(str::as_bytes))).collect();
        let oid = scene.remote.commit_bytes(&theirs);
        scene.model.pushed(&oid);
        for _ in 0..3 {
            any_cycle(&mut agent);
        }
        let done = cycle(&mut agent);
        assert!(done.unpushed == 0 && done.blocked.is_none(), "{name}: {done:#?}");
        scene.check();
        for (path, content) in &theirs {
            let is = scene.on_remote(path);
            assert_eq!(is.as_deref().map(str::as_bytes), *content, "{name}: upstream wins at {path}");
        }
        assert_eq!(baft_tests::model::status(&scene.clone_path()), "", "{name}");
    }
}

#[test]
fn scenario_13_a_rewritten_upstream_is_followed_only_when_a_person_says_so() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    scene.remote.commit(&[("a.yaml", "a: thrown away\n")]);
    let mut agent = scene.open();
    scene.model = baft_tests::Model::new();
    scene.save("b.yaml", "b: mine\n");
    let forced = scene.remote.force_push(1, &[("a.yaml", "a: rewritten\n")]);
    let done = any_cycle(&mut agent);
    assert_eq!(done.blocked, Some(Blocked::Rewritten), "{done:?}");
    assert_eq!(scene.read("a.yaml"), "a: thrown away\n", "not followed");
    let kept = baft_tests::git::git(&scene.remote.bare(), &["show", "rescue/main/pending:b.yaml"]);
    assert_eq!(kept, "b: mine");
    scene.check();
    agent.confirm(&Confirm::Rewritten).unwrap();
    any_cycle(&mut agent);
    cycle(&mut agent);
    assert_eq!(scene.read("a.yaml"), "a: rewritten\n");
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: rewritten\n"));
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: mine\n"));
    scene.model.pushed(&forced);
    scene.check();
    let thrown = baft_tests::git::git(&scene.remote.bare(), &["log", "-p", "main"]);
    assert!(!thrown.contains("thrown away"), "what upstream threw away stays away");
}

#[test]
fn scenario_14_a_remote_that_fails_in_every_way_costs_time_and_nothing_else() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let http = scene.remote.serve_http();
    scene.settings.remote.url = http.url();
    scene.settings.remote.deadline = Some(Duration::from_secs(4));
    let mut agent = scene.open();
    for (n, (fault, class)) in [
        (Fault::Status(401), Class::Auth),
        (Fault::Status(403), Class::Auth),
        (Fault::Status(404), Class::NotFound),
        (Fault::Status(429), Class::Policy),
        (Fault::Status(500), Class::Network),
        (Fault::Truncate, Class::Network),
        (Fault::Hang, Class::Network),
        (Fault::Trickle(200), Class::Network),
    ]
    .into_iter()
    .enumerate()
    {
        http.fault(fault);
        scene.save("a.yaml", &format!("a: {n}{n}\n"));
        let started = Instant::now();
        let done = any_cycle(&mut agent);
        assert!(started.elapsed() < Duration::from_secs(15), "{fault:?}: {:?}", started.elapsed());
        assert_eq!(done.captured.len(), 1, "{fault:?}");
        assert_eq!(done.landed.len(), 1, "{fault:?}");
        assert_eq!(done.errors[0].class, class, "{fault:?}: {:?}", done.errors);
    }
    http.fault(Fault::None);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 77\n"));
    scene.check();
}

#[test]
fn scenario_15_a_push_whose_answer_is_lost_is_found_to_have_arrived() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let http = scene.remote.serve_http();
    scene.settings.remote.url = http.url();
    let mut agent = scene.open();
    scene.save("a.yaml", "a: 2\n");
    http.fault(Fault::LosePushAnswer);
    let done = any_cycle(&mut agent);
    assert!(done.pushed.is_none() && !done.errors.is_empty(), "{done:?}");
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"), "it did arrive");
    http.fault(Fault::None);
    let done = cycle(&mut agent);
    assert_eq!(done.unpushed, 0);
    let mut announced = Vec::new();
    while let Some(next) = agent.next_announcement().unwrap() {
        announced.push(format!("{:?}", next.what).split('(').next().unwrap().to_owned());
        agent.acknowledged(&next.id).unwrap();
    }
    assert_eq!(announced, ["Committed", "Pushed"]);
    scene.check();
}

fn hook(scene: &Scene, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = scene.remote.bare().join("hooks/pre-receive");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Refuses every push whose files have a line that says so, with or without naming the file.
fn no_forbidden_words(names: bool) -> String {
    let tell = if names { "echo \"$f is not allowed\" >&2" } else { "echo no >&2" };
    format!(
        "while read old new ref; do
  [ \"$new\" = 0000000000000000000000000000000000000000 ] && continue
  for c in $(git rev-list $new --not --all); do
    for f in $(git diff-tree --root --no-commit-id --name-only -r -m $c); do
      if git show $c:$f 2>/dev/null | grep -q FORBIDDEN; then {tell}; exit 1; fi
    done
  done
done"
    )
}

#[test]
fn scenario_16_what_the_server_refuses_is_kept_back_and_everything_else_flows() {
    for names in [true, false] {
        let mut scene = Scene::new(&[("a.txt", "a\n"), ("b.txt", "b\n"), ("c.txt", "c\n"), ("d.txt", "d\n")]);
        let http = scene.remote.serve_http();
        scene.settings.remote.url = http.url();
        hook(&scene, &no_forbidden_words(names));
        let mut agent = scene.open();
        scene.save("a.txt", "a2\n");
        scene.save("b.txt", "FORBIDDEN\n");
        scene.model.secret("b.txt", b"FORBIDDEN\n");
        scene.save("c.txt", "c2\n");
        scene.save("d.txt", "d2\n");
        any_cycle(&mut agent);
        any_cycle(&mut agent);
        assert_eq!(scene.on_remote("a.txt").as_deref(), Some("a2\n"), "{names}");
        assert_eq!(scene.on_remote("b.txt").as_deref(), Some("b\n"), "{names}");
        assert_eq!(scene.on_remote("d.txt").as_deref(), Some("d2\n"), "{names}");
        assert_eq!(scene.read("b.txt"), "FORBIDDEN\n", "the file stays as it is");
        assert_eq!(agent.status().held.len(), 1, "{names}: {:?}", agent.status().held);
        scene.save("c.txt", "c3\n");
        let done = cycle(&mut agent);
        assert_eq!(scene.on_remote("c.txt").as_deref(), Some("c3\n"), "{names}");
        assert_eq!(done.unpushed, 0, "{names}: {done:?}");
        // Put right, it goes through.
        scene.save("b.txt", "allowed\n");
        cycle(&mut agent);
        assert_eq!(scene.on_remote("b.txt").as_deref(), Some("allowed\n"), "{names}");
        assert!(agent.status().held.is_empty());
        scene.check();
    }
}

#[test]
fn scenario_16_a_closed_branch_sends_everything_to_the_rescue_branch() {
    let mut scene = Scene::new(&[("a.txt", "a\n"), ("b.txt", "b\n")]);
    let http = scene.remote.serve_http();
    scene.settings.remote.url = http.url();
    hook(
        &scene,
        "while read old new ref; do [ $ref = refs/heads/main ] && { echo 'GH006: Protected branch update failed' >&2; exit 1; }; done; exit 0",
    );
    let mut agent = scene.open();
    scene.save("a.txt", "a2\n");
    let done = any_cycle(&mut agent);
    assert!(done.errors.iter().any(|error| error.class == Class::Protected), "{done:?}");
    assert_eq!(baft_tests::git::git(&scene.remote.bare(), &["show", "rescue/main/pending:a.txt"]), "a2");
    assert!(agent.status().held.is_empty());
    std::fs::remove_file(scene.remote.bare().join("hooks/pre-receive")).unwrap();
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.txt").as_deref(), Some("a2\n"));
    assert_eq!(scene.remote_branches(), Vec::<String>::new());
    scene.check();
}

#[test]
fn scenario_16_what_the_gates_hold_is_in_no_object_on_the_remote_whoever_commits_it() {
    let secret =
        "aws_secret_access_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEZ\naws_access_key_id: AKIAIOSFODNN7EXAMPLF\n";
    let mut scene =
        Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n"), ("c.yaml", "c: 1\n"), ("broken.yaml", "a: [1]\n")]);
    scene.settings.gates.max_file_bytes = 10_000;
    let mut agent = scene.open();
    let large = format!("x: {}\n", "y".repeat(20_000));
    let broken = "a: [1,\n  b: {\n";
    for (path, content) in [("s.yaml", secret), ("large.yaml", &large), ("broken.yaml", broken)] {
        scene.save(path, content);
        scene.model.secret(path, content.as_bytes());
    }
    scene.save("a.yaml", "a: 2\n");
    let done = cycle(&mut agent);
    assert_eq!(done.held.len(), 3, "{:?}", done.held);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"));
    scene.check();
    // A person commits the secret by hand, while others push.
    scene.git(&["add", "s.yaml"]);
    std::fs::write(scene.clone_path().join("b.yaml"), "b: by hand\n").unwrap();
    scene.git(&["commit", "-q", "-m", "oops", "s.yaml", "b.yaml"]);
    scene.others_push(&[("c.yaml", "c: 2\n")]);
    cycle(&mut agent);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: by hand\n"));
    assert_eq!(scene.on_remote("c.yaml").as_deref(), Some("c: 2\n"));
    assert_eq!(scene.read("s.yaml"), secret, "the file stays");
    scene.check();
    // Released, it goes.
    let released = agent.release(&["broken.yaml".parse().unwrap()]).unwrap();
    assert_eq!(released.len(), 1);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("broken.yaml").as_deref(), Some(broken));
}
