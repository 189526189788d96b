//! `--touch-file` and `--error-file`.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::error::Failure;

/// Creates the file, or makes it new.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    parent(path)?;
    // A new file has the right time already: watchers are told once.
    match std::fs::OpenOptions::new().create_new(true).append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::OpenOptions::new().append(true).open(path)?.set_modified(SystemTime::now())
        }
        created => created.map(drop),
    }
}

/// Writes a failure, in kubernetes/git-sync's format. Best effort: it is for watchers, not for us.
pub(crate) fn write_error(path: Option<&Path>, failure: &Failure) {
    let Some(path) = path else { return };
    let body =
        serde_json::json!({ "Msg": "sync failed", "Err": failure.message, "Args": { "class": failure.label() } });
    let written = parent(path).and_then(|()| baft_kit::durable::write_file(path, format!("{body}\n").as_bytes()));
    if let Err(error) = written {
        tracing::error!(path = %path.display(), %error, "cannot write --error-file");
    }
}

/// Removes what [`write_error`] wrote.
pub(crate) fn clear_error(path: Option<&Path>) {
    let Some(path) = path else { return };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %path.display(), %error, "cannot remove --error-file");
        }
        _ => {}
    }
}

fn parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}
