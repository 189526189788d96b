//! Values that must not be printed, and the files they come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A password, token or key. Prints as `***` whatever asks; [`Secret::expose`] is the only way in, and the memory is
/// overwritten when the value goes (best effort: copies made by others are theirs to mind).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into().into_bytes())
    }

    /// The value itself. Pass it on at once; never log or store it.
    #[must_use]
    pub fn expose(&self) -> &str {
        // Constructed from a `String` and never changed until dropped.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the optimiser from dropping the writes to memory nobody reads again.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(value))
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or not readable.
    #[error("cannot read the secret file {path}: {source}; check that it is mounted and readable by this user", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is empty, or larger than any secret.
    #[error("the secret file {path} {problem}; it must hold one secret", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A file that holds one secret. It is read again on every use, so that a rotated secret needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
}

impl SecretFile {
    /// More than this is not a secret but a wrong path.
    const MAX_BYTES: usize = 64 * 1024;

    /// Names the file; nothing is read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the secret as it is now; newlines at the end are no part of it.
    ///
    /// # Errors
    /// The file cannot be read, is empty, is not text, or is larger than 64 KiB.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let wrong = |problem| SecretError::Content { path: self.path.clone(), problem };
        let bytes = self.bytes().map_err(|source| SecretError::Read { path: self.path.clone(), source })?;
        // Held as a secret from here on: whatever happens, the buffer is overwritten.
        let mut raw = Secret(bytes);
        if raw.0.len() > Self::MAX_BYTES {
            return Err(wrong("is larger than 64 KiB"));
        }
        while matches!(raw.0.last(), Some(b'\n' | b'\r')) {
            raw.0.pop();
        }
        if raw.0.is_empty() {
            return Err(wrong("is empty"));
        }
        if std::str::from_utf8(&raw.0).is_err() {
            return Err(wrong("is not UTF-8 text"));
        }
        Ok(raw)
    }

    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        // The full capacity at once: a buffer that grows leaves copies behind.
        let mut bytes = Vec::with_capacity(Self::MAX_BYTES + 2);
        let file = std::fs::File::open(&self.path)?;
        file.take(Self::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl FromStr for SecretFile {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(value))
    }
}

impl From<PathBuf> for SecretFile {
    fn from(path: PathBuf) -> Self {
        Self { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let secret = Secret::new("hunter2");
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(format!("{secret} {secret:?} {json}"), "*** *** \"***\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_rotated_file_is_seen_on_the_next_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = SecretFile::new(dir.path().join("token"));
        std::fs::write(file.path(), "first\n").unwrap();
        assert_eq!(file.read().unwrap().expose(), "first");
        std::fs::write(file.path(), "second\r\n\n").unwrap();
        assert_eq!(file.read().unwrap().expose(), "second");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = SecretFile::new(dir.path().join("token"));
        assert!(file.read().unwrap_err().to_string().contains("token"));
        for content in [&b"\n"[..], b"\xff\xfe", &[b'a'; SecretFile::MAX_BYTES + 1]] {
            std::fs::write(file.path(), content).unwrap();
            let message = file.read().unwrap_err().to_string();
            assert!(message.contains("token") && message.contains("must hold one secret"), "{message}");
        }
    }
}
