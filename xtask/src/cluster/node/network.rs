//! The node's network: a namespace, a link to it, and a network 10.N.0.0/16 that nothing else on the machine uses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Node;
use crate::process::output;

/// 10.N.0.0/16: pods in the lower half, ClusterIPs from 10.N.128.0, the link to the node at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(u8);

impl Network {
    pub fn host(self) -> String {
        format!("10.{}.255.1", self.0)
    }

    pub fn node(self) -> String {
        format!("10.{}.255.2", self.0)
    }

    pub fn pods(self) -> String {
        format!("10.{}.0.0/17", self.0)
    }

    pub fn services(self) -> String {
        format!("10.{}.128.0/18", self.0)
    }

    /// Kubernetes gives the API server the first address of the services.
    pub fn api(self) -> String {
        format!("10.{}.128.1", self.0)
    }
}

/// An IPv4 network: address and the length of its prefix.
type Route = (u32, u32);

/// The destinations of `ip -4 route show table all`, default routes left out.
fn destinations(text: &str) -> Vec<Route> {
    text.lines()
        .filter(|line| !line.starts_with("default"))
        .filter_map(|line| {
            // `broadcast 10.0.0.255 dev …`, `10.0.0.0/24 via …`
            let word = line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
            let (address, length) = word.split_once('/').unwrap_or((word, "32"));
            let address: Ipv4Addr = address.parse().ok()?;
            Some((u32::from(address), length.parse().ok().filter(|length| (1..=32).contains(length))?))
        })
        .collect()
}

/// The first network that no route touches, or at least none inside of which it lies.
fn free(routes: &[Route]) -> Option<Network> {
    let candidates = || (88..=254_u8).chain(1..88);
    let shared = |network: u8, (address, length): Route| {
        let mask = u32::MAX << (32 - length.min(16));
        (u32::from(Ipv4Addr::new(10, network, 0, 0)) & mask) == (address & mask)
    };
    let untouched = |network: &u8| !routes.iter().any(|route| shared(*network, *route));
    // A VPN may route all of 10.0.0.0/8: the more special route counts, and that is ours.
    let special = |network: &u8| !routes.iter().any(|route| route.1 >= 16 && shared(*network, *route));
    candidates().find(untouched).or_else(|| candidates().find(special)).map(Network)
}

/// Makes namespace, link and routes.
pub fn make(id: &str, namespace: &Path) -> Result<Network> {
    let routes = output(Command::new("ip").args(["-4", "route", "show", "table", "all"]))?;
    let Some(network) = free(&destinations(&routes)) else {
        bail!("every network 10.N.0.0/16 is in use here: `ip route` names them");
    };
    // Not `ip netns`: that leaves a mount of its own behind.
    fs::write(namespace, "").with_context(|| format!("cannot make {}", namespace.display()))?;
    output(Command::new("unshare").arg(format!("--net={}", namespace.display())).arg("true"))?;
    // The link on this machine has the node's id for a name.
    let file = namespace.display().to_string();
    let (host, node, whole) = (
        format!("{}/30", network.host()),
        format!("{}/30", network.node()),
        format!("10.{}.0.0/16", network.0),
    );
    let outside: [&[&str]; 3] = [
        &["link", "add", id, "type", "veth", "peer", "name", "eth0", "netns", &file],
        &["address", "add", &host, "dev", id],
        &["link", "set", id, "up"],
    ];
    let inside: [&[&str]; 4] = [
        &["link", "set", "lo", "up"],
        &["address", "add", &node, "dev", "eth0"],
        &["link", "set", "eth0", "up"],
        &["route", "add", "default", "via", &network.host()],
    ];
    for arguments in outside {
        output(Command::new("ip").args(arguments))?;
    }
    for arguments in inside {
        output(Command::new("nsenter").arg(format!("--net={file}")).arg("ip").args(arguments))?;
    }
    output(Command::new("ip").args(["route", "add", &whole, "via", &network.node(), "dev", id]))?;
    // Both belong to the namespace. The second: answers from pod to pod through a ClusterIP pass iptables, too.
    output(Command::new("nsenter").arg(format!("--net={file}")).args([
        "sh",
        "-ec",
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
    ]))?;
    Ok(network)
}

impl Node {
    /// The API server's ClusterIP, from this machine: kube-proxy has written its rules, and the routes lead there.
    pub fn services_answer(&self) -> bool {
        let Ok(address) = self.api_address.parse::<IpAddr>() else { return false };
        TcpStream::connect_timeout(&(address, 443).into(), Duration::from_secs(1)).is_ok()
    }
}

/// Takes the link away; the namespace goes with its mount and its last process.
pub fn clear(id: &str) -> Result<()> {
    if Path::new("/sys/class/net").join(id).exists() {
        output(Command::new("ip").args(["link", "delete", id]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let text = "default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2\n\
                    unreachable 10.9.0.0/16\nlocal 127.0.0.1 dev lo table local\n";
        let read = destinations(text);
        assert_eq!(read[0], (u32::from(Ipv4Addr::new(192, 0, 2, 0)), 24));
        assert_eq!(read[1], (u32::from(Ipv4Addr::new(10, 9, 0, 0)), 16));
        assert_eq!(read[2], (u32::from(Ipv4Addr::LOCALHOST), 32));
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn the_network_is_one_that_nobody_uses() {
        assert_eq!(free(&[]), Some(Network(88)));
        assert_eq!(free(&destinations("10.88.0.0/16 dev cni0")), Some(Network(89)));
        assert_eq!(free(&destinations("10.88.7.0/24 dev a\n10.89.0.1 dev b")), Some(Network(90)));
        assert_eq!(free(&destinations("10.64.0.0/10 dev vpn")), Some(Network(128)));
        // All of it by a VPN, some of it by others.
        assert_eq!(free(&destinations("10.0.0.0/8 dev vpn\n10.88.0.0/16 dev cni0")), Some(Network(89)));
        let all: Vec<_> = (1..=254).map(|n| format!("10.{n}.1.0/24 dev x")).collect();
        assert_eq!(free(&destinations(&all.join("\n"))), None);
    }
}
