//! `docs/recovery.md` as a test: an agent is brought into each state, the document's own commands are run in the clone, and things are back.

use std::path::Path;
use std::process::Command;

use baft_tests::git::git;
use baft_tests::{GitRemote, NatsServer, Process, bin, process, wait_until};

use crate::support::{Desk, SOON, on_remote, wait_for_file, wait_for_remote};

/// A desk, its remote, its broker, and an agent at work.
struct Table {
    desk: Desk,
    remote: GitRemote,
    nats: NatsServer,
    agent: Process,
}

const FILES: &[(&str, &str)] = &[("data/a.yaml", "a: first\n"), ("data/b.yaml", "b: 1\n"), ("notes.txt", "one\n")];

impl Table {
    async fn new(files: &[(&str, &str)], args: &[&str]) -> Self {
        let nats = NatsServer::start();
        let _bus = nats.client().await;
        let (remote, _) = GitRemote::with_files(files);
        let desk = Desk::new();
        let url = format!("--nats-url={}", nats.url());
        let agent = desk.ready(&remote.url(), &[&[url.as_str()], args].concat());
        let table = Self { desk, remote, nats, agent };
        table.identity();
        table
    }

    /// A person who works in the clone has a name in git.
    fn identity(&self) {
        self.desk.git(&["config", "user.name", "Ann"]);
        self.desk.git(&["config", "user.email", "ann@example.org"]);
    }

    /// Runs the commands of the document.
    fn run(&self, label: &str) {
        let script = block(label);
        let path = format!("{}:{}", bin("baft").parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-eu", "-c", &script])
            .current_dir(self.desk.clone())
            .env("PATH", path)
            .env("NATS_URL", self.nats.url())
            .env("BAFT_AGENT", "desk")
            .env("HOME", self.desk.path(""))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{label}: {script}\n{said}\n{}", self.agent.logs());
    }

    fn ring(&self) {
        self.agent.signal(rustix::process::Signal::HUP);
    }

    fn held(&self, reason: &str) -> f64 {
        self.desk.metric(&format!("quarantined_files{{reason=\"{reason}\"}}"))
    }

    fn wait_held(&self, reason: &str, files: f64) {
        wait_until(&format!("{files} files held as {reason}"), SOON, || {
            if self.held(reason) == files {
                return Some(());
            }
            self.ring();
            std::thread::sleep(std::time::Duration::from_millis(100));
            None
        });
    }

    fn wait_state(&self, state: &str) {
        wait_until(&format!("the state {state}"), SOON, || {
            if self.desk.metric(&format!("repo_state{{state=\"{state}\"}}")) == 1.0 {
                return Some(());
            }
            self.ring();
            std::thread::sleep(std::time::Duration::from_millis(100));
            None
        });
    }

    fn wait_normal(&self) {
        self.wait_state("normal");
    }

    fn rescue(&self) -> Vec<String> {
        let listed = git(&self.remote.bare(), &["for-each-ref", "--format=%(refname)", "refs/heads/rescue"]);
        listed.lines().map(str::to_owned).collect()
    }

    fn wait_rescue(&self, branches: usize) -> Vec<String> {
        wait_until(&format!("{branches} rescue branches"), SOON, || {
            self.ring();
            std::thread::sleep(std::time::Duration::from_millis(100));
            Some(self.rescue()).filter(|found| found.len() == branches)
        })
    }
}

/// The commands of a block `sh <label>`.
fn block(label: &str) -> String {
    let text = document();
    let start = format!("```sh {label}\n");
    let from = text.find(&start).unwrap_or_else(|| panic!("docs/recovery.md has no block `{label}`")) + start.len();
    text[from..].split("```").next().unwrap().to_owned()
}

fn document() -> String {
    std::fs::read_to_string(process::workspace().join("docs/recovery.md")).unwrap()
}

macro_rules! recovered {
    ($($label:literal $name:ident $scenario:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let scenario: fn() -> _ = || $scenario;
                scenario().await;
            }
        )*

        #[test]
        fn every_block_of_commands_is_tried() {
            let text = document();
            let mut blocks: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("```sh ")).collect();
            let mut tried = vec![$($label),*];
            blocks.sort_unstable();
            tried.sort_unstable();
            assert_eq!(blocks, tried);
            assert!(!text.contains("```sh\n"), "a block without a name is not tried");
        }
    };
}

recovered! {
    "history" an_earlier_version_of_a_file async {
        let table = Table::new(FILES, &[]).await;
        for n in 2..4 {
            table.desk.save("data/a.yaml", &format!("a: {n}\n"));
            wait_for_remote(&table.remote, "data/a.yaml", &format!("a: {n}\n"));
        }
        table.run("history");
        wait_for_remote(&table.remote, "data/a.yaml", "a: first\n");
    };
    "held-content" what_is_held_can_be_read async {
        let table = Table::new(&[("data/broken.yaml", "a: 1\n")], &[]).await;
        table.desk.save("data/broken.yaml", "a: [\n");
        table.wait_held("unparsable", 1.0);
        table.run("held-content");
    };
    "secret-remove" a_secret_taken_out async {
        let table = Table::new(FILES, &[]).await;
        table.desk.save("data/a.yaml", "a: 2\ntoken: ghp_16C7e42F292c6912E7710c838347Ae178B4a\n");
        table.wait_held("secret", 1.0);
        table.run("secret-remove");
        wait_for_remote(&table.remote, "data/a.yaml", "a: 2\n");
        table.wait_held("secret", 0.0);
    };
    "secret-release" a_secret_that_is_none async {
        let table = Table::new(FILES, &[]).await;
        let text = "a: 2\ntoken: ghp_16C7e42F292c6912E7710c838347Ae178B4a\n";
        table.desk.save("data/a.yaml", text);
        table.wait_held("secret", 1.0);
        table.run("secret-release");
        assert_eq!(on_remote(&table.remote, "data/a.yaml").as_deref(), Some(text));
    };
    "size" a_file_too_large async {
        let table = Table::new(FILES, &["--max-file-size=1KiB"]).await;
        table.desk.save("data/large.json", &format!("\"{}\"", "x".repeat(5000)));
        table.wait_held("size", 1.0);
        table.run("size");
        table.wait_held("size", 0.0);
        assert_eq!(on_remote(&table.remote, "data/large.json"), None);
    };
    "unparsable" a_file_that_does_not_parse async {
        let table = Table::new(FILES, &[]).await;
        table.desk.save("data/a.yaml", "a: [\n");
        table.wait_held("unparsable", 1.0);
        table.run("unparsable");
        table.wait_held("unparsable", 0.0);
        assert_eq!(table.desk.read("data/a.yaml").as_deref(), Some("a: first\n"));
    };
    "junk" a_leftover_of_an_editor async {
        let table = Table::new(FILES, &["--include=**/*"]).await;
        table.desk.save("data/a.yaml~", "a: old\n");
        table.wait_held("junk", 1.0);
        table.run("junk");
        table.wait_held("junk", 0.0);
    };
    "deletions-restore" deleted_by_mistake async {
        let table = deleted().await;
        table.run("deletions-restore");
        table.wait_held("mass_delete", 0.0);
        assert!(table.desk.read("data/0.yaml").is_some() && on_remote(&table.remote, "data/0.yaml").is_some());
    };
    "deletions-confirm" deleted_on_purpose async {
        let table = deleted().await;
        table.run("deletions-confirm");
        assert_eq!(on_remote(&table.remote, "data/0.yaml"), None);
        table.wait_held("mass_delete", 0.0);
    };
    "conflict" a_conflict_decided_for_the_local_version async {
        let table = conflict().await;
        table.run("conflict");
        wait_for_remote(&table.remote, "notes.txt", "local\n");
    };
    "conflict-close" a_conflict_decided_for_upstream async {
        let table = conflict().await;
        table.run("conflict-close");
        wait_until("the agent to let go", SOON, || {
            table.ring();
            std::thread::sleep(std::time::Duration::from_millis(100));
            (table.desk.metric("rescue_branches") == 0.0 && table.rescue().is_empty()).then_some(())
        });
        assert_eq!(on_remote(&table.remote, "notes.txt").as_deref(), Some("upstream\n"));
    };
    "dropped" commits_a_person_took_out async {
        let table = Table::new(FILES, &[]).await;
        // Not pushed yet: the remote is away.
        let away = table.remote.bare().with_file_name("away.git");
        std::fs::rename(table.remote.bare(), &away).unwrap();
        table.desk.save("data/a.yaml", "a: dropped\n");
        wait_until("the commit", SOON, || (table.desk.git(&["show", "main:data/a.yaml"]) == "a: dropped").then_some(()));
        table.desk.git(&["reset", "-q", "--hard", "origin/main"]);
        std::fs::rename(&away, table.remote.bare()).unwrap();
        wait_until("it to be parked", SOON, || {
            table.ring();
            std::thread::sleep(std::time::Duration::from_millis(100));
            (!table.desk.git(&["for-each-ref", "refs/baft/parked/desk"]).is_empty()).then_some(())
        });
        table.run("dropped");
        wait_for_remote(&table.remote, "data/a.yaml", "a: dropped\n");
    };
    "index-lock" a_lock_that_a_killed_git_left async {
        let table = Table::new(FILES, &[]).await;
        std::fs::write(table.desk.clone().join(".git/index.lock"), "").unwrap();
        table.desk.save("data/a.yaml", "a: 2\n");
        table.wait_state("index_lock");
        assert!(table.desk.clone().join(".git/index.lock").exists(), "it is not ours to remove");
        table.run("index-lock");
        wait_for_remote(&table.remote, "data/a.yaml", "a: 2\n");
        table.wait_normal();
    };
    "rebase" a_rebase_given_up async {
        let table = Table::new(FILES, &[]).await;
        table.desk.save("notes.txt", "mine\n");
        wait_for_remote(&table.remote, "notes.txt", "mine\n");
        let stop = ["-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", "HEAD~1"];
        wait_until("a rebase that stops at a commit", SOON, || {
            git_fails(&table.desk.clone(), &stop);
            table.desk.clone().join(".git/rebase-merge").exists().then_some(())
        });
        table.wait_state("rebase");
        table.desk.save("data/a.yaml", "a: during\n");
        table.wait_rescue(1);
        table.desk.git(&["restore", "data/a.yaml"]);
        table.run("rebase");
        table.wait_normal();
        table.desk.save("data/b.yaml", "b: after\n");
        wait_for_remote(&table.remote, "data/b.yaml", "b: after\n");
    };
    "other-branch" another_branch async {
        let table = Table::new(FILES, &[]).await;
        table.desk.git(&["switch", "-q", "-c", "aside"]);
        table.desk.save("data/a.yaml", "a: aside\n");
        table.wait_state("other_branch");
        table.wait_rescue(1);
        assert_eq!(on_remote(&table.remote, "data/a.yaml").as_deref(), Some("a: first\n"));
        table.run("other-branch");
        table.wait_normal();
        wait_for_remote(&table.remote, "data/a.yaml", "a: aside\n");
    };
    "conflicts" an_index_with_conflicts async {
        let table = Table::new(FILES, &["--watch=false"]).await;
        table.desk.save("notes.txt", "stashed\n");
        table.desk.git(&["stash", "-q"]);
        table.desk.save("notes.txt", "other\n");
        table.ring();
        wait_for_remote(&table.remote, "notes.txt", "other\n");
        git_fails(&table.desk.clone(), &["stash", "pop", "-q"]);
        table.wait_state("conflicts");
        assert_eq!(on_remote(&table.remote, "notes.txt").as_deref(), Some("other\n"));
        table.run("conflicts");
        table.wait_normal();
        table.ring();
        wait_for_remote(&table.remote, "notes.txt", "mended\n");
    };
    "index" a_damaged_index async {
        let table = Table::new(FILES, &[]).await;
        std::fs::write(table.desk.clone().join(".git/index"), "DIRC nonsense").unwrap();
        table.desk.save("data/a.yaml", "a: 2\n");
        table.ring();
        table.run("index");
        table.wait_normal();
        wait_for_remote(&table.remote, "data/a.yaml", "a: 2\n");
    };
    "rewritten" a_history_that_was_rewritten async {
        let table = Table::new(FILES, &[]).await;
        table.remote.commit(&[("data/b.yaml", "b: 2\n")]);
        table.ring();
        wait_for_file(&table.desk, "data/b.yaml", "b: 2\n");
        table.remote.force_push(1, &[("data/b.yaml", "b: rewritten\n")]);
        table.wait_state("rewritten");
        assert_eq!(table.desk.read("data/b.yaml").as_deref(), Some("b: 2\n"), "not followed in silence");
        table.run("rewritten");
        wait_for_file(&table.desk, "data/b.yaml", "b: rewritten\n");
        table.wait_normal();
    };
    "by-hand" a_machine_that_must_go async {
        let table = Table::new(FILES, &[]).await;
        std::fs::rename(table.remote.bare(), table.remote.bare().with_file_name("away.git")).unwrap();
        table.desk.save("data/a.yaml", "a: taken along\n");
        wait_until("the commit", SOON, || {
            (table.desk.git(&["show", "refs/baft/pending/desk:data/a.yaml"]) == "a: taken along").then_some(())
        });
        let elsewhere = table.desk.path("elsewhere.git");
        git(&table.desk.path(""), &["init", "-q", "--bare", "elsewhere.git"]);
        table.run("by-hand");
        assert_eq!(git(&elsewhere, &["show", "from-desk:data/a.yaml"]), "a: taken along");
    };
    "gone" a_volume_that_was_not_mounted async {
        let mut table = Table::new(FILES, &[]).await;
        let (clone, aside) = (table.desk.clone(), table.desk.path("aside"));
        std::fs::rename(&clone, &aside).unwrap();
        std::fs::create_dir(&clone).unwrap();
        table.ring();
        wait_until("the fault to show", SOON, || (table.desk.get("/readyz").0 == 503).then_some(()));
        table.run("gone");
        table.ring();
        table.desk.wait_ready(&mut table.agent);
        assert!(on_remote(&table.remote, "data/a.yaml").is_some());
    };
    "anew" a_clone_that_is_lost async {
        let mut table = Table::new(FILES, &[]).await;
        assert!(table.agent.terminate(SOON).success());
        std::fs::remove_dir_all(table.desk.clone()).unwrap();
        std::fs::create_dir(table.desk.clone()).unwrap();
        table.agent = table.desk.start(&table.remote.url(), &[]);
        wait_until("the fault to show", SOON, || (table.desk.get("/readyz").0 == 503).then_some(()));
        assert_eq!(table.desk.read("data/a.yaml"), None, "not a fresh start by itself");
        table.run("anew");
        wait_for_file(&table.desk, "data/a.yaml", "a: first\n");
    };
}

/// Twenty files, fifteen of them gone.
async fn deleted() -> Table {
    let names: Vec<String> = (0..20).map(|n| format!("data/{n}.yaml")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a: 1\n")).collect();
    let table = Table::new(&files, &[]).await;
    for name in &names[..15] {
        std::fs::remove_file(table.desk.clone().join(name)).unwrap();
    }
    table.wait_held("mass_delete", 15.0);
    table
}

/// A text changed on both sides.
async fn conflict() -> Table {
    let table = Table::new(FILES, &["--watch=false"]).await;
    table.remote.commit(&[("notes.txt", "upstream\n")]);
    table.desk.save("notes.txt", "local\n");
    table.wait_rescue(1);
    wait_for_file(&table.desk, "notes.txt", "upstream\n");
    let mut table = table;
    // From here on as people have it.
    assert!(table.agent.terminate(SOON).success());
    let url = format!("--nats-url={}", table.nats.url());
    table.agent = table.desk.ready(&table.remote.url(), &[&url]);
    table
}

/// Runs git where it is expected to stop; says whether it did.
fn git_fails(folder: &Path, args: &[&str]) -> bool {
    !baft_tests::git::command(folder).args(args).output().unwrap().status.success()
}
