//! Incoming webhooks of GitHub, GitLab, Gitea and Forgejo: is it theirs, and was it here before?
//!
//! A webhook means only "look now", so a forged or repeated one could cost no more than a look; the checks keep strangers from causing even that.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The largest body that is read. A push of thousands of commits may exceed it; the poll finds it then.
pub const MAX_BODY: usize = 1 << 20;

/// How many webhooks are remembered to recognise repetitions.
const REMEMBERED: usize = 1024;

/// What to do with a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is genuine: look now.
    Ring,
    /// It is genuine and says nothing about content (GitHub's ping).
    Ping,
    /// It is genuine and was here before.
    Replay,
    /// It carries no signature or token at all.
    Unsigned,
    /// Its signature or token is wrong.
    Forged,
}

impl Verdict {
    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ring => "accepted",
            Self::Ping => "ping",
            Self::Replay => "replay",
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
        }
    }
}

/// Recognises webhooks that were here before.
#[derive(Debug, Default)]
pub struct Doorkeeper {
    seen: VecDeque<[u8; 32]>,
}

impl Doorkeeper {
    /// Judges a webhook by its headers and its raw body.
    pub fn judge(&mut self, secret: &[u8], headers: &HeaderMap, body: &[u8]) -> Verdict {
        match genuine(secret, headers, body) {
            None => return Verdict::Unsigned,
            Some(false) => return Verdict::Forged,
            Some(true) => {}
        }
        if text(headers, "x-github-event") == Some("ping") {
            return Verdict::Ping;
        }
        // By content alone: delivery ids are not signed. Bodies name the commits before and after and when, so two pushes never look alike.
        let digest: [u8; 32] = Sha256::digest(body).into();
        if self.seen.contains(&digest) {
            return Verdict::Replay;
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(digest);
        Verdict::Ring
    }
}

/// Whether the body was signed with the secret, or the token is the secret; nothing when there is neither. Every proof that is given must hold
/// (Gitea and Forgejo send several).
fn genuine(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> Option<bool> {
    let mut proofs = Vec::new();
    if let Some(value) = text(headers, "x-hub-signature-256") {
        proofs.push(value.strip_prefix("sha256=").is_some_and(|hex| signed(secret, hex, body)));
    }
    for name in ["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature"] {
        if let Some(hex) = text(headers, name) {
            proofs.push(signed(secret, hex, body));
        }
    }
    if let Some(token) = headers.get("x-gitlab-token") {
        // Comparing digests hides the secret's length, too.
        let (given, wanted) = (Sha256::digest(token.as_bytes()), Sha256::digest(secret));
        proofs.push(bool::from(given.as_slice().ct_eq(wanted.as_slice())));
    }
    (!proofs.is_empty()).then(|| proofs.into_iter().all(|proof| proof))
}

fn signed(secret: &[u8], hex: &str, body: &[u8]) -> bool {
    let (Ok(signature), Ok(mut mac)) = (hex::decode(hex), Hmac::<Sha256>::new_from_slice(secret)) else { return false };
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    /// From GitHub's documentation of its webhooks.
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn judge(headers: &[(&'static str, &str)], body: &[u8]) -> Verdict {
        judge_with(&mut Doorkeeper::default(), headers, body)
    }

    fn judge_with(doorkeeper: &mut Doorkeeper, headers: &[(&'static str, &str)], body: &[u8]) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        doorkeeper.judge(SECRET, &map, body)
    }

    #[test]
    fn each_forges_proof_is_understood_and_nothing_else() {
        let github = format!("sha256={SIGNATURE}");
        let token = std::str::from_utf8(SECRET).unwrap();
        for headers in [
            [("x-hub-signature-256", github.as_str())],
            [("x-gitea-signature", SIGNATURE)],
            [("x-forgejo-signature", SIGNATURE)],
            [("x-gitlab-token", token)],
        ] {
            assert_eq!(judge(&headers, BODY), Verdict::Ring, "{headers:?}");
        }
        assert_eq!(judge(&[], BODY), Verdict::Unsigned);
        for headers in [
            [("x-hub-signature-256", SIGNATURE)],
            [("x-hub-signature-256", "sha256=")],
            [("x-hub-signature-256", "sha256=zz")],
            [("x-gitea-signature", &SIGNATURE[..62])],
            [("x-gitlab-token", "wrong")],
            [("x-gitlab-token", "")],
        ] {
            assert_eq!(judge(&headers, BODY), Verdict::Forged, "{headers:?}");
        }
        assert_eq!(judge(&[("x-hub-signature-256", &github)], b"Hello, World?"), Verdict::Forged);
        assert_eq!(
            judge(&[("x-hub-signature-256", &github), ("x-gitlab-token", "wrong")], BODY),
            Verdict::Forged,
            "one good proof does not make up for a bad one"
        );
    }

    #[test]
    fn a_repetition_is_recognised_and_a_ping_is_not_a_push() {
        let github = format!("sha256={SIGNATURE}");
        let headers = [("x-hub-signature-256", github.as_str())];
        let mut doorkeeper = Doorkeeper::default();
        let ping = [headers[0], ("x-github-event", "ping")];
        assert_eq!(judge_with(&mut doorkeeper, &ping, BODY), Verdict::Ping);
        assert_eq!(judge_with(&mut doorkeeper, &headers, BODY), Verdict::Ring);
        assert_eq!(judge_with(&mut doorkeeper, &headers, BODY), Verdict::Replay);
        let token = [("x-gitlab-token", std::str::from_utf8(SECRET).unwrap())];
        for n in 0..=REMEMBERED {
            assert_eq!(judge_with(&mut doorkeeper, &token, n.to_string().as_bytes()), Verdict::Ring);
        }
        assert_eq!(doorkeeper.seen.len(), REMEMBERED, "memory is bounded");
    }
}
