//! docs/tutorial.md is true: its commands are run as they stand there, and print what they print there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod baft;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baft::Machine;
use baft_tests::git::git;
use baft_tests::{Process, bin};

/// A command of the document, with what it prints there.
#[derive(Debug, Default)]
struct Step {
    command: String,
    expected: Vec<String>,
    line: usize,
}

/// Waits, as a reader does without noticing, until commit-agent has looked at the remote for the second time: it does so
/// once when it starts, and, unless they had rested by then, once when the files of its new clone have. What is pushed
/// meanwhile it brings in by itself.
const REST: &str = r#"looked() { set -- $(sed -n 's/^ *"commit-agent": "\(.*\):\([0-9]*\)".*/\1 \2/p' fleet/runtime.json)
  { exec 3<>"/dev/tcp/$1/$2" && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3; } 2>/dev/null \
    | grep --quiet 'cycles_total{result="success",trigger="timer"} [2-9]'; }
for _ in $(seq 40); do looked && break; sleep 0.1; done"#;

/// The commands of all console blocks: `$ ` begins one, `> ` goes on.
fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (number, line) in document.lines().enumerate() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            "<!-- rest -->" => {
                steps.push(Step { command: REST.to_owned(), expected: Vec::new(), line: number + 1 });
            }
            _ if !inside => {}
            _ => {
                if let Some(command) = line.strip_prefix("$ ") {
                    steps.push(Step { command: command.to_owned(), expected: Vec::new(), line: number + 1 });
                } else {
                    let step = steps.last_mut().expect("a block begins with a command");
                    match line.strip_prefix("> ") {
                        Some(more) if step.expected.is_empty() => step.command = format!("{}\n{more}", step.command),
                        _ => step.expected.push(line.to_owned()),
                    }
                }
            }
        }
    }
    steps
}

/// Whether a line is the expected one, in which `…` stands for anything.
fn fits(expected: &str, line: &str) -> bool {
    let parts: Vec<&str> = expected.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return expected == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// A script that says before each command which it is, and after it how it ended.
fn script(steps: &[Step]) -> String {
    let mut text = String::from("exec 2>&1\n");
    for (place, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "echo '@@ {place}'\n{}\necho \"@@ exit $?\"", step.command);
    }
    text
}

/// What the newcomer clones: the real data where it is there, else the sample.
fn forge(machine: &Machine) -> PathBuf {
    let real = std::env::var_os("BAFT_FRAMEWORK_DATA").filter(|path| !path.is_empty()).map(PathBuf::from);
    let source = real.filter(|path| path.join("data").is_dir()).unwrap_or_else(|| {
        eprintln!("the tutorial runs on the sample: set BAFT_FRAMEWORK_DATA to the real data");
        baft_tests::process::workspace().join("examples/sample-framework")
    });
    let (made, forge) = (machine.path("made"), machine.path("forge"));
    copy(&source, &made);
    git(&made, &["init", "-q"]);
    git(&made, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    git(&made, &["add", "-A"]);
    git(&made, &["commit", "-q", "-m", "The framework"]);
    std::fs::create_dir(&forge).unwrap();
    git(&made, &["clone", "-q", "--bare", ".", forge.join("framework.git").to_str().unwrap()]);
    forge
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten().filter(|entry| entry.file_name() != ".git") {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_tutorial_is_a_day_that_works_as_it_is_told() {
    let document = std::fs::read_to_string(baft_tests::process::workspace().join("docs/tutorial.md")).unwrap();
    let steps = steps(&document);
    assert!(steps.len() > 20, "{steps:#?}");
    let machine = Machine::new();
    let forge = forge(&machine);
    let url = "https://github.com/IranTransitionProject/";
    let home = format!(
        "[user]\n\tname = Ann Analyst\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n[url \"{}/\"]\n\tinsteadOf = {url}\n",
        forge.display()
    );
    std::fs::write(machine.path(".gitconfig"), home).unwrap();
    std::fs::write(machine.path("day.sh"), script(&steps)).unwrap();

    // The environment of a person on this machine, for a shell instead of for baft.
    let person = machine.command("baft", &[]);
    let mut shell = std::process::Command::new("bash");
    shell.arg(machine.path("day.sh")).current_dir(machine.path("project"));
    for (name, value) in person.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    for name in ["ANTHROPIC_API_KEY", "OLLAMA_URL"] {
        shell.env_remove(name);
    }
    let programs = bin("baft").parent().unwrap().display().to_string();
    shell.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()));
    shell.env("LC_ALL", "C.UTF-8");
    let mut day = Process::spawn("the tutorial", shell);
    day.wait(Duration::from_secs(180));
    let printed = day.stdout();
    compare(&steps, &printed);
}

fn compare(steps: &[Step], printed: &str) {
    for (place, step) in steps.iter().enumerate() {
        let begin = format!("@@ {place}\n");
        let (_, rest) =
            printed.split_once(&begin).unwrap_or_else(|| panic!("line {} was not run:\n{printed}", step.line));
        let (said, rest) =
            rest.split_once("@@ exit ").unwrap_or_else(|| panic!("line {} did not end:\n{printed}", step.line));
        let code = rest.lines().next().unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let same = lines.len() == step.expected.len()
            && step.expected.iter().zip(&lines).all(|(expected, line)| fits(expected, line));
        assert!(
            same && code == "0",
            "docs/tutorial.md:{}: $ {}\nexit code {code}, it printed:\n{}\n\nthe document says:\n{}\n",
            step.line,
            step.command,
            lines.join("\n"),
            step.expected.join("\n")
        );
    }
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    assert!(fits("a … c …", "a b c d") && fits("same", "same") && fits("…: 1 file", "abc: 1 file"));
    assert!(!fits("a … c", "a b") && !fits("same", "other") && !fits("…ab", "b") && !fits("a…", "b"));
}
