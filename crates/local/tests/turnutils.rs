//! TURN as coturn's own client uses it, over UDP, TCP and TLS: pairs of ports, permissions, channels, Send indications, and data from
//! one relay to another.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::*;

/// `turnutils_uclient` sends messages from client to client through two relays, and says how many have arrived.
async fn relayed(flags: &[&str]) {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let answer = call(&kvs.server, "/v1/get-ice-server-config", json!({ "ChannelARN": arn })).await;
    let server = &answer["IceServerList"][0];
    let port = kvs.server.turn_address().port().to_string();
    let output = tokio::process::Command::new("turnutils_uclient")
        .args(["-y", "-v", "-n", "20", "-m", "2", "-l", "300", "-z", "5", "-p", &port])
        .args(["-u", server["Username"].as_str().unwrap(), "-w", server["Password"].as_str().unwrap()])
        .args(flags)
        .arg("127.0.0.1")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), output).await.unwrap();
    let output =
        output.expect("turnutils_uclient, of the package coturn, which `cargo xtask packages` installs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let sums = text.lines().rev().find(|line| line.contains("tot_recv_msgs"));
    let figure = |name: &str| {
        let rest = sums?.split(name).nth(1)?.trim_start_matches('=');
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let (sent, received) = (figure("tot_send_msgs"), figure("tot_recv_msgs"));
    assert!(
        sent.is_some_and(|sent| sent > 0) && sent == received,
        "{flags:?}: {sent:?} {received:?}\n{text}"
    );
}

/// At the same time: the client mostly waits.
#[tokio::test]
async fn every_transport_relays() {
    let flags: [&[&str]; 4] = [&[], &["-s"], &["-t"], &["-t", "-S"]];
    futures::future::join_all(flags.map(relayed)).await;
}
