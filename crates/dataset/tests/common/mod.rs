//! Finding Python and the data to compare with.

#![allow(dead_code, clippy::print_stderr)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A Python that has PyYAML: `BAFT_PYTHON`, the workspace's own, or the system's. Says why not.
pub fn python_with_yaml() -> Option<PathBuf> {
    let given = std::env::var_os("BAFT_PYTHON").filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = workspace().join(".tools/venv/bin/python");
    let found = given.into_iter().chain([own, PathBuf::from("python3")]).find(|python| {
        Command::new(python)
            .args(["-c", "import yaml"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("skipped: no Python with PyYAML; set BAFT_PYTHON or run make tools");
    }
    found
}

/// What PyYAML makes of texts, by the golden script.
pub fn yaml_values(python: &Path, cases: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let mut corpus = tempfile::NamedTempFile::new().unwrap();
    for case in cases {
        writeln!(corpus, "{case}").unwrap();
    }
    corpus.flush().unwrap();
    run(python, "yaml_values.py", corpus.path())
}

/// The rows the reference importer would write, and last a summary, by the golden script.
pub fn reference_rows(python: &Path, repository: &Path) -> Vec<serde_json::Value> {
    run(python, "reference_rows.py", repository)
}

fn run(python: &Path, script: &str, argument: &Path) -> Vec<serde_json::Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(script);
    let output = Command::new(python).arg(script).arg(argument).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The real framework data, if it is there: `BAFT_FRAMEWORK_DATA` or beside the workspace.
pub fn framework() -> Option<PathBuf> {
    let given = std::env::var_os("BAFT_FRAMEWORK_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = given.unwrap_or_else(|| workspace().join("../shared/data/framework"));
    if path.join("data").is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no framework data at {}; set BAFT_FRAMEWORK_DATA", path.display());
    None
}

/// All files of a folder with their paths from it, sorted.
pub fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut files_found = Vec::new();
    walk(root, root, &mut files_found);
    files_found.sort();
    files_found
}
