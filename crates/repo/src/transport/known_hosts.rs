//! OpenSSH's `known_hosts`: which key a host must show.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// What the file says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host has this key.
    Known,
    /// The host has other keys.
    Different,
    /// The host is not in the file.
    Unknown,
    /// The key must never be accepted.
    Revoked,
}

pub(super) fn check_file(path: &Path, host: &str, port: Option<u16>, key: &[u8]) -> std::io::Result<Verdict> {
    Ok(check(&std::fs::read_to_string(path)?, host, port, key))
}

fn check(known_hosts: &str, host: &str, port: Option<u16>, key: &[u8]) -> Verdict {
    let name = match port {
        None | Some(22) => host.to_lowercase(),
        Some(port) => format!("[{}]:{port}", host.to_lowercase()),
    };
    let mut verdict = Verdict::Unknown;
    for line in known_hosts.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(patterns), Some(_kind), Some(encoded)) = (words.next(), words.next(), words.next()) else { continue };
        if !names(patterns, &name) {
            continue;
        }
        let same = STANDARD.decode(encoded).is_ok_and(|known| known == key);
        match marker {
            Some("@revoked") if same => return Verdict::Revoked,
            // Certificates of authorities are not supported: such a host is not known by them.
            Some(_) => {}
            None if same => verdict = Verdict::Known,
            None if verdict == Verdict::Unknown => verdict = Verdict::Different,
            None => {}
        }
    }
    verdict
}

/// Whether a line's host field means this name: a comma list of patterns, where `!` forbids, or one hashed name.
fn names(field: &str, name: &str) -> bool {
    if let Some(hashed) = field.strip_prefix("|1|") {
        return hashed_is(hashed, name);
    }
    let mut found = false;
    for pattern in field.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(&pattern.to_lowercase(), name) => return false,
            Some(_) => {}
            None => found |= matches(&pattern.to_lowercase(), name),
        }
    }
    found
}

fn hashed_is(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// `*` and `?`, as OpenSSH has them.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((star_p, star_n)) = star {
            p = star_p + 1;
            n = star_n + 1;
            star = Some((star_p, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_as_openssh_does() {
        let key = STANDARD.encode(b"the key");
        let other = STANDARD.encode(b"another");
        // `ssh-keygen -H` style entry for example.org.
        let mut mac = Hmac::<Sha1>::new_from_slice(b"salt").unwrap();
        mac.update(b"example.org");
        let hashed = format!("|1|{}|{}", STANDARD.encode(b"salt"), STANDARD.encode(mac.finalize().into_bytes()));
        for (line, host, port, expected) in [
            (format!("example.org ssh-ed25519 {key} comment"), "Example.org", None, Verdict::Known),
            (
                format!("example.org ssh-ed25519 {other}\nexample.org ssh-rsa {key}"),
                "example.org",
                None,
                Verdict::Known,
            ),
            (format!("example.org ssh-ed25519 {other}"), "example.org", None, Verdict::Different),
            (format!("elsewhere.org ssh-ed25519 {key}"), "example.org", None, Verdict::Unknown),
            (format!("[example.org]:2222 ssh-ed25519 {key}"), "example.org", Some(2222), Verdict::Known),
            (format!("example.org ssh-ed25519 {key}"), "example.org", Some(2222), Verdict::Unknown),
            (format!("example.org ssh-ed25519 {key}"), "example.org", Some(22), Verdict::Known),
            (format!("*.org,!example.org ssh-ed25519 {key}"), "example.org", None, Verdict::Unknown),
            (format!("a,ex?mple.* ssh-ed25519 {key}"), "example.org", None, Verdict::Known),
            (format!("{hashed} ssh-ed25519 {key}"), "example.org", None, Verdict::Known),
            (format!("{hashed} ssh-ed25519 {key}"), "example.com", None, Verdict::Unknown),
            (format!("example.org a {key}\n@revoked * a {key}"), "example.org", None, Verdict::Revoked),
            (format!("@cert-authority * a {key}\n# x\n\nbroken"), "example.org", None, Verdict::Unknown),
        ] {
            assert_eq!(check(&line, host, port, b"the key"), expected, "{line} for {host}:{port:?}");
        }
    }
}
