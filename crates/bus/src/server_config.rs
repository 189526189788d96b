//! The configuration of a private nats-server, as `baft up` and the tests run one.

use std::path::Path;

/// The configuration of a nats-server that only this machine reaches: loopback, one user, JetStream in `store_dir`
/// with every acknowledged message on disk (`sync_interval: always`; the server's default is to sync every two minutes).
///
/// Pure: writes nothing. The text holds the password: write it with mode 0600.
#[must_use]
pub fn private_server_config(port: u16, store_dir: &Path, user: &str, password: &str) -> String {
    let store = quoted(&store_dir.to_string_lossy());
    let user = quoted(user);
    let password = quoted(password);
    format!(
        "# Written by Baft.
listen: \"127.0.0.1:{port}\"
server_name: \"baft-private-{port}\"
jetstream {{
  store_dir: {store}
  sync_interval: always
}}
authorization {{
  user: {user}
  password: {password}
}}
"
    )
}

/// A string of the server's configuration language, which knows the same escapes as JSON for what matters here.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_cannot_break_out_of_its_string() {
        let text = private_server_config(4222, Path::new("/tmp/a b"), "u", "a\"b\\c\n}");
        assert!(text.contains(r#"password: "a\"b\\c\n}""#), "{text}");
        assert!(text.contains(r#"store_dir: "/tmp/a b""#), "{text}");
        assert!(text.contains("sync_interval: always"));
        assert!(text.contains("listen: \"127.0.0.1:4222\""));
    }
}
