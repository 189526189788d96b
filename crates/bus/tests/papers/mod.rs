//! Papers to be shown: an operator with its accounts and users, and authorities with the certificates they sign.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Who says which accounts there are.
pub struct Operator {
    own: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

/// A user with its papers.
pub struct User {
    pub jwt: String,
    pub seed: String,
}

/// A claim about `subject`, signed by `issuer`, as nsc writes it.
fn token(issuer: &KeyPair, subject: &KeyPair, name: &str, what: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = part(&json!({
        "jti": name, "iat": 1_700_000_000, "name": name,
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": what,
    }));
    let signed = issuer.sign(format!("{head}.{body}").as_bytes()).unwrap();
    format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode(signed))
}

impl Operator {
    pub fn new() -> Self {
        Self { own: KeyPair::new_operator(), account: KeyPair::new_account(), system: KeyPair::new_account() }
    }

    fn account_token(&self, account: &KeyPair, name: &str, storage: i64) -> String {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        });
        token(&self.own, account, name, json!({ "type": "account", "version": 2, "limits": limits }))
    }

    /// The server's configuration.
    pub fn config(&self) -> String {
        let own = token(&self.own, &self.own, "OPERATOR", json!({ "type": "operator", "version": 2 }));
        let accounts = [(&self.account, "BAFT", -1), (&self.system, "SYS", 0)]
            .map(|(key, name, storage)| format!("{}: {}", key.public_key(), self.account_token(key, name, storage)));
        let system = self.system.public_key();
        format!(
            "operator: {own}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n{}\n}}\n",
            accounts.join("\n")
        )
    }

    /// A new user of the account.
    pub fn user(&self, name: &str) -> User {
        let key = KeyPair::new_user();
        let what = json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
        User { jwt: token(&self.account, &key, name, what), seed: key.seed().unwrap() }
    }
}

/// As nsc writes it.
pub fn creds_file(user: &User) -> String {
    let User { jwt, seed } = user;
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// Signs certificates.
pub struct Authority {
    pub cert: PathBuf,
    key: PathBuf,
    folder: PathBuf,
}

/// A certificate with its key.
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

fn openssl(args: &[&str], paths: &[(&str, &Path)]) {
    let mut command = Command::new("openssl");
    command.args(args);
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    let made = command.output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

const NEW_KEY: [&str; 7] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let (cert, key) = (folder.join(format!("{name}-ca.pem")), folder.join(format!("{name}-ca.key")));
        let subject = format!("/CN={name}");
        let args = [&["req", "-x509", "-subj", &subject], &NEW_KEY[..]].concat();
        openssl(&args, &[("-keyout", &key), ("-out", &cert)]);
        Self { cert, key, folder: folder.to_owned() }
    }

    /// A certificate for whoever the extension names.
    pub fn sign(&self, name: &str, extension: &str) -> Certificate {
        let (cert, key) = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        let subject = format!("/CN={name}");
        let args =
            ["req", "-x509", "-subj", &subject, "-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE"];
        let args = [&args[..], &NEW_KEY].concat();
        openssl(&args, &[("-CA", &self.cert), ("-CAkey", &self.key), ("-keyout", &key), ("-out", &cert)]);
        Certificate { cert, key }
    }
}

impl Certificate {
    /// The block of a server's configuration that shows it.
    pub fn tls(&self, more: &str) -> String {
        format!("tls {{ cert_file: {:?}, key_file: {:?}, {more} }}", self.cert, self.key)
    }
}
