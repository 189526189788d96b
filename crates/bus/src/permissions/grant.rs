//! What rules are made of: the subjects that announcing, serving, asking and reading need.

use super::{Answers, Role, Rules, User};
use crate::subject::Prefix;

/// Rules in the making.
pub(super) struct Grant<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) rules: Rules,
}

impl Grant<'_> {
    pub(super) fn publish(&mut self, subjects: &[&str]) {
        self.rules.publish.extend(subjects.iter().map(|&subject| subject.to_owned()));
    }

    pub(super) fn inbox(&mut self, subject: &str) {
        self.rules.subscribe.push(subject.to_owned());
    }

    /// What every daemon does: says hello, answers, reports progress, remembers results.
    pub(super) fn daemon(&mut self, name: &str, instance: &str) {
        self.inbox(&format!("_INBOX_{name}.{instance}.>"));
        self.announces_core("daemon.*");
        self.rules.answers = Answers::Yes;
        for subject in ["$SRV.*".to_owned(), format!("$SRV.*.{name}"), format!("$SRV.*.{name}.*")] {
            self.rules.subscribe.push(subject);
        }
        let progress = self.prefix.progress("*");
        self.publish(&[&progress]);
        self.writes_keys("REQUESTS", &format!("{name}.>"));
    }

    pub(super) fn announces_core(&mut self, kind: &str) {
        let subject = self.prefix.event(kind);
        self.publish(&[&subject]);
    }

    pub(super) fn announces(&mut self, kinds: &[&str]) {
        self.announces_in("EVENTS", kinds);
    }

    /// Publishes events, and looks at the last one of its own.
    pub(super) fn announces_in(&mut self, stream: &str, kinds: &[&str]) {
        for kind in kinds {
            let (subject, stream) = (self.prefix.event(kind), self.prefix.upper(stream));
            self.publish(&[&subject, &format!("$JS.API.DIRECT.GET.{stream}.{subject}")]);
        }
    }

    pub(super) fn serves(&mut self, requests: &[&str]) {
        for request in requests {
            self.rules.subscribe.push(self.prefix.request(request));
        }
    }

    pub(super) fn hears(&mut self, kinds: &[&str]) {
        for kind in kinds {
            self.rules.subscribe.push(self.prefix.event(kind));
        }
    }

    pub(super) fn asks(&mut self, requests: &[&str]) {
        for request in requests {
            let subject = self.prefix.request(request);
            self.publish(&[&subject]);
        }
    }

    pub(super) fn reads_stream(&mut self, name: &str) {
        let stream = self.prefix.upper(name);
        self.publish(&[&format!("$JS.API.STREAM.INFO.{stream}"), &format!("$JS.API.DIRECT.GET.{stream}")]);
    }

    /// All of a bucket, and the bell that rings for it.
    pub(super) fn reads_bucket(&mut self, name: &str) {
        let bucket = self.prefix.upper(name);
        for call in ["STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET"] {
            self.publish(&[&format!("$JS.API.{call}.KV_{bucket}")]);
        }
        self.publish(&[&format!("$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.>")]);
        self.rules.subscribe.push(format!("$KV.{bucket}.>"));
    }

    pub(super) fn writes_keys(&mut self, name: &str, keys: &str) {
        let bucket = self.prefix.upper(name);
        self.publish(&[
            &format!("$KV.{bucket}.{keys}"),
            &format!("$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{keys}"),
            // Which write was last, from the leader. The key is in the body, where no rule can look.
            &format!("$JS.API.STREAM.MSG.GET.KV_{bucket}"),
        ]);
    }

    /// What everybody may see: how everything is, what happened, and how far a request is.
    pub(super) fn looks_on(&mut self) {
        self.asks(&["git.status", "import.status", "preflight.status", "commit.*.status", "commit.*.check"]);
        self.asks(&["session.list", "session.get", "session.status", "session.history", "session.sync_check"]);
        self.publish(&["$SRV.PING", "$SRV.INFO", "$SRV.STATS"]);
        for stream in ["EVENTS", "SESSION_EVENTS", "ENTITY_EVENTS"] {
            self.reads_stream(stream);
        }
        let (events, progress) = (self.prefix.event(">"), self.prefix.progress("*"));
        self.rules.subscribe.extend([events, progress]);
    }

    pub(super) fn person(&mut self, user: &User) {
        let me = &user.name;
        match user.role {
            Role::Analyst => {
                self.asks(&[&format!("session.*.as.{me}")]);
                for what in ["run", "pull", "confirm"] {
                    self.asks(&[&format!("commit.*.{what}.as.{me}")]);
                }
            }
            Role::Editor => self.asks(&[&format!("commit.*.apply.as.{me}")]),
            Role::Operator => {
                self.asks(&["session.>", "commit.>", "git.>", "import.>", "preflight.>"]);
                for what in ["CREATE", "UPDATE", "INFO"] {
                    self.publish(&[&format!("$JS.API.STREAM.{what}.*")]);
                }
                let letters = self.prefix.dead_letter("*");
                self.publish(&[&letters]);
                self.rules.subscribe.push(letters);
            }
            _ => {}
        }
    }
}
