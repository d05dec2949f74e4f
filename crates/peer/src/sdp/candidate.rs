//! ICE candidates as text (RFC 8839, 5.1): what masters write, what an ICE agent can use, what may be sent to masters.

use std::net::IpAddr;

use super::words::{is_blank, printable};

/// Longest candidate that is read, in bytes.
const MAX_READ: usize = 512;
/// Longest candidate that is sent, in bytes: the C SDK copies candidates into 256 bytes without a check.
const MAX_SENT: usize = 255;

/// Brings a candidate of the master, from an answer or trickled, into one form: `candidate:`, then the fields of RFC
/// 8839 with single blanks, in lower case where case has no meaning. With or without `a=` and `candidate:` in front.
///
/// A zone id (`fe80::1%eth0`) is cut off: it names an interface of the master's host, and says nothing here.
///
/// # Errors
///
/// Why it is left out, in words for a person: empty text and `end-of-candidates` end the candidates; transports other
/// than UDP, host names, mDNS names, RTCP components, and fields that cannot be read are of no use.
pub fn usable_candidate(text: &str) -> Result<String, String> {
    let text = text.trim_matches(is_blank);
    let text = without_prefix(without_prefix(text, "a="), "candidate:").trim_matches(is_blank);
    if text.is_empty() || text.eq_ignore_ascii_case("end-of-candidates") {
        return Err("end of candidates".to_owned());
    }
    if text.len() > MAX_READ {
        return Err(format!("candidate of {} bytes", text.len()));
    }
    let mut words = text.split(is_blank).filter(|word| !word.is_empty());
    let mut field = |name: &str| words.next().ok_or_else(|| format!("candidate without {name}"));
    let foundation = field("a foundation")?;
    let component = field("a component")?;
    let transport = field("a transport")?;
    let priority = field("a priority")?;
    let address = field("an address")?;
    let port = field("a port")?;
    let typ = field("a type")?;
    let kind = field("a type")?.to_ascii_lowercase();

    if !is_ascii(foundation) {
        return Err("candidate whose foundation is not ASCII".to_owned());
    }
    if !transport.eq_ignore_ascii_case("udp") {
        return Err(format!("candidate over {}: only UDP is used", printable(transport)));
    }
    match component.parse::<u16>() {
        Ok(1) => {}
        Ok(component) => {
            return Err(format!("candidate of component {component}: RTCP comes on the port of RTP"));
        }
        Err(_) => return Err(unreadable("component", component)),
    }
    let priority: u32 = priority.parse().map_err(|_| unreadable("priority", priority))?;
    let address = usable_address(address)?;
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => return Err(unreadable("port", port)),
    };
    if !typ.eq_ignore_ascii_case("typ") || !matches!(kind.as_str(), "host" | "srflx" | "prflx" | "relay") {
        return Err(unreadable("type", &kind));
    }
    let mut usable = format!("candidate:{foundation} {component} udp {priority} {address} {port} typ {kind}");
    let (mut related, mut others) = ((None, None), String::new());
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name.to_ascii_lowercase().as_str() {
            "raddr" => related.0 = Some(value).filter(|value| is_ascii(value)),
            "rport" => related.1 = value.parse::<u16>().ok(),
            // Of TCP.
            "tcptype" => {}
            _ if is_ascii(name) && is_ascii(value) => others.extend([" ", name, " ", value]),
            _ => {}
        }
    }
    if let (Some(address), Some(port)) = related {
        usable.push_str(&format!(" raddr {address} rport {port}"));
    }
    usable.push_str(&others);
    Ok(usable)
}

/// Brings a candidate of ours into the strictest form that masters read: that of [`usable_candidate`], with something
/// behind the type, in at most 255 bytes. `None`: must not be sent.
pub fn sendable_candidate(text: &str) -> Option<String> {
    let mut text = usable_candidate(text).ok()?;
    // The C SDK recognises the type only when something follows it.
    if text.split(' ').count() == 8 {
        text.push_str(" generation 0");
    }
    (text.len() <= MAX_SENT).then_some(text)
}

fn usable_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let bare = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    let Ok(address) = bare.parse::<IpAddr>() else {
        let what = if bare.to_ascii_lowercase().ends_with(".local") { "mDNS name" } else { "host name" };
        return Err(format!("candidate with the {what} {}: only addresses are used", printable(text)));
    };
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err(format!("candidate at {address}, which is no host"));
    }
    Ok(address)
}

fn unreadable(field: &str, value: &str) -> String {
    format!("candidate with {field} {}", printable(value))
}

fn is_ascii(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_graphic())
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &text[prefix.len()..],
        _ => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn what_masters_write_is_used() {
        let plain = "candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host";
        for (written, read) in [
            (plain, plain),
            ("1 1 udp 2113937151 192.0.2.1 5000 typ host", plain),
            ("a=candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host\r\n", plain),
            ("A=Candidate: 1  1 UDP 2113937151\t192.0.2.1 5000 TYP HOST ", plain),
            ("1 1 udp 2113937151 ::ffff:192.0.2.1 5000 typ host", plain),
            ("1 1 udp 2113937151 192.0.2.1 5000 typ host tcptype active", plain),
            ("1 1 udp 2113937151 192.0.2.1 5000 typ host generation", plain),
            ("1 1 udp 2113937151 192.0.2.1 5000 typ host raddr 10.0.0.1", plain),
            (
                "candidate:1 1 UDP 1 2001:DB8::1 5000 typ host",
                "candidate:1 1 udp 1 2001:db8::1 5000 typ host",
            ),
            ("1 1 udp 1 fe80::1%eth0 5000 typ host", "candidate:1 1 udp 1 fe80::1 5000 typ host"),
            ("1 1 udp 1 [2001:db8::1] 5000 typ host", "candidate:1 1 udp 1 2001:db8::1 5000 typ host"),
            (
                "candidate:842163049 1 udp 1677729535 203.0.113.7 61234 typ srflx raddr 10.0.0.5 rport 61234 generation 0 ufrag EsAw network-id 1 network-cost 10",
                "candidate:842163049 1 udp 1677729535 203.0.113.7 61234 typ srflx raddr 10.0.0.5 rport 61234 generation 0 ufrag EsAw network-id 1 network-cost 10",
            ),
        ] {
            assert_eq!(usable_candidate(written).as_deref(), Ok(read));
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (written, why) in [
            ("", "end of candidates"),
            ("candidate:", "end of candidates"),
            ("a=end-of-candidates", "end of candidates"),
            ("candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active", "over tcp"),
            ("candidate:1 1 ssltcp 1518280447 192.0.2.1 443 typ host", "over ssltcp"),
            (
                "candidate:1 1 udp 2113937151 0b5f6a38-3a3c-4ba0-8f0e-6f6a2f3e3f54.local 5000 typ host",
                "mDNS name",
            ),
            ("candidate:1 1 udp 2113937151 camera.example.com 5000 typ host", "host name camera.example.com"),
            ("candidate:1 2 udp 2113937150 192.0.2.1 5001 typ host", "component 2"),
            ("candidate:1 1 udp high 192.0.2.1 5000 typ host", "priority high"),
            ("candidate:1 1 udp 99999999999 192.0.2.1 5000 typ host", "priority 99999999999"),
            ("candidate:1 1 udp 1 192.0.2.1 0 typ host", "port 0"),
            ("candidate:1 1 udp 1 192.0.2.1 70000 typ host", "port 70000"),
            ("candidate:1 1 udp 1 0.0.0.0 5000 typ host", "0.0.0.0"),
            ("candidate:1 1 udp 1 224.0.0.251 5000 typ host", "224.0.0.251"),
            ("candidate:1 1 udp 1 192.0.2.1 5000 typ best", "type best"),
            ("candidate:1 1 udp 1 192.0.2.1", "without a port"),
        ] {
            let said = usable_candidate(written).unwrap_err();
            assert!(said.contains(why), "{written}: {said}");
        }
        let long = format!("candidate:1 1 udp 1 192.0.2.1 5000 typ host {}", "x".repeat(MAX_READ));
        assert!(usable_candidate(&long).is_err());
    }

    #[test]
    fn what_is_sent_has_something_after_the_type() {
        assert_eq!(
            sendable_candidate("candidate:1 1 udp 1 192.0.2.1 5000 typ host").as_deref(),
            Some("candidate:1 1 udp 1 192.0.2.1 5000 typ host generation 0")
        );
        let relayed = "candidate:1 1 udp 1 192.0.2.1 5000 typ relay raddr 198.51.100.1 rport 4000";
        assert_eq!(sendable_candidate(relayed).as_deref(), Some(relayed));
        for unfit in [
            "",
            "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
            "candidate:1 1 udp 1 0b5f6a38-3a3c-4ba0-8f0e-6f6a2f3e3f54.local 5000 typ host",
            &format!("candidate:1 1 udp 1 192.0.2.1 5 typ host x {}", "x".repeat(220)),
        ] {
            assert_eq!(sendable_candidate(unfit), None);
        }
    }
}
