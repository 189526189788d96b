//! Answering libgit2 when a remote asks who we are.
//!
//! libgit2 calls the credential callback again until the *callback* gives up: endlessly over SSH, fifteen times over HTTP. So everything we
//! have is offered once, in order, and then the callback fails.

use git2::{Cred, CredentialType, ErrorClass, ErrorCode};

use super::url::{self, Address};
use super::{Credentials, Login, Password, SshAgent};

/// The state of one conversation.
pub(super) struct Offers {
    credentials: Credentials,
    address: Address,
    named: bool,
    next_key: usize,
    agent_asked: bool,
    login_offered: bool,
    password_offered: bool,
    /// Why nothing (more) was offered; for the message.
    problem: Option<String>,
}

impl Offers {
    pub(super) fn new(credentials: Credentials, address: Address) -> Self {
        Self {
            credentials,
            address,
            named: false,
            next_key: 0,
            agent_asked: false,
            login_offered: false,
            password_offered: false,
            problem: None,
        }
    }

    /// What to say to the question libgit2 asks.
    pub(super) fn answer(
        &mut self,
        url: &str,
        user: Option<&str>,
        allowed: CredentialType,
    ) -> Result<Cred, git2::Error> {
        let asked_by = url::parse(url).ok();
        if asked_by.as_ref().is_none_or(|by| (&by.host, by.scheme) != (&self.address.host, self.address.scheme)) {
            return Err(self.refuse(format!("redirected to another server, {}", baft_kit::log::redact_url(url))));
        }
        let user = user.map(str::to_owned).or_else(|| self.credentials.username.clone());
        if allowed.contains(CredentialType::USERNAME) {
            if std::mem::replace(&mut self.named, true) {
                return Err(self.refuse("the server does not accept the user name".to_owned()));
            }
            return Cred::username(user.as_deref().unwrap_or("git"));
        }
        if allowed.contains(CredentialType::SSH_KEY)
            && let Some(cred) = self.ssh_key(user.as_deref().unwrap_or("git"))
        {
            return cred;
        }
        if allowed.contains(CredentialType::USER_PASS_PLAINTEXT)
            && let Some(cred) = self.password(user)
        {
            return cred;
        }
        let problem = self.problem.clone().unwrap_or_else(|| self.nothing_left());
        Err(self.refuse(problem))
    }

    fn ssh_key(&mut self, user: &str) -> Option<Result<Cred, git2::Error>> {
        if let Some(path) = self.credentials.ssh_keys.get(self.next_key) {
            self.next_key += 1;
            // From memory: libssh2 then needs no `.pub` beside it and no particular file mode.
            return Some(match std::fs::read_to_string(path) {
                Ok(key) => Cred::ssh_key_from_memory(user, None, &key, None),
                Err(error) => {
                    let problem = format!("cannot read the SSH key {}: {error}", path.display());
                    Err(self.refuse(problem))
                }
            });
        }
        let agent = self.credentials.ssh_agent == SshAgent::Use && std::env::var_os("SSH_AUTH_SOCK").is_some();
        (agent && !std::mem::replace(&mut self.agent_asked, true)).then(|| Cred::ssh_key_from_agent(user))
    }

    fn password(&mut self, user: Option<String>) -> Option<Result<Cred, git2::Error>> {
        Some(match self.next_login(user)? {
            Ok(login) => Cred::userpass_plaintext(&login.username, login.password.expose()),
            Err(problem) => Err(self.refuse(problem)),
        })
    }

    /// The next user name and password to show, read or made now; nothing when all were shown.
    pub(super) fn next_login(&mut self, user: Option<String>) -> Option<Result<Login, String>> {
        if let Some(source) = self.credentials.login.clone()
            && !std::mem::replace(&mut self.login_offered, true)
        {
            return Some(source.login());
        }
        let password = self.credentials.password.clone()?;
        if std::mem::replace(&mut self.password_offered, true) {
            return None;
        }
        let secret = match password {
            Password::Value(secret) => Ok(secret),
            Password::File(file) => file.read().map_err(|error| error.to_string()),
        };
        // Hosts that take tokens do not care about the name, but it must not be empty.
        let username = user.or_else(|| self.credentials.username.clone()).unwrap_or_else(|| "git".to_owned());
        Some(secret.map(|password| Login { username, password }))
    }

    /// Why there is nothing (more) to show.
    pub(super) fn nothing_left(&self) -> String {
        let offered = self.next_key > 0 || self.login_offered || self.password_offered || self.agent_asked;
        let message = if offered {
            "the server refused our credentials"
        } else {
            "the server wants credentials and none are configured"
        };
        message.to_owned()
    }

    fn refuse(&mut self, problem: String) -> git2::Error {
        let error = git2::Error::new(ErrorCode::Auth, ErrorClass::Callback, &problem);
        self.problem = Some(problem);
        error
    }
}
