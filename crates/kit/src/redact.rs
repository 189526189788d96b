//! Takes passwords and tokens out of text before anybody sees it.

/// Whatever follows one of these in the name of a query parameter or setting is a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key", "credential"];

/// Query parameters that sign or open a URL without saying so in full.
const SECRET_PARAMETERS: &[&str] = &["sig", "signature", "key", "auth"];

/// Text without the user names and passwords of the URLs in it, nor their token-like query parameters; all else stays.
///
/// User names go too, since tokens are passed as such, except over SSH (`ssh://git@host`). Where it is unclear what is
/// part of a password, more is left out rather than less.
#[must_use]
pub fn redact_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let end = rest.find(is_boundary).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        redact_word(word, &mut out);
        let Some(boundary) = tail.chars().next() else { return out };
        out.push(boundary);
        rest = &tail[boundary.len_utf8()..];
    }
}

/// Whether a setting of this name holds the secret itself, rather than saying where it is.
pub(crate) fn names_a_secret(name: &str) -> bool {
    let name = name.trim_end_matches(')').to_ascii_lowercase();
    let elsewhere = ["file", "path", "dir", "url", "env", "name", "ttl"].iter().any(|end| name.ends_with(end));
    !elsewhere && SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\u{1b}')
}

/// One word: a URL, several of them separated by commas, `user:password@host`, or anything else.
fn redact_word(word: &str, out: &mut String) {
    let Some(mark) = word.find("://") else {
        // `git@host:path` names no password, `user:password@host` does.
        match word.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                out.push_str("***@");
                out.push_str(host);
            }
            _ => out.push_str(word),
        }
        return;
    };
    let (scheme, rest) = word.split_at(mark + 3);
    // A comma may be part of a password: only one that begins another URL ends this one.
    let next = rest.find("://").and_then(|mark| rest[..mark].rfind(',')).unwrap_or(rest.len());
    let (url, more) = rest.split_at(next);
    out.push_str(scheme);
    redact_after_scheme(scheme, url, out);
    if let Some(more) = more.strip_prefix(',') {
        out.push(',');
        redact_word(more, out);
    }
}

fn redact_after_scheme(scheme: &str, url: &str, out: &mut String) {
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    // A slash in an unescaped password ends the authority early; a colon and a later `@` give it away.
    let at = authority.rfind('@').or_else(|| authority.contains(':').then(|| url.rfind('@')).flatten());
    let rest = match at {
        Some(at) => {
            let user = &url[..at];
            let harmless = scheme.ends_with("ssh://") && !user.contains(':');
            out.push_str(if harmless { user } else { "***" });
            &url[at..]
        }
        None => url,
    };
    let Some(query) = rest.find('?') else { return out.push_str(rest) };
    let (before, query) = rest.split_at(query + 1);
    out.push_str(before);
    let (query, fragment) = query.split_at(query.find('#').unwrap_or(query.len()));
    for (index, parameter) in query.split('&').enumerate() {
        if index > 0 {
            out.push('&');
        }
        match parameter.split_once('=') {
            Some((name, _)) if is_secret_parameter(name) => {
                out.push_str(name);
                out.push_str("=***");
            }
            _ => out.push_str(parameter),
        }
    }
    out.push_str(fragment);
}

fn is_secret_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || SECRET_PARAMETERS.contains(&name.as_str())
        || name.ends_with("-signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_or_token_survives_and_all_else_does() {
        for (text, shown) in [
            ("https://user:hunter2@example.com/x.git", "https://***@example.com/x.git"),
            ("https://ghp_token@example.com/x.git", "https://***@example.com/x.git"),
            ("nats://a:hunter2@one:4222,nats://b:hunter2@two:4222", "nats://***@one:4222,nats://***@two:4222"),
            ("nats://a:hun,ter2@one,tls://two", "nats://***@one,tls://two"),
            ("nats://a:hunter2@one,b:hunter2@two", "nats://***@two"),
            ("https://user:hun/ter2@example.com/x", "https://***@example.com/x"),
            ("user:hunter2@host:4222", "***@host:4222"),
            ("cannot fetch 'https://u:hunter2@h/x': gone", "cannot fetch 'https://***@h/x': gone"),
            ("https://h/hook?token=hunter2&ref=main#top", "https://h/hook?token=***&ref=main#top"),
            ("https://h/?X-Amz-Signature=hunter2&sig=hunter2", "https://h/?X-Amz-Signature=***&sig=***"),
            ("ssh://git@example.com/x.git", "ssh://git@example.com/x.git"),
            ("ssh://git:hunter2@example.com/x.git", "ssh://***@example.com/x.git"),
            ("git@example.com:team/x.git", "git@example.com:team/x.git"),
            ("https://example.com/a@b?page=2", "https://example.com/a@b?page=2"),
            ("file:///srv/git/x.git", "file:///srv/git/x.git"),
            ("just text, with: marks", "just text, with: marks"),
            ("فارسی https://کاربر:hunter2@دامنه/x", "فارسی https://***@دامنه/x"),
        ] {
            let redacted = redact_url(text);
            assert_eq!(redacted, shown);
            assert!(!redacted.contains("ter2"), "{redacted}");
        }
    }

    #[test]
    fn a_setting_that_says_where_the_secret_is_can_be_shown() {
        for name in
            ["password", "webhook_secret", "ANTHROPIC_API_KEY", "token", "--credential", "X_PASSWORD (--password)"]
        {
            assert!(names_a_secret(name), "{name}");
        }
        for name in ["password_file", "token-url", "session_token_ttl", "repo", "X_TOKEN_FILE (--token-file)"] {
            assert!(!names_a_secret(name), "{name}");
        }
    }
}
