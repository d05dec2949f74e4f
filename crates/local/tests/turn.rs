//! TURN with the credentials that GetIceServerConfig hands out: a relay between two sockets of this machine.
#![allow(clippy::unwrap_used)]

mod support;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use support::*;
use tokio::{net::UdpSocket, time::timeout};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

const DEADLINE: Duration = Duration::from_secs(20);

async fn ice_server(kvs: &Kvs, channel_arn: &str) -> Value {
    let answer = call(&kvs.server, "/v1/get-ice-server-config", json!({ "ChannelARN": channel_arn })).await;
    answer["IceServerList"][0].clone()
}

async fn client(server: &Value, password: &str) -> Client {
    let uri = server["Uris"][0].as_str().unwrap();
    let address = uri.strip_prefix("turn:").unwrap().strip_suffix("?transport=udp").unwrap().to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig {
        stun_serv_addr: address.clone(),
        turn_serv_addr: address,
        username: server["Username"].as_str().unwrap().to_owned(),
        password: password.to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    };
    let client = Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    client
}

async fn receive(conn: &(impl Conn + ?Sized)) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let (length, _) = timeout(DEADLINE, conn.recv_from(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn relays_between_peers_on_loopback() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let server = ice_server(&kvs, &arn).await;
    assert_eq!(server["Ttl"], 300);
    let client = client(&server, server["Password"].as_str().unwrap()).await;
    let relay = timeout(DEADLINE, client.allocate()).await.unwrap().unwrap();
    let relayed = relay.local_addr().unwrap();
    assert!(relayed.ip().is_loopback());

    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    timeout(DEADLINE, relay.send_to(b"out", peer.local_addr().unwrap())).await.unwrap().unwrap();
    assert_eq!(receive(&peer).await, b"out");
    peer.send_to(b"back", relayed).await.unwrap();
    assert_eq!(receive(&relay).await, b"back");
}

#[tokio::test]
async fn a_session_outlives_its_credential_and_a_new_one_is_refused() {
    let kvs = start(|config| config.ice_ttl = Duration::from_secs(2)).await;
    let arn = channel(&kvs.server, "c").await;
    let server = ice_server(&kvs, &arn).await;
    let password = server["Password"].as_str().unwrap();
    let first = client(&server, password).await;
    let relay = timeout(DEADLINE, first.allocate()).await.unwrap().unwrap();

    // once a new client is refused, the credential's time is over
    let refused = async {
        let mut earlier = Vec::new();
        let mut every = tokio::time::interval(Duration::from_millis(200));
        loop {
            every.tick().await;
            let late = client(&server, password).await;
            match late.allocate().await {
                Err(error) => return error.to_string(),
                // kept, so that no later client gets its port and with it its allocation
                Ok(_) => earlier.push(late),
            }
        }
    };
    let refused = timeout(DEADLINE, refused).await.unwrap();
    assert!(refused.contains("error 40"), "{refused}");

    // a permission for a new peer is made with the old credential
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    timeout(DEADLINE, relay.send_to(b"still", peer.local_addr().unwrap())).await.unwrap().unwrap();
    assert_eq!(receive(&peer).await, b"still");
}

/// In a container TURN listens on every address: what clients and peers are told must be one that they can reach.
#[tokio::test]
async fn a_server_on_every_address_is_found_and_relays() {
    for advertise in [None, Some("127.0.0.9".parse().unwrap())] {
        let kvs = start(|config| {
            config.turn_listen = "0.0.0.0:0".parse().unwrap();
            config.turn_advertise = advertise;
        })
        .await;
        let arn = channel(&kvs.server, "c").await;
        let server = ice_server(&kvs, &arn).await;
        let port = kvs.server.turn_address().port();
        let found = advertise.unwrap_or([127, 0, 0, 1].into());
        let uris = ["turn", "turns", "turns"].into_iter().zip(["udp", "udp", "tcp"]);
        let uris = uris.map(|(scheme, transport)| format!("{scheme}:{found}:{port}?transport={transport}"));
        assert_eq!(server["Uris"], json!(uris.collect::<Vec<_>>()));

        let client = client(&server, server["Password"].as_str().unwrap()).await;
        let relay = timeout(DEADLINE, client.allocate()).await.unwrap().unwrap();
        let relayed = relay.local_addr().unwrap();
        assert!(!relayed.ip().is_unspecified(), "{relayed}");
        assert!(advertise.is_none_or(|ip| ip == relayed.ip()), "{relayed}");
        let peer = UdpSocket::bind((relayed.ip(), 0)).await.unwrap();
        timeout(DEADLINE, relay.send_to(b"out", peer.local_addr().unwrap())).await.unwrap().unwrap();
        assert_eq!(receive(&peer).await, b"out");
        peer.send_to(b"back", relayed).await.unwrap();
        assert_eq!(receive(&relay).await, b"back");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let server = ice_server(&kvs, &arn).await;
    let client = client(&server, "wrong").await;
    assert!(timeout(DEADLINE, client.allocate()).await.unwrap().is_err());
}

/// Who has no credential leaves nothing behind, however often he asks: all are challenged with the same nonce.
#[tokio::test]
async fn requests_without_a_credential_share_a_nonce() {
    use stun::{
        attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME},
        error_code::{CODE_STALE_NONCE, CODE_UNAUTHORIZED, ErrorCodeAttribute},
        integrity::MessageIntegrity,
        message::{
            CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION,
            METHOD_REFRESH, Message, MessageType, Setter,
        },
        textattrs::TextAttribute,
    };
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let server = ice_server(&kvs, &arn).await;
    let username = server["Username"].as_str().unwrap();
    let mut nonces = std::collections::HashSet::new();
    for number in 0..200 {
        let method =
            [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND][number % 4];
        let mut request = Message::new();
        request.new_transaction_id().unwrap();
        let mut attributes: Vec<Box<dyn Setter>> =
            vec![Box::new(request.transaction_id), Box::new(MessageType::new(method, CLASS_REQUEST))];
        if number % 3 > 0 {
            // signed with anything, for a user who exists or does not
            let user = if number % 3 == 1 { username } else { "9999999999:nobody" };
            attributes.push(Box::new(TextAttribute::new(ATTR_USERNAME, user.to_owned())));
            attributes.push(Box::new(TextAttribute::new(ATTR_REALM, "kvs-local".to_owned())));
            attributes.push(Box::new(TextAttribute::new(ATTR_NONCE, format!("made up {number}"))));
            attributes.push(Box::new(MessageIntegrity(b"guessed".to_vec())));
        }
        request.build(&attributes).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&request.raw, kvs.server.turn_address()).await.unwrap();
        let mut answer = Message { raw: receive(&socket).await, ..Message::default() };
        answer.decode().unwrap();
        assert_eq!(answer.transaction_id, request.transaction_id);
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&answer).unwrap();
        let expected = if number % 3 == 0 { CODE_UNAUTHORIZED } else { CODE_STALE_NONCE };
        assert!(code.code == expected, "{number}: {code}");
        let mut nonce = TextAttribute::new(ATTR_NONCE, String::new());
        nonce.get_from(&answer).unwrap();
        nonces.insert(nonce.text);
    }
    assert_eq!(nonces.len(), 1);
}

/// What is not TURN, what does not go on, and what goes too fast is ended; who keeps to the rules does not notice.
#[tokio::test]
async fn a_connection_that_is_no_turn_is_closed() {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };
    let kvs = start(|_| ()).await;
    let address = kvs.server.turn_address();
    for rubbish in [&[0x80, 0, 0, 0][..], &[0xFF; 40], &[0, 1, 0, 3, 0x21, 0x12, 0xA4, 0x42]] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(rubbish).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(DEADLINE, socket.read_to_end(&mut answer)).await.unwrap();
        // closed with what it sent unread is a reset
        assert!(end.is_err() || answer.is_empty(), "{answer:?}");
    }
    // two Binding requests in pieces: two answers
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    let mut socket = TcpStream::connect(address).await.unwrap();
    for piece in [&request[..], &request[..]].concat().chunks(7) {
        socket.write_all(piece).await.unwrap();
        socket.flush().await.unwrap();
    }
    for _ in 0..2 {
        let mut head = [0; 20];
        timeout(DEADLINE, socket.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!((&head[..2], &head[8..]), (&[1, 1][..], &[7; 12][..]));
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        timeout(DEADLINE, socket.read_exact(&mut rest)).await.unwrap().unwrap();
    }
}
