//! Scenario 23: the agent, an analyst and the files belong to different users of one group. Only root can play them all.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use baft_tests::Model;
use baft_tests::git::git;

use crate::support::Scene;

const AGENT: u32 = 1000;
const ANALYST: u32 = 2000;
const GROUP: u32 = 3000;

/// A command of somebody's, with the permissions a shared folder wants.
fn somebody(user: u32, home: &Path) -> Command {
    let mut command = Command::new("sh");
    command.uid(user).gid(GROUP).env("HOME", home).arg("-c").arg("umask 002; exec \"$@\"").arg("sh");
    command
}

fn ran(output: Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

struct Office {
    folder: tempfile::TempDir,
    program: PathBuf,
    url: String,
}

impl Office {
    fn new(url: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // The agent may not look into the folder where the test was built.
        let program = folder.path().join("agent");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        chown(&shared, Some(AGENT), Some(GROUP)).unwrap();
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o2775)).unwrap();
        Self { folder, program, url }
    }

    fn clone(&self) -> PathBuf {
        self.folder.path().join("shared/clone")
    }

    /// Three cycles of the agent.
    fn agent(&self) {
        let mut agent = somebody(AGENT, &self.folder.path().join("shared"));
        agent.arg(&self.program).args(["--exact", "child::run", "--ignored", "--nocapture", "--test-threads=1"]);
        agent.env("BAFT_CHILD_CLONE", self.clone()).env("BAFT_CHILD_URL", &self.url);
        agent.env("BAFT_CHILD_AGENT", "main").env("BAFT_CHILD_MODE", "once").env_remove("BAFT_FAILPOINT");
        ran(agent.output().unwrap());
    }

    fn analyst(&self, script: &str) {
        let mut shell = somebody(ANALYST, self.folder.path());
        shell.args(["sh", "-ec", script]).current_dir(self.clone());
        shell.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
        for role in ["AUTHOR", "COMMITTER"] {
            shell.env(format!("GIT_{role}_NAME"), "Ann").env(format!("GIT_{role}_EMAIL"), "ann@example.org");
        }
        ran(shell.output().unwrap());
    }
}

#[test]
#[allow(clippy::print_stderr)]
fn scenario_23_an_agent_and_an_analyst_of_one_group_work_in_one_clone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be several users");
        return;
    }
    let mut scene = Scene::new(&[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]);
    let http = scene.remote.serve_http();
    let office = Office::new(http.url());
    office.agent();
    git(&office.clone(), &["-c", "safe.directory=*", "config", "core.sharedRepository", "group"]);
    let mut model = Model::new();
    model.pushed(&scene.remote.head());

    // In place, by rename, and new: all of it somebody else's file.
    office.analyst(
        "echo 'a: 2' > a.yaml; echo 'b: 2' > .b.new; mv .b.new b.yaml; mkdir -p new; echo 'n: 1' > new/n.yaml",
    );
    for (path, text) in [("a.yaml", "a: 2\n"), ("b.yaml", "b: 2\n"), ("new/n.yaml", "n: 1\n")] {
        model.saw(path, text.as_bytes());
    }
    // What the agent may not read keeps nobody else from being committed.
    office.analyst("echo 'secret: mine' > private.yaml; chmod 600 private.yaml");
    office.agent();
    for (path, text) in [("a.yaml", "a: 2\n"), ("b.yaml", "b: 2\n"), ("new/n.yaml", "n: 1\n")] {
        assert_eq!(scene.on_remote(path).as_deref(), Some(text), "{path}");
    }
    assert_eq!(scene.on_remote("private.yaml"), None);

    // Upstream's change of a file that is the analyst's: still of the group, and the analyst can go on.
    let pushed = scene.others_push(&[("b.yaml", "b: 3\n"), ("new/n.yaml", "n: 2\n")]);
    model.pushed(&pushed);
    office.agent();
    for path in ["b.yaml", "new/n.yaml"] {
        let file = std::fs::metadata(office.clone().join(path)).unwrap();
        assert_eq!((file.gid(), file.mode() & 0o777), (GROUP, 0o664), "{path}");
    }
    office.analyst("grep -q 'b: 3' b.yaml; echo 'b: 4' >> b.yaml; echo 'm: 1' > new/m.yaml; git add new/m.yaml; git commit -q -m 'by hand'");
    model.saw("b.yaml", b"b: 3\nb: 4\n");
    model.saw("new/m.yaml", b"m: 1\n");
    office.agent();
    assert_eq!(scene.on_remote("new/m.yaml").as_deref(), Some("m: 1\n"), "what the analyst committed");
    // The analyst's duplicate key does not parse as data: it waits, and nothing else does.
    office.analyst("printf 'b: 5\\n' > b.yaml");
    model.saw("b.yaml", b"b: 5\n");
    office.agent();
    assert_eq!(scene.on_remote("b.yaml").as_deref(), Some("b: 5\n"));
    // Git of another user distrusts a clone that is not its own.
    ran(Command::new("chown").args(["-R", "0:0"]).arg(office.clone()).output().unwrap());
    model.check(&office.clone(), &scene.remote.bare(), "main");
}
