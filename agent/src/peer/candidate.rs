//! ICE candidate text, between what masters write and what the engine reads.

/// Longest candidate that is ever sent: the C SDK copies candidates into 256 bytes without a check.
const MAX_SENT: usize = 255;

/// Brings a remote candidate into the form the engine reads. `None`: to be ignored (empty text is
/// an end-of-candidates mark; TCP and mDNS names cannot be used).
pub(super) fn remote(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    let text = text.strip_prefix("candidate:").unwrap_or(text);
    let mut fields = text.split_ascii_whitespace();
    let transport = fields.nth(2)?;
    let address = fields.nth(1)?;
    if !transport.eq_ignore_ascii_case("udp") || address.parse::<std::net::IpAddr>().is_err() {
        return None;
    }
    Some(format!("candidate:{text}"))
}

/// Brings a local candidate into the strictest form that masters read. `None`: must not be sent.
pub(super) fn local(text: &str) -> Option<String> {
    let mut text = remote(text)?;
    // The C SDK recognises the type only when something follows it.
    if text.split_ascii_whitespace().skip_while(|word| *word != "typ").nth(2).is_none() {
        text.push_str(" generation 0");
    }
    (text.len() <= MAX_SENT).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_takes_what_masters_write() {
        let plain = "candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host";
        for text in [
            plain,
            "1 1 udp 2113937151 192.0.2.1 5000 typ host",
            "a=candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host",
        ] {
            assert_eq!(remote(text).as_deref(), Some(plain));
        }
        assert_eq!(
            remote("candidate:1 1 UDP 1 2001:db8::1 5000 typ host").as_deref(),
            Some("candidate:1 1 UDP 1 2001:db8::1 5000 typ host")
        );
    }

    #[test]
    fn remote_ignores_what_cannot_be_used() {
        for text in [
            "",
            "candidate:",
            "a=end-of-candidates",
            "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "candidate:1 1 udp 2113937151 0b5f6a38-3a3c-4ba0-8f0e-6f6a2f3e3f54.local 5000 typ host",
        ] {
            assert_eq!(remote(text), None, "{text}");
        }
    }

    #[test]
    fn local_has_something_after_the_type() {
        assert_eq!(
            local("candidate:1 1 udp 1 192.0.2.1 5000 typ host").as_deref(),
            Some("candidate:1 1 udp 1 192.0.2.1 5000 typ host generation 0")
        );
        let relayed = "candidate:1 1 udp 1 192.0.2.1 5000 typ relay raddr 198.51.100.1 rport 4000";
        assert_eq!(local(relayed).as_deref(), Some(relayed));
        assert_eq!(local(&format!("candidate:1 1 udp 1 192.0.2.1 5 typ host {}", "x".repeat(250))), None);
    }
}
