//! Cookies for HTTP remotes, from a file in Netscape's format (curl's cookie jar).

use std::path::Path;

use super::url::{Address, Scheme};

/// The `Cookie` header for a remote; nothing when no cookie of the file is meant for it.
pub(super) fn header(path: &Path, address: &Address) -> std::io::Result<Option<String>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    Ok(from_text(&std::fs::read_to_string(path)?, address, now))
}

fn from_text(text: &str, address: &Address, now: u64) -> Option<String> {
    let mut cookies = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
        let fields: Vec<&str> = line.split('\t').collect();
        let [domain, subdomains, path, secure, expires, name, value] = fields[..] else { continue };
        if line.starts_with('#') || name.is_empty() || format!("{name}{value}").contains(['\r', '\n', ';']) {
            continue;
        }
        let domain = domain.to_lowercase();
        let bare = domain.trim_start_matches('.');
        let fits = address.host == bare
            || subdomains.eq_ignore_ascii_case("TRUE") && address.host.ends_with(&format!(".{bare}"));
        let alive = matches!(expires.parse::<u64>(), Ok(0)) || expires.parse::<u64>().is_ok_and(|at| at > now);
        let secure = secure.eq_ignore_ascii_case("TRUE");
        let below = address
            .path
            .strip_prefix(path.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if fits && alive && below && (!secure || address.scheme == Scheme::Https) {
            cookies.push(format!("{name}={value}"));
        }
    }
    (!cookies.is_empty()).then(|| format!("Cookie: {}", cookies.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::url::parse;

    #[test]
    fn only_the_cookies_meant_for_the_remote_are_sent() {
        let text = "# Netscape HTTP Cookie File\n\
            .example.org\tTRUE\t/\tTRUE\t0\to\tgit\n\
            #HttpOnly_git.example.org\tFALSE\t/team\tFALSE\t2000\tsession\tabc\n\
            git.example.org\tFALSE\t/other\tFALSE\t2000\tx\ty\n\
            git.example.org\tFALSE\t/\tFALSE\t500\told\told\n\
            evil.org\tTRUE\t/\tFALSE\t0\te\te\n";
        let https = parse("https://git.example.org/team/a.git").unwrap();
        assert_eq!(from_text(text, &https, 1000).as_deref(), Some("Cookie: o=git; session=abc"));
        let http = parse("http://git.example.org/teams").unwrap();
        assert_eq!(from_text(text, &http, 1000), None);
    }
}
