//! Who may say and hear what: the rules of each daemon and each role, and the part of nats-server's configuration that enforces them.
//!
//! With them the server decides who acts, and not what a message says: a person's changing requests go to `….as.<themselves>` and nowhere else
//! (start the daemons with `--require-principal`), a daemon announces only what is its own, and nobody hears another's replies. Streams are
//! made by the provisioner alone; no user deletes one.

mod grant;

use crate::server_config::quoted;
use crate::subject::{Prefix, is_token};
use grant::Grant;

/// How long a request may take until its answer is not let through any more.
const LONGEST_REQUEST: &str = "30m";

/// What a user is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The daemon git-sync.
    GitSync,
    /// The commit-agent of this name.
    CommitAgent(String),
    /// The daemon duckdb-importer.
    Importer,
    /// The daemon preflight-probe.
    Probe,
    /// The daemon session-registry.
    Registry,
    /// The daemon mcp-gateway: acts for every principal, after it has authenticated them itself.
    Gateway,
    /// Makes streams and buckets (`baft admin init`), and does nothing else.
    Provisioner,
    /// Asks how everything is.
    Reader,
    /// A reader who has sessions, and commits and pulls, under their own name.
    Analyst,
    /// A program that changes data by request (`apply`) under its own name.
    Editor,
    /// Everything, for anybody.
    Operator,
}

impl std::str::FromStr for Role {
    type Err = BadRole;

    /// Reads `git-sync`, `commit-agent:<name>`, …, `analyst`.
    fn from_str(text: &str) -> Result<Self, BadRole> {
        Ok(match text {
            "git-sync" => Self::GitSync,
            "duckdb-importer" => Self::Importer,
            "preflight-probe" => Self::Probe,
            "session-registry" => Self::Registry,
            "mcp-gateway" => Self::Gateway,
            "provisioner" => Self::Provisioner,
            "reader" => Self::Reader,
            "analyst" => Self::Analyst,
            "editor" => Self::Editor,
            "operator" => Self::Operator,
            other => match other.strip_prefix("commit-agent:") {
                Some(agent) => Self::CommitAgent(agent.to_owned()),
                None => return Err(BadRole(text.to_owned())),
            },
        })
    }
}

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no role: git-sync, commit-agent:<agent>, duckdb-importer, preflight-probe, session-registry, mcp-gateway, provisioner, reader, analyst, editor and operator are"
)]
pub struct BadRole(String);

/// A user of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name; for people and programs also the principal they act as, and the inbox `_INBOX_<name>` their replies come to.
    pub name: String,
    /// What it is.
    pub role: Role,
}

/// A name that cannot be part of a subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be the name of a NATS user or an agent: use 1 to 128 of A-Z a-z 0-9 _ -")]
pub struct BadUser(String);

impl User {
    /// Checks the names.
    ///
    /// # Errors
    /// When one could widen a subject.
    pub fn new(name: &str, role: Role) -> Result<Self, BadUser> {
        let agent = match &role {
            Role::CommitAgent(agent) => agent.as_str(),
            _ => name,
        };
        if let Some(bad) = [name, agent].into_iter().find(|name| !is_token(name)) {
            return Err(BadUser(bad.to_owned()));
        }
        Ok(Self { name: name.to_owned(), role })
    }
}

/// How a user proves who it is.
#[derive(Clone)]
pub enum Proof {
    /// A password, or the bcrypt hash of one.
    Password(String),
    /// A variable of the server's environment that holds the password.
    Variable(String),
    /// The public key of an nkey.
    Nkey(String),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Variable(_) => "Variable",
            Self::Nkey(_) => "Nkey",
        })
    }
}

/// Whether a user answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Answers {
    /// No.
    #[default]
    No,
    /// Yes, each once.
    Yes,
}

/// What one user may do. Everything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub subscribe: Vec<String>,
    /// Whether it may answer what it is asked.
    pub answers: Answers,
}

/// The rules of a user.
#[must_use]
pub fn rules(prefix: &Prefix, user: &User) -> Rules {
    let mut grant = Grant { prefix, rules: Rules::default() };
    grant.publish(&["$JS.API.INFO"]);
    match &user.role {
        Role::GitSync => {
            grant.daemon("git-sync", "*");
            grant.announces(&["git.synced", "git.sync_failed"]);
            grant.serves(&["git.sync", "git.sync.as.*", "git.status"]);
            grant.hears(&["git.pushed"]);
        }
        Role::CommitAgent(agent) => {
            grant.daemon("commit-agent", agent);
            grant.announces(&["git.committed", "git.pushed", "git.conflict", "git.held"]);
            for what in ["run", "apply", "pull", "confirm", "release"] {
                grant.serves(&[&format!("commit.{agent}.{what}"), &format!("commit.{agent}.{what}.as.*")]);
            }
            grant.serves(&[&format!("commit.{agent}.check"), &format!("commit.{agent}.status")]);
            grant.hears(&["git.synced", "session.ended"]);
            grant.reads_bucket("SESSIONS");
        }
        Role::Importer => {
            grant.daemon("duckdb-importer", "*");
            grant.announces(&["import.*"]);
            grant.announces_in("ENTITY_EVENTS", &["entity.*"]);
            grant.serves(&["import.run", "import.run.as.*", "import.status"]);
            grant.hears(&["git.synced"]);
        }
        Role::Probe => {
            grant.daemon("preflight-probe", "*");
            grant.announces(&["preflight.changed"]);
            grant.serves(&["preflight.run", "preflight.status"]);
            grant.asks(&["git.status", "import.status", "session.list", "commit.*.check", "commit.*.status"]);
            grant.publish(&["$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.LIST.*"]);
            grant.publish(&["$SRV.PING", "$SRV.INFO", "$SRV.STATS"]);
            // Its canary: a key of one word that nobody else uses.
            grant.writes_keys("REQUESTS", "*");
        }
        Role::Registry => {
            grant.daemon("session-registry", "*");
            grant.announces_in("SESSION_EVENTS", &["session.*"]);
            grant.reads_stream("SESSION_EVENTS");
            // For its status page.
            grant.reads_stream("EVENTS");
            for what in ["start", "heartbeat", "end", "sync"] {
                grant.serves(&[&format!("session.{what}"), &format!("session.{what}.as.*")]);
            }
            grant.serves(&["session.list", "session.get", "session.status", "session.sync_check", "session.history"]);
            grant.hears(&["git.*", "import.*", "preflight.*", "daemon.*", "session.*"]);
            for what in ["commit.*.run", "commit.*.pull", "git.sync", "import.run"] {
                grant.asks(&[what, &format!("{what}.as.*")]);
            }
            grant.asks(&["commit.*.check", "commit.*.status", "git.status", "import.status"]);
            grant.asks(&["preflight.run", "preflight.status"]);
            grant.reads_bucket("SESSIONS");
            grant.writes_keys("SESSIONS", ">");
        }
        Role::Gateway => {
            grant.inbox("_INBOX_mcp-gateway.>");
            grant.announces_core("daemon.*");
            grant.looks_on();
            for what in ["session.start", "session.heartbeat", "session.end", "session.sync", "import.run", "git.sync"]
            {
                grant.asks(&[&format!("{what}.as.*")]);
            }
            for what in ["run", "apply", "pull", "confirm"] {
                grant.asks(&[&format!("commit.*.{what}.as.*")]);
            }
            grant.asks(&["preflight.run"]);
        }
        Role::Provisioner => {
            grant.inbox(&format!("_INBOX_{}.>", user.name));
            for what in ["CREATE", "UPDATE", "INFO"] {
                grant.publish(&[&format!("$JS.API.STREAM.{what}.*")]);
            }
        }
        Role::Reader | Role::Analyst | Role::Editor | Role::Operator => {
            grant.inbox(&format!("_INBOX_{}.>", user.name));
            grant.looks_on();
            grant.person(user);
        }
    }
    grant.rules
}

/// The `authorization` part of nats-server's configuration for these users. Pure: writes nothing. With passwords in it, write it with mode 0600.
#[must_use]
pub fn authorization(prefix: &Prefix, users: &[(User, Proof)]) -> String {
    let mut text = String::from("# Written by Baft from its table of permissions.\nauthorization {\n  users = [\n");
    for (user, proof) in users {
        let rules = rules(prefix, user);
        let who = match proof {
            Proof::Password(password) => format!("user: {}\n      password: {}", quoted(&user.name), quoted(password)),
            Proof::Variable(name) => format!("user: {}\n      password: ${name}", quoted(&user.name)),
            Proof::Nkey(key) => format!("# {}\n      nkey: {}", user.name, quoted(key)),
        };
        text += &format!("    {{\n      {who}\n      permissions {{\n");
        text += &format!("        publish {{ allow: [{}] }}\n", list(&rules.publish));
        text += &format!("        subscribe {{ allow: [{}] }}\n", list(&rules.subscribe));
        if rules.answers == Answers::Yes {
            text += &format!("        allow_responses {{ max: 1, expires: \"{LONGEST_REQUEST}\" }}\n");
        }
        text += "      }\n    }\n";
    }
    text + "  ]\n}\n"
}

fn list(subjects: &[String]) -> String {
    let mut sorted: Vec<String> = subjects.iter().map(|subject| quoted(subject)).collect();
    sorted.sort();
    sorted.dedup();
    sorted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_widens_a_rule() {
        for bad in ["", "*", ">", "a.b", "ann bob", "a\"b"] {
            assert!(User::new(bad, Role::Analyst).is_err(), "{bad:?}");
            assert!(User::new("desk", Role::CommitAgent(bad.to_owned())).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn another_prefix_is_another_fleet() {
        let prefix: Prefix = "team-a".parse().unwrap();
        let rules = rules(&prefix, &User::new("ann", Role::Operator).unwrap());
        for subject in rules.publish.iter().chain(&rules.subscribe) {
            let ours = subject.starts_with("team-a.") || subject.starts_with('$') || subject.starts_with("_INBOX_ann.");
            assert!(ours, "{subject}");
        }
    }

    #[test]
    fn a_proof_is_not_shown_by_accident_and_cannot_break_out_of_the_text() {
        let proof = Proof::Password("a\"b } hunter2".to_owned());
        assert!(!format!("{proof:?}").contains("hunter2"));
        let text = authorization(&Prefix::default(), &[(User::new("ann", Role::Reader).unwrap(), proof)]);
        assert!(text.contains(r#"password: "a\"b } hunter2""#), "{text}");
    }
}
