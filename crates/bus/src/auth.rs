//! Credentials, read from their files again at every (re)connect, so that rotating them needs no restart.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Auth;
use baft_kit::{Secret, SecretFile};

use crate::args::NatsArgs;
use crate::error::BusError;

/// Where the user's credentials come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Anonymous,
    /// From the URL; async-nats parses that part of a URL and then ignores it.
    Url {
        user: Secret,
        password: Option<Secret>,
    },
    Password {
        user: String,
        file: SecretFile,
    },
    Token(SecretFile),
    Nkey(SecretFile),
    Creds(SecretFile),
}

/// Why the last attempt to read the credentials failed; shown when the link stays down.
pub(crate) type LastFailure = Arc<Mutex<Option<String>>>;

impl Source {
    /// Chooses the source; more than one is a contradiction.
    pub(crate) fn from_args(args: &NatsArgs, url_user: Option<(Secret, Option<Secret>)>) -> Result<Self, BusError> {
        let user = match (&args.nats_user, &args.nats_password_file) {
            (Some(user), Some(file)) => {
                Some(Self::Password { user: user.clone(), file: SecretFile::new(file.clone()) })
            }
            (None, None) => None,
            _ => {
                return Err(BusError::Config(
                    "--nats-user and --nats-password-file belong together: give both or neither".to_owned(),
                ));
            }
        };
        let file = |path: &Option<PathBuf>| path.clone().map(SecretFile::new);
        let candidates = [
            ("--nats-creds-file", file(&args.nats_creds_file).map(Self::Creds)),
            ("--nats-nkey-file", file(&args.nats_nkey_file).map(Self::Nkey)),
            ("--nats-user", user),
            ("--nats-token-file", file(&args.nats_token_file).map(Self::Token)),
        ];
        let mut given = candidates.into_iter().filter_map(|(flag, source)| source.map(|source| (flag, source)));
        match (given.next(), given.next()) {
            (None, _) => Ok(url_user.map_or(Self::Anonymous, |(user, password)| Self::Url { user, password })),
            (Some((_, source)), None) => Ok(source),
            (Some((first, _)), Some((second, _))) => Err(BusError::Config(format!(
                "{first} and {second} contradict each other: give one kind of NATS credentials"
            ))),
        }
    }

    /// The files that must be readable, to be checked at start.
    fn file(&self) -> Option<&SecretFile> {
        match self {
            Self::Anonymous | Self::Url { .. } => None,
            Self::Password { file, .. } | Self::Token(file) | Self::Nkey(file) | Self::Creds(file) => Some(file),
        }
    }

    /// Reads the files and signs the server's nonce.
    pub(crate) fn answer(&self, nonce: &[u8]) -> Result<Auth, BusError> {
        let mut auth = Auth::new();
        match self {
            Self::Anonymous => {}
            Self::Url { user, password } => match password {
                Some(password) => {
                    auth.username = Some(user.expose().to_owned());
                    auth.password = Some(password.expose().to_owned());
                }
                // The URL convention of all NATS clients: a lone user is a token.
                None => auth.token = Some(user.expose().to_owned()),
            },
            Self::Password { user, file } => {
                auth.username = Some(user.clone());
                auth.password = Some(read(file)?.expose().to_owned());
            }
            Self::Token(file) => auth.token = Some(read(file)?.expose().to_owned()),
            Self::Nkey(file) => {
                let secret = read(file)?;
                // An nkey file may carry comments, as `nsc` writes them.
                let seed = secret
                    .expose()
                    .lines()
                    .map(str::trim)
                    .find(|line| line.starts_with("SU"))
                    .ok_or_else(|| unusable(file, "it holds no user seed (a line that starts with SU)"))?;
                let pair = nkeys::KeyPair::from_seed(seed).map_err(|error| unusable(file, error))?;
                auth.signature = Some(pair.sign(nonce).map_err(|error| unusable(file, error))?);
                auth.nkey = Some(pair.public_key());
            }
            Self::Creds(file) => {
                let secret = read(file)?;
                let (jwt, seed) = parse_creds(secret.expose()).ok_or_else(|| {
                    unusable(file, "it is no NATS credentials file (a JWT and a seed between dashes)")
                })?;
                let pair = nkeys::KeyPair::from_seed(seed).map_err(|error| unusable(file, error))?;
                auth.signature = Some(pair.sign(nonce).map_err(|error| unusable(file, error))?);
                auth.jwt = Some(jwt.to_owned());
            }
        }
        Ok(auth)
    }

    /// Fails early, by name, when a file is missing or not what it should be.
    pub(crate) fn check(&self) -> Result<(), BusError> {
        if self.file().is_some() {
            self.answer(b"check").map(drop)?;
        }
        Ok(())
    }
}

fn read(file: &SecretFile) -> Result<Secret, BusError> {
    file.read().map_err(|error| BusError::Config(error.to_string()))
}

fn unusable(file: &SecretFile, reason: impl std::fmt::Display) -> BusError {
    BusError::Credentials { path: file.path().to_owned(), reason: reason.to_string() }
}

/// The JWT and the seed: the lines that follow the first two dashed headers.
fn parse_creds(text: &str) -> Option<(&str, &str)> {
    let mut lines = text.lines().map(str::trim);
    let mut block = || {
        lines.find(|line| line.starts_with("---"))?;
        let value = lines.find(|line| !line.is_empty())?;
        lines.find(|line| line.starts_with("---"))?;
        Some(value)
    };
    let jwt = block()?;
    let seed = block()?;
    (seed.starts_with("SU")).then_some((jwt, seed))
}

pub(crate) fn remember(failure: &LastFailure, error: Option<String>) {
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = error;
}

pub(crate) fn take(failure: &LastFailure) -> Option<String> {
    failure.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_is_read_as_nsc_writes_it() {
        let pair = nkeys::KeyPair::new_user();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.abc\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\nNKEY Seed printed below.\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            pair.seed().unwrap()
        );
        assert_eq!(parse_creds(&text), Some(("eyJ0.abc", pair.seed().unwrap().as_str())));
        assert_eq!(parse_creds("-----BEGIN NATS USER JWT-----\neyJ0.abc\n"), None);
        assert_eq!(parse_creds(""), None);
    }

    #[test]
    fn two_kinds_of_credentials_contradict_each_other() {
        let args = NatsArgs {
            nats_token_file: Some("a".into()),
            nats_nkey_file: Some("b".into()),
            ..NatsArgs::for_url("nats://x")
        };
        let message = Source::from_args(&args, None).unwrap_err().to_string();
        assert!(message.contains("--nats-nkey-file") && message.contains("--nats-token-file"), "{message}");
        let args = NatsArgs { nats_user: Some("a".into()), ..NatsArgs::for_url("nats://x") };
        assert!(Source::from_args(&args, None).unwrap_err().to_string().contains("--nats-password-file"));
    }

    #[test]
    fn a_rotated_password_is_used_at_the_next_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "one\n").unwrap();
        let source = Source::Password { user: "u".into(), file: SecretFile::new(&path) };
        assert_eq!(source.answer(b"").unwrap().password.as_deref(), Some("one"));
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(source.answer(b"").unwrap().password.as_deref(), Some("two"));
        std::fs::remove_file(&path).unwrap();
        assert!(source.check().unwrap_err().to_string().contains("password"));
    }
}
