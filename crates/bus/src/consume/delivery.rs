//! Which delivery of which event a message is.

/// What the acknowledgement subject says about a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) delivered: u64,
    pub(super) sequence: u64,
}

impl Delivery {
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`, newer servers put
    /// domain and account before the stream and one more token at the end.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let start = match tokens.len() {
            9 => 4,
            11.. => 6,
            _ => return None,
        };
        if tokens[..2] != ["$JS", "ACK"] {
            return None;
        }
        Some(Self { delivered: tokens[start].parse().ok()?, sequence: tokens[start + 1].parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_acknowledgement_subject_are_understood() {
        let expected = Some(Delivery { delivered: 2, sequence: 17 });
        assert_eq!(Delivery::parse("$JS.ACK.BAFT_EVENTS.importer.2.17.9.1700000000.3"), expected);
        assert_eq!(Delivery::parse("$JS.ACK._.hash.BAFT_EVENTS.importer.2.17.9.1700000000.3"), expected);
        assert_eq!(Delivery::parse("$JS.ACK.hub.hash.BAFT_EVENTS.importer.2.17.9.1700000000.3.random"), expected);
        assert_eq!(Delivery::parse("_INBOX.a.b"), None);
    }
}
