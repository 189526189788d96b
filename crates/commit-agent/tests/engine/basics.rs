//! What happens on an ordinary day.

use baft_commit_agent::engine::{Agent, Cycle, Extent, Order, Touched, Trigger};

use crate::support::{Scene, any_cycle, cycle, now};

#[test]
fn an_edit_is_captured_landed_and_pushed_and_git_sees_a_clean_tree() {
    let mut scene = Scene::new(&[("data/a.yaml", "a: 1\n"), ("README.md", "hello\n")]);
    let mut agent = scene.open();
    assert_eq!(scene.read("data/a.yaml"), "a: 1\n");
    scene.save("data/a.yaml", "a: 2\n");
    scene.save("data/new/b.yaml", "b: 1\n");
    let done = cycle(&mut agent);
    assert_eq!(done.landed.len(), 1, "{done:?}");
    assert!(done.pushed.is_some());
    assert_eq!(scene.on_remote("data/a.yaml").as_deref(), Some("a: 2\n"));
    assert_eq!(scene.on_remote("data/new/b.yaml").as_deref(), Some("b: 1\n"));
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    let again = cycle(&mut agent);
    assert!(again.captured.is_empty() && again.pushed.is_none(), "{again:?}");
    scene.check();
}

#[test]
fn after_a_rest_everything_goes_on_as_before() {
    let mut scene = Scene::new(&[("data/a.yaml", "a: 1\n"), ("data/b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    for round in 2..4 {
        agent.rest();
        scene.save("data/a.yaml", &format!("a: {round}\n"));
        scene.save("data/key.yaml", &format!("key: AKIA{}\n", "QRSTUVWXYZ234567"));
        let theirs = scene.others_push(&[("data/b.yaml", &format!("b: {round}\n"))]);
        let done = cycle(&mut agent);
        assert!(done.pushed.is_some() && done.held.len() == 1, "{done:?}");
        assert_eq!(scene.on_remote("data/a.yaml"), Some(format!("a: {round}\n")));
        assert_eq!(scene.read("data/b.yaml"), format!("b: {round}\n"));
        assert_eq!(scene.git(&["rev-parse", "HEAD^"]), theirs);
        assert_eq!(scene.on_remote("data/key.yaml"), None);
    }
    scene.check();
}

#[test]
fn an_empty_remote_gets_its_first_files() {
    let mut scene = Scene::new(&[]);
    let mut agent = scene.open();
    let nothing = cycle(&mut agent);
    assert_eq!(nothing.pushed, None);
    scene.save("a.yaml", "a: 1\n");
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 1\n"));
    scene.check();
}

#[test]
fn what_others_push_arrives_in_files_index_and_branch() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("gone.yaml", "x: 1\n"), ("deep/er/c.yaml", "c: 1\n")]);
    let mut agent = scene.open();
    scene.remote.commit_bytes(&[
        ("a.yaml", Some(b"a: 2\n")),
        ("gone.yaml", None),
        ("deep/er/c.yaml", None),
        ("new/d.yaml", Some(b"d: 1\n")),
    ]);
    let head = scene.remote.head();
    scene.model.pushed(&head);
    let done = cycle(&mut agent);
    assert_eq!(done.brought_in.unwrap().changes.len(), 4);
    assert_eq!(scene.read("a.yaml"), "a: 2\n");
    assert_eq!(scene.read("new/d.yaml"), "d: 1\n");
    assert!(!scene.clone_path().join("gone.yaml").exists() && !scene.clone_path().join("deep").exists());
    assert_eq!(scene.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
}

#[test]
fn edits_of_different_files_on_both_sides_become_one_line() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    scene.save("a.yaml", "a: 2\n");
    let theirs = scene.others_push(&[("b.yaml", "b: 2\n")]);
    cycle(&mut agent);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 2\n"));
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: 2\n"));
    assert_eq!(scene.read("b.yaml"), "b: 2\n");
    assert_eq!(scene.git(&["rev-parse", "HEAD^"]), theirs, "linear");
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
}

#[test]
fn a_conflict_is_parked_before_upstream_wins_and_comes_back_when_it_can() {
    let mut scene = Scene::new(&[("a.bin.txt", "one\n")]);
    let mut agent = scene.open();
    scene.save("a.bin.txt", "ours\n");
    scene.others_push(&[("a.bin.txt", "theirs\n")]);
    let done = cycle(&mut agent);
    assert_eq!(done.parked.len(), 1, "{done:?}");
    assert_eq!(scene.read("a.bin.txt"), "theirs\n");
    assert_eq!(scene.on_remote("a.bin.txt").as_deref(), Some("theirs\n"));
    assert_eq!(scene.remote_branches().len(), 1);
    assert_eq!(baft_tests::model::status(&scene.clone_path()), "");
    scene.check();
    // Somebody merges it upstream.
    scene.save("a.bin.txt", "ours\n");
    cycle(&mut agent);
    cycle(&mut agent);
    assert_eq!(scene.remote_branches(), Vec::<String>::new());
    assert!(agent.status().parked.is_empty());
    scene.check();
}

#[test]
fn a_deletion_and_a_rename_are_captured() {
    let scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n"), ("c.yaml", "c: 1\n"), ("d/e.yaml", "e: 1\n")]);
    let mut agent = scene.open();
    std::fs::rename(scene.clone_path().join("d"), scene.clone_path().join("f")).unwrap();
    let done = cycle(&mut agent);
    assert!(done.held.is_empty(), "{done:?}");
    assert_eq!(scene.on_remote("f/e.yaml").as_deref(), Some("e: 1\n"));
    assert_eq!(scene.on_remote("d/e.yaml"), None);
    scene.check();
}

#[test]
fn local_cycles_leave_the_network_alone_and_hints_are_enough() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    cycle(&mut agent);
    scene.save("a.yaml", "a: 2\n");
    scene.save("b.yaml", "b: 2\n");
    agent.touched(Touched::Some([baft_repo::RepoPath::new("a.yaml").unwrap()].into()));
    let done = agent.cycle(&Order { extent: Extent::Local, ..now() });
    assert_eq!(done.landed.len(), 1);
    assert_eq!(done.landed[0].paths.len(), 1, "only what the hint named");
    assert_eq!(done.unpushed, 1);
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 1\n"));
    any_cycle(&mut agent);
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: 2\n"));
    scene.check();
}

#[test]
fn a_persons_staging_is_kept() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let mut agent = scene.open();
    // Only staged, never at rest in the file while anybody looked: the index keeps it.
    std::fs::write(scene.clone_path().join("a.yaml"), "a: staged\n").unwrap();
    scene.git(&["add", "a.yaml"]);
    scene.save("a.yaml", "a: later\n");
    scene.save("b.yaml", "b: 2\n");
    cycle(&mut agent);
    assert_eq!(scene.git(&["show", ":a.yaml"]), "a: staged");
    assert_eq!(scene.git(&["show", "HEAD:a.yaml"]), "a: later");
    assert_eq!(scene.git(&["show", ":b.yaml"]), "b: 2");
    scene.check();
}

#[test]
fn restarting_changes_nothing() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    scene.save("a.yaml", "a: 2\n");
    cycle(&mut agent);
    drop(agent);
    let mut agent = scene.open();
    let done = cycle(&mut agent);
    assert!(done.captured.is_empty() && done.pushed.is_none(), "{done:?}");
    scene.check();
}

#[test]
fn everything_that_happened_is_announced_once_in_order() {
    use baft_commit_agent::engine::Announced;
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n")]);
    let mut agent = scene.open();
    assert_eq!(agent.next_announcement().unwrap(), None);
    scene.save("a.yaml", "a: 2\n");
    cycle(&mut agent);
    assert_eq!(agent.unannounced(), 2);
    let first = agent.next_announcement().unwrap().unwrap();
    assert!(matches!(&first.what, Announced::Committed(commit) if commit.paths.len() == 1));
    drop(agent);
    let mut agent = scene.open();
    assert_eq!(agent.next_announcement().unwrap().unwrap().id, first.id, "the same until it is acknowledged");
    agent.acknowledged(&first.id).unwrap();
    let second = agent.next_announcement().unwrap().unwrap();
    assert!(matches!(&second.what, Announced::Pushed(_)), "{second:?}");
    agent.acknowledged(&second.id).unwrap();
    assert_eq!(agent.next_announcement().unwrap(), None);
    assert_eq!(agent.unannounced(), 0);
}

/// A save that the watch told of.
fn told(agent: &mut Agent) -> Cycle {
    agent.touched(Touched::Rescan);
    let done = agent.cycle(&Order { trigger: Trigger::Watch, ..now() });
    assert!(done.errors.is_empty(), "{done:#?}");
    done
}

#[test]
fn a_save_is_pushed_without_asking_first_and_upstreams_change_comes_in_when_the_push_finds_it() {
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let http = scene.remote.serve_http();
    scene.settings.remote.url = http.url();
    let mut agent = scene.open();
    cycle(&mut agent);
    let requests = |work: &mut dyn FnMut()| {
        let before = http.requests();
        work();
        http.requests() - before
    };
    // Nothing that anybody commits.
    std::fs::write(scene.clone_path().join("a.yaml.swp"), "x").unwrap();
    assert_eq!(requests(&mut || drop(told(&mut agent))), 0);
    scene.save("a.yaml", "a: 2\n");
    let (asked, save) = (requests(&mut || drop(told(&mut agent))), scene.on_remote("a.yaml"));
    assert_eq!(save.as_deref(), Some("a: 2\n"));
    scene.save("a.yaml", "a: 3\n");
    assert!(requests(&mut || drop(cycle(&mut agent))) > asked, "who is not told of a save asks first");
    // Somebody was faster.
    scene.others_push(&[("b.yaml", "b: 2\n")]);
    scene.save("a.yaml", "a: 4\n");
    let done = told(&mut agent);
    assert_eq!((done.unpushed, done.brought_in.is_some()), (0, true), "{done:#?}");
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: 4\n"));
    assert_eq!(scene.read("b.yaml"), "b: 2\n");
    // And in the same file, in conflict.
    scene.others_push(&[("a.yaml", "a: theirs\n")]);
    scene.save("a.yaml", "a: ours\n");
    let done = told(&mut agent);
    assert_eq!(done.parked.len(), 1, "{done:#?}");
    assert_eq!(scene.on_remote("a.yaml").as_deref(), Some("a: theirs\n"));
    scene.check();
    // A branch that was made anew from elsewhere is not overwritten, and not followed.
    scene.remote.git(&["fetch", "-q", "origin"]);
    scene.remote.git(&["reset", "-q", "--hard", "origin/main"]);
    scene.remote.force_push(1, &[("b.yaml", "b: rewritten\n")]);
    scene.save("new.yaml", "n: 1\n");
    told(&mut agent);
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: rewritten\n"));
    assert_eq!(scene.on_remote("new.yaml"), None, "a person has to confirm first");
}
