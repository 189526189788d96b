//! Names that editors, tools and operating systems give to what they leave behind.

/// Folders that hold nothing a person wrote.
const FOLDERS: [&str; 14] = [
    "__pycache__",
    ".ipynb_checkpoints",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".venv",
    "node_modules",
    "lost+found",
    ".stfolder",
    ".stversions",
    ".Spotlight-V100",
    ".Trashes",
    ".fseventsd",
    ".cache",
];

/// What a path is, if its name says that it is junk.
pub(super) fn kind_of(path: &str) -> Option<&'static str> {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folders.split('/').any(|folder| FOLDERS.contains(&folder) || folder.starts_with(".Trash-")) {
        return Some("it lies in a folder for caches and the like");
    }
    if folders.split('/').chain([name]).any(|part| part.starts_with(baft_repo::live::OWN_PREFIX)) {
        return Some("it is a temporary file of this program");
    }
    let lower = name.to_ascii_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| lower.ends_with(suffix));
    if starts(&[".#", ".~lock.", "~$"]) {
        return Some("it is an editor's lock file");
    }
    if ends(&["~", ".swp", ".swo", ".swx", ".kate-swp", "___jb_tmp___", "___jb_old___"])
        || name == "4913"
        || name.len() > 2 && name.starts_with('#') && name.ends_with('#')
        || is_of_sed(name)
    {
        return Some("it is an editor's temporary or backup file");
    }
    if ends(&[".bak", ".orig", ".rej"]) {
        return Some("it is a backup copy");
    }
    if starts(&[".tmp", ".nfs0", ".fuse_hidden", ".goutputstream-", ".syncthing.", ".~"])
        || ends(&[".tmp", ".temp", ".part", ".crdownload", ".partial"])
    {
        return Some("it is a temporary file");
    }
    if ends(&[".pyc", ".pyo"]) || starts(&["._", ".AppleDouble"]) {
        return Some("it is a file that programs make by themselves");
    }
    if [".ds_store", "thumbs.db", "desktop.ini", ".directory", ".localized"].contains(&lower.as_str()) {
        return Some("it is a file of the desktop, not of the repository");
    }
    if name.contains(".sync-conflict-") || lower.contains("conflicted copy") {
        return Some("it is a conflict copy that a synchronising program made");
    }
    None
}

/// `sed -i` writes to `sed` and six random characters.
fn is_of_sed(name: &str) -> bool {
    name.strip_prefix("sed").is_some_and(|rest| {
        rest.len() == 6
            && rest.bytes().all(|b| b.is_ascii_alphanumeric())
            && rest.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_tools_leave_behind_is_junk() {
        for path in [
            "data/.#gaps.yaml",
            "data/gaps.yaml~",
            "data/.gaps.yaml.swp",
            "data/4913",
            "data/#gaps.yaml#",
            "data/.~lock.table.ods#",
            "~$report.docx",
            "data/gaps.yaml.tmp",
            ".tmpA1b2C3",
            ".baft-tmp-01",
            "data/.baft-x/file",
            "tools/__pycache__/a.cpython-312.pyc",
            ".DS_Store",
            "data/Thumbs.db",
            "._gaps.yaml",
            "sedA1b2C3",
            "data/gaps.yaml.bak",
            "data/gaps.yaml.orig",
            "gaps.sync-conflict-20260301-101010-ABCDEFG.yaml",
            "gaps (Ali's conflicted copy 2026-03-01).yaml",
            "node_modules/x/index.js",
            "data/.nfs000000000001",
            "data/.goutputstream-AB12CD",
        ] {
            assert!(kind_of(path).is_some(), "{path}");
        }
    }

    #[test]
    fn ordinary_names_are_not() {
        for path in [
            "data/gaps.yaml",
            ".gitignore",
            ".gitkeep",
            ".github/workflows/ci.yml",
            "sedentary",
            "sediment",
            "docs/template.md",
            "docs/temporary.md",
            "partial/part.yaml",
            "notes/#1.md",
            "baft-import.toml",
            "data/نامه.yaml",
            ".editorconfig",
            "data/tmp.yaml",
        ] {
            assert_eq!(kind_of(path), None, "{path}");
        }
    }
}
