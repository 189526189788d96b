//! Passwords, tokens and keys, by what they look like.
//!
//! What a service gives a recognisable form is found by that form. Everything else is found by
//! standing behind a word like `password` and looking random. Only what is new counts: a secret that
//! is committed already is out, and a false alarm that a person released must not come back with
//! every later edit. No message holds any part of what was found.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use regex::bytes::{Regex, RegexSet};

/// What is looked for, and what it is called. The whole match, or its first group, is the secret.
const FORMS: [(&str, &str); 27] = [
    ("an AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}\b"),
    ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
    ("a GitHub token", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
    ("a GitLab token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("a Slack token", r"\bxapp-[0-9]-[A-Z0-9]{8,}-[0-9]{8,}-[a-f0-9]{32,}"),
    ("a Slack webhook", r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,}"),
    ("a Google API key", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    ("a Google client secret", r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    (
        "a private key",
        concat!(
            r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----",
            r#"(?:\s|\\[nr]|["'|>+,]|(?:Proc-Type|DEK-Info|Comment|Version|Charset|Hash): [^\n\\]{0,100})*[A-Za-z0-9+/]{40,}"#
        ),
    ),
    ("a private key", r"PuTTY-User-Key-File-[0-9]"),
    ("a private key", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
    ("a NATS seed", r"\bS[ACNOUX][A-Z2-7]{56}\b"),
    ("a JSON web token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}"),
    ("an Anthropic key", r"\bsk-ant-[a-z0-9]{2,10}-[A-Za-z0-9_-]{32,}"),
    ("an OpenAI key", r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}|\bsk-[A-Za-z0-9]{48}\b"),
    ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{34}\b"),
    ("a Stripe key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a PyPI token", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ("a crates.io token", r"\bcio[A-Za-z0-9]{32}\b"),
    ("a SendGrid key", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b"),
    ("a Telegram token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    ("a DigitalOcean token", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    ("a Docker Hub token", r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}"),
    ("an Azure storage key", r"(?i)\bAccountKey=([A-Za-z0-9+/]{86}==)"),
    ("a password in an address", r#"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'<>`]{1,64}:([^\s/@"'<>`]{4,})@[A-Za-z0-9\[]"#),
];

/// A word for a secret, and a value behind it.
const NAMED: &str = concat!(
    r#"(?i)(passwords?|passwd|passphrase|pwd|secrets?|tokens?|api[_-]?keys?|access[_-]?keys?|auth[_-]?keys?|"#,
    r#"private[_-]?keys?|client[_-]?secret|credentials?)["']?[ \t]*(?::=|=>|[:=])[ \t]*["']?([^\s"',;#]{8,256})"#
);

/// Files that are secrets by name.
const NAMES: [&str; 12] = [
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".pgpass",
    ".htpasswd",
    ".env",
    ".env.local",
    ".env.production",
];
const EXTENSIONS: [&str; 6] = [".p12", ".pfx", ".kdbx", ".jks", ".keystore", ".ppk"];

/// A person's word on the line that this is none, as other scanners know it.
const ALLOWED: [&str; 3] = ["gitleaks:allow", "pragma: allowlist secret", "baft:allow"];

struct Patterns {
    set: RegexSet,
    /// Made when the set has found something, which is rare.
    each: [OnceLock<Option<Regex>>; FORMS.len()],
    named: Regex,
}

/// Together they take a megabyte, so they are dropped when there is nothing to do.
static PATTERNS: Mutex<Option<Arc<Patterns>>> = Mutex::new(None);

impl Patterns {
    /// The expressions are constants and a test compiles each, so none is missing.
    fn get() -> Option<Arc<Self>> {
        let mut kept = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = Some(Arc::new(Self {
                set: RegexSet::new(FORMS.iter().map(|(_, form)| in_bytes(form))).ok()?,
                each: std::array::from_fn(|_| OnceLock::new()),
                named: Regex::new(&in_bytes(NAMED)).ok()?,
            }));
        }
        kept.clone()
    }

    fn form(&self, form: usize) -> Option<&Regex> {
        self.each[form].get_or_init(|| Regex::new(&in_bytes(FORMS[form].1)).ok()).as_ref()
    }
}

/// Bytes, not characters: a file need not be UTF-8 to hold a key.
fn in_bytes(pattern: &str) -> String {
    format!("(?-u:{pattern})")
}

/// Forgets what was made ready for looking; the next look makes it anew.
pub(super) fn rest() {
    *PATTERNS.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// What looks like a secret in a file, on which line; `None` when nothing new does.
pub(super) fn find(path: &str, bytes: &[u8], previous: Option<&[u8]>) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if previous.is_none() && (NAMES.contains(&name) || EXTENSIONS.iter().any(|end| name.ends_with(end))) {
        return Some(
            "files of this name hold keys or passwords; keep it outside the repository, or release it".to_owned(),
        );
    }
    let broken = || Some("secrets cannot be looked for; please report this".to_owned());
    let Some(patterns) = Patterns::get() else { return broken() };
    let known = |secret: &[u8]| previous.is_some_and(|previous| contains(previous, secret));
    let mut found: Option<(usize, &str)> = None;
    let mut note = |at: usize, what: &'static str| {
        if found.is_none_or(|(first, _)| at < first) {
            found = Some((at, what));
        }
    };
    for form in patterns.set.matches(bytes) {
        let Some(expression) = patterns.form(form) else { return broken() };
        for captures in expression.captures_iter(bytes) {
            let Some(secret) = captures.get(1).or_else(|| captures.get(0)) else { continue };
            let text = secret.as_bytes();
            let real = !is_placeholder(text) && (captures.get(1).is_none() || !is_reference(text));
            if real && !known(text) && !is_allowed(bytes, secret.start()) {
                note(secret.start(), FORMS[form].0);
                break;
            }
        }
    }
    for captures in patterns.named.captures_iter(bytes) {
        let (Some(word), Some(secret)) = (captures.get(1), captures.get(2)) else { continue };
        let text = secret.as_bytes();
        let is_password =
            word.as_bytes().to_ascii_lowercase().starts_with(b"pass") || word.as_bytes().eq_ignore_ascii_case(b"pwd");
        if looks_random(text, is_password) && !known(text) && !is_allowed(bytes, secret.start()) {
            note(secret.start(), "a password or key");
            break;
        }
    }
    let (at, what) = found?;
    let line = bytes[..at].iter().filter(|&&b| b == b'\n').count() + 1;
    Some(format!(
        "line {line} looks like {what}; take it out (and replace it where it is valid), or release the file if it is \
         none"
    ))
}

fn contains(text: &[u8], piece: &[u8]) -> bool {
    !piece.is_empty() && text.windows(piece.len()).any(|window| window == piece)
}

fn is_allowed(bytes: &[u8], at: usize) -> bool {
    let from = bytes[..at].iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let to = bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |i| at + i);
    ALLOWED.iter().any(|word| contains(&bytes[from..to], word.as_bytes()))
}

/// Whether a value only stands for a secret: documentation's examples and blanks.
fn is_placeholder(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let words: [&[u8]; 12] = [
        b"example",
        b"placeholder",
        b"changeme",
        b"your",
        b"xxxx",
        b"****",
        b"....",
        b"dummy",
        b"redacted",
        b"insert",
        b"replace",
        b"123456789",
    ];
    words.iter().any(|word| contains(&lower, word))
}

/// Whether a value says where a secret is instead of being one: variables, templates, paths, addresses.
fn is_reference(text: &[u8]) -> bool {
    let starts: [&[u8]; 14] =
        [b"$", b"{", b"<", b"%", b"(", b"[", b"*", b"&", b"/", b"./", b"~/", b"http", b"enc[", b"vault:"];
    let lower = text.to_ascii_lowercase();
    let both = |open: u8, close: u8| lower.contains(&open) && lower.contains(&close);
    let code = both(b'<', b'>') || lower.contains(&b'(') || contains(&lower, b"::") || contains(&lower, b"env.");
    code || starts.iter().any(|start| lower.starts_with(start))
        || is_placeholder(text)
        || [&b"password"[..], b"passwd", b"secret", b"token", b"user", b"pass"].contains(&lower.as_slice())
}

/// Whether a value behind a word like `token` is no word itself.
fn looks_random(text: &[u8], is_password: bool) -> bool {
    if is_reference(text) || !text.is_ascii() {
        return false;
    }
    let has = |class: fn(&u8) -> bool| usize::from(text.iter().any(class));
    let (lower, upper, digit) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit));
    let symbol = has(|b| b.is_ascii_punctuation() && !matches!(b, b'-' | b'_' | b'.' | b'/' | b':'));
    let bits = entropy(text);
    if is_password && lower + upper + digit + symbol >= 3 && digit + symbol >= 1 && bits >= 2.8 {
        return true;
    }
    let hex = text.len() >= 32 && text.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    // Names and versions have digits too; they are put together from words with marks between them.
    let longest = text.split(|b| !b.is_ascii_alphanumeric()).map(<[u8]>::len).max().unwrap_or_default();
    text.len() >= 20 && digit == 1 && lower + upper >= 1 && (hex && bits >= 3.0 || longest >= 16 && bits >= 3.7)
}

/// Bits per byte.
#[allow(clippy::cast_precision_loss)]
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for &b in text {
        counts[b as usize] += 1;
    }
    let all = text.len() as f64;
    counts.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) / all).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_can_be_looked_for_also_after_a_rest() {
        for _ in 0..2 {
            let patterns = Patterns::get().unwrap();
            for (form, (what, _)) in FORMS.iter().enumerate() {
                assert!(patterns.form(form).is_some(), "{what}");
            }
            rest();
        }
    }
}
