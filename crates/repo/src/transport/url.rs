//! What kind of remote a URL names.

use ::url::Url;

use super::{Class, TransportError};

/// How a remote is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A path on this machine.
    Local,
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// SSH.
    Ssh,
}

/// The parts of a remote's URL that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// The path of an HTTP URL, for cookies.
    pub(super) path: String,
}

impl Scheme {
    /// What this URL names, and nothing for one we do not speak.
    pub fn of(url: &str) -> Option<Self> {
        parse(url).ok().map(|address| address.scheme)
    }
}

/// Reads a URL as git does, refusing what could be taken for an option or would start another program.
pub(super) fn parse(url: &str) -> Result<Address, TransportError> {
    let refused = |why: &str| {
        TransportError::new(
            Class::Unsupported,
            format!("cannot use {} as a remote: {why}", baft_kit::log::redact_url(url)),
        )
        .hint("use https://, http://, ssh://, user@host:path, file:// or a path")
    };
    if url.is_empty() || url.starts_with('-') || url.chars().any(char::is_control) {
        return Err(refused("it is empty, starts with a dash or has control characters"));
    }
    let local = || Address { scheme: Scheme::Local, host: String::new(), port: None, path: url.to_owned() };
    if let Some((scheme, _)) = url.split_once("://") {
        let scheme = match scheme {
            "file" => return Ok(local()),
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "ssh" | "git+ssh" | "ssh+git" => Scheme::Ssh,
            _ => return Err(refused("its scheme is not supported")),
        };
        let parsed = Url::parse(url).map_err(|e| refused(&e.to_string()))?;
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refused("it names no host"))?;
        let host = host.trim_matches(['[', ']']).to_lowercase();
        if host.starts_with('-') {
            return Err(refused("its host starts with a dash"));
        }
        return Ok(Address { scheme, host, port: parsed.port(), path: parsed.path().to_owned() });
    }
    if url.contains("::") && !url.starts_with(['/', '.']) {
        return Err(refused("remote helpers are not supported"));
    }
    // scp's form, `user@host:path`, unless a slash comes before the colon.
    match url.split_once(':') {
        Some((login, path)) if !login.contains('/') && !login.is_empty() && !path.is_empty() => {
            let host = login.rsplit('@').next().unwrap_or(login);
            if host.is_empty() || host.starts_with('-') || login.starts_with('-') {
                return Err(refused("its host is empty or starts with a dash"));
            }
            Ok(Address { scheme: Scheme::Ssh, host: host.to_lowercase(), port: None, path: path.to_owned() })
        }
        _ => Ok(local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_git_knows_is_recognised() {
        for (url, scheme, host, port) in [
            ("https://example.org/a.git", Scheme::Https, "example.org", None),
            ("http://u:p@Example.org:8080/a", Scheme::Http, "example.org", Some(8080)),
            ("ssh://git@example.org:2222/a.git", Scheme::Ssh, "example.org", Some(2222)),
            ("git@example.org:team/a.git", Scheme::Ssh, "example.org", None),
            ("file:///srv/a.git", Scheme::Local, "", None),
            ("/srv/a:b.git", Scheme::Local, "", None),
            ("../a.git", Scheme::Local, "", None),
        ] {
            let address = parse(url).unwrap();
            assert_eq!((address.scheme, address.host.as_str(), address.port), (scheme, host, port), "{url}");
        }
    }

    #[test]
    fn what_could_start_a_program_is_refused() {
        for url in [
            "",
            "-oProxyCommand=x",
            "ssh://-oProxyCommand=x/a",
            "-x@host:a",
            "ext::sh -c x",
            "git://example.org/a",
            "a\nb",
        ] {
            assert_eq!(parse(url).unwrap_err().class, Class::Unsupported, "{url}");
        }
    }
}
