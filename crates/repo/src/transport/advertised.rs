//! What a server advertises over HTTP: the answer to `info/refs`, in protocol version 0.

use super::RemoteRef;
use crate::Oid;

const SERVICE: &[u8] = b"# service=git-upload-pack";
/// The only "ref" of a repository without any; it carries the capabilities.
const NO_REFS: &str = "capabilities^{}";

/// The refs; nothing when the answer is not exactly what it should be.
pub(super) fn refs(answer: &[u8]) -> Option<Vec<RemoteRef>> {
    let mut rest = answer;
    if packet(&mut rest)? != Some(SERVICE) || packet(&mut rest)?.is_some() {
        return None;
    }
    let (mut refs, mut symbolic) = (Vec::new(), Vec::new());
    while let Some(line) = packet(&mut rest)? {
        let line = std::str::from_utf8(line).ok()?;
        let (line, capabilities) = match line.split_once('\0') {
            Some((line, capabilities)) if refs.is_empty() => (line, capabilities),
            Some(_) => return None,
            None => (line, ""),
        };
        let links = capabilities.split(' ').filter_map(|capability| capability.strip_prefix("symref="));
        symbolic.extend(links.filter_map(|link| link.split_once(':')));
        let (oid, name) = line.split_once(' ')?;
        refs.push(RemoteRef { name: name.to_owned(), oid: oid.parse::<Oid>().ok()?, target: None });
    }
    if !rest.is_empty() {
        return None;
    }
    if let [only] = refs.as_slice()
        && only.name == NO_REFS
    {
        refs.clear();
    }
    for one in &mut refs {
        one.target = symbolic.iter().find(|(name, _)| *name == one.name).map(|(_, target)| (*target).to_owned());
    }
    Some(refs)
}

/// Takes the next packet off: its line, or nothing for the end of a section. Fails when there is no whole one.
#[expect(clippy::option_option, reason = "the outer one is the failure")]
fn packet<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, after) = rest.split_at_checked(4)?;
    let length = usize::from_str_radix(std::str::from_utf8(length).ok()?, 16).ok()?;
    if length == 0 {
        *rest = after;
        return Some(None);
    }
    let (line, after) = after.split_at_checked(length.checked_sub(4)?)?;
    *rest = after;
    Some(Some(line.strip_suffix(b"\n").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn answer(lines: &[&str]) -> Vec<u8> {
        let packet = |line: &&str| format!("{:04x}{line}\n", line.len() + 5);
        let lines: String = lines.iter().map(packet).collect();
        format!("{}0000{lines}0000", packet(&"# service=git-upload-pack")).into_bytes()
    }

    #[test]
    fn refs_symbolic_ones_and_peeled_tags_are_read() {
        let head = format!("{ONE} HEAD\0multi_ack symref=HEAD:refs/heads/main agent=git/2.47");
        let read = refs(&answer(&[
            &head,
            &format!("{ONE} refs/heads/main"),
            &format!("{TWO} refs/tags/v1"),
            &format!("{ONE} refs/tags/v1^{{}}"),
        ]));
        let read: Vec<_> = read.unwrap().into_iter().map(|r| (r.oid.to_string(), r.name, r.target)).collect();
        let expected = [
            (ONE, "HEAD", Some("refs/heads/main".to_owned())),
            (ONE, "refs/heads/main", None),
            (TWO, "refs/tags/v1", None),
            (ONE, "refs/tags/v1^{}", None),
        ];
        assert_eq!(read, expected.map(|(oid, name, target)| (oid.to_owned(), name.to_owned(), target)));
    }

    #[test]
    fn a_repository_without_refs_has_none() {
        assert_eq!(refs(&answer(&[])), Some(Vec::new()));
        let zero = "0".repeat(40);
        assert_eq!(refs(&answer(&[&format!("{zero} capabilities^{{}}\0agent=git/2.47")])), Some(Vec::new()));
    }

    #[test]
    fn what_is_not_whole_or_not_of_this_protocol_is_not_read() {
        let whole = answer(&[&format!("{ONE} HEAD\0x"), &format!("{ONE} refs/heads/main")]);
        assert!(refs(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(refs(&whole[..end]), None, "{end} bytes");
        }
        assert_eq!(refs(&[whole.as_slice(), b"0000"].concat()), None, "more than the answer");
        for line in [
            "ERR access denied".to_owned(),
            "version 1".to_owned(),
            format!("shallow {ONE}"),
            format!("{} HEAD\0object-format=sha256", "3".repeat(64)),
            ONE.to_owned(),
        ] {
            assert_eq!(refs(&answer(&[&line])), None, "{line}");
        }
        for bytes in [&b"<html>"[..], b"+001", b"0003", b"000eversion 2\n0000"] {
            assert_eq!(refs(bytes), None, "{bytes:?}");
        }
    }
}
