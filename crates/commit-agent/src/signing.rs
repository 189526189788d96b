//! Signing commits with a mounted SSH key, in the form `git verify-commit` checks (`gpg.format=ssh`).

use baft_kit::SecretFile;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use crate::engine::Signer;

/// What git calls the signatures of commits.
const NAMESPACE: &str = "git";

/// Signs with a private key in OpenSSH's format. The file is read on every use, so a rotated key is picked up.
#[derive(Debug)]
pub struct SshSigner {
    file: SecretFile,
}

impl SshSigner {
    /// Checks that the key can sign.
    ///
    /// # Errors
    /// What is allowed instead, in a few words.
    pub fn open(file: SecretFile) -> Result<Self, String> {
        let signer = Self { file };
        signer.sign(b"").map(|_| signer)
    }

    fn key(&self) -> Result<PrivateKey, String> {
        let text = self.file.read().map_err(|error| format!("a file that can be read ({error})"))?;
        let wrong =
            |error: ssh_key::Error| format!("an SSH private key in OpenSSH's format, Ed25519 or ECDSA ({error})");
        // Editors and mounts lose the line break at the end, which the format wants.
        let key = PrivateKey::from_openssh(format!("{}\n", text.expose().trim_end())).map_err(wrong)?;
        match key.is_encrypted() {
            true => Err("a key without a passphrase: nobody is there to type it".to_owned()),
            false => Ok(key),
        }
    }
}

impl Signer for SshSigner {
    fn sign(&self, commit: &[u8]) -> Result<String, String> {
        let key = self.key()?;
        let signature = key.sign(NAMESPACE, HashAlg::Sha512, commit).map_err(|error| {
            format!("a key that can sign: Ed25519, or ECDSA with P-256 ({} cannot: {error})", key.algorithm())
        })?;
        signature.to_pem(LineEnding::LF).map_err(|error| format!("a key whose signature can be written ({error})"))
    }
}
