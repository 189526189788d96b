//! What to try once the fleet runs.

use std::path::Path;

use super::plan::Origin;
use crate::database::Database;
use crate::workspace::{Surroundings, Workspace};

/// The lines, from what is in the database and where the data comes from.
#[must_use]
pub fn lines(
    origin: &Origin,
    editing: Option<&Path>,
    workspace: &Workspace,
    around: &Surroundings,
    with_nats: bool,
) -> Vec<String> {
    let baft = program(workspace, around);
    let id = example(workspace).unwrap_or_else(|| "water".to_owned());
    let mut lines = vec![
        "Try, in another terminal:".to_owned(),
        format!("  {baft} search {}", quoted(&id)),
        format!("  {baft} query 'SELECT type, count(*) FROM entities GROUP BY ALL ORDER BY 2 DESC'"),
        format!("  {baft} query 'SELECT path, line, message FROM _errors'"),
    ];
    if with_nats {
        lines.push(format!("  {baft} events --follow"));
    }
    lines.push("Change something and see it arrive:".to_owned());
    match (editing, origin) {
        (Some(clone), origin) => {
            let clone = shown(clone, around);
            if *origin == Origin::Sample {
                lines.push(format!("  sed -i 's/priority: 7/priority: 2/' {clone}/data/gaps.yaml"));
                lines.push(format!(
                    "  {baft} query \"SELECT id, schema_valid, commit_oid FROM entities WHERE id = 'G14-01'\""
                ));
                if with_nats {
                    lines.push(format!("  {baft} entity set gaps G14-01 priority=3"));
                }
            } else {
                lines.push(format!("  edit a file in {clone} and save it"));
            }
            if with_nats {
                lines.push(format!("  {baft} commit status"));
            }
            lines.push("What you save is committed and pushed two seconds after the last save.".to_owned());
            lines.push(format!("The working clone: {clone}"));
        }
        (None, Origin::Folder(folder)) => {
            let folder = shown(folder, around);
            lines.push(format!("  edit a file in {folder}, then: git -C {folder} commit -a"));
        }
        (None, Origin::Remote | Origin::Sample) => lines.push("  push a commit to the repository".to_owned()),
        (None, Origin::Clone(folder)) => lines.push(format!("  edit a file in {} and save it", shown(folder, around))),
    }
    lines.push(format!("The database: {}", shown(&workspace.database(), around)));
    lines
}

/// How this program is called from where the person is.
fn program(workspace: &Workspace, around: &Surroundings) -> String {
    let this = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("baft").canonicalize().ok() == this && this.is_some())
    });
    let name = match &this {
        Some(this) if !on_path => shown(this, around),
        _ => "baft".to_owned(),
    };
    // Named only where it would not be found by itself.
    let found = around.workspace(None).is_ok_and(|found| same(found.root(), workspace.root()));
    if found { name } else { format!("{name} --workspace {}", shown(workspace.root(), around)) }
}

fn same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// Relative to where the person is, when it is below.
fn shown(path: &Path, around: &Surroundings) -> String {
    let below = path.strip_prefix(&around.current).ok().filter(|rest| !rest.as_os_str().is_empty());
    quoted(&below.unwrap_or(path).display().to_string())
}

/// Quoted for a shell where it must be.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ':' | '@');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// An id that is there.
fn example(workspace: &Workspace) -> Option<String> {
    let database = Database::open(workspace).ok()?;
    let sql = "SELECT id FROM entities ORDER BY regexp_matches(id, '^[A-Z]+[0-9]*-[0-9]+$') DESC, rowid LIMIT 1";
    database.connection().query_row(sql, [], |row| row.get(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("/a/b-c_1.d"), "/a/b-c_1.d");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted(""), "''");
        let around = Surroundings { current: "/home/me/project".into(), ..Surroundings::default() };
        assert_eq!(shown(Path::new("/home/me/project/.baft/sample"), &around), ".baft/sample");
        assert_eq!(shown(Path::new("/srv/my data"), &around), "'/srv/my data'");
    }
}
