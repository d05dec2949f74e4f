//! A client of the tests' own: HTTP by hand over a socket, and a signer that shares nothing with the verifier.
#![allow(dead_code, clippy::unwrap_used)]

pub mod producer;

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use kvs_local::{AccessKey, Config, Server};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, macros::format_description};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

pub const KEY: (&str, &str) = ("AKIDTEST", "secret/of+tests");
pub const REGION: &str = "eu-west-1";
/// Far longer than anything here takes; a test that reaches it fails.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Kvs {
    pub server: Server,
    pub data: tempfile::TempDir,
}

pub async fn start(change: impl FnOnce(&mut Config)) -> Kvs {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::new(data.path());
    config.access_keys = vec![AccessKey::new(KEY.0, KEY.1)];
    config.region = REGION.to_owned();
    change(&mut config);
    Kvs { server: Server::start(config).await.unwrap(), data }
}

/// A data folder and its configuration, for servers that are started more than once.
pub fn config(data: &tempfile::TempDir) -> Config {
    let mut config = Config::new(data.path());
    config.access_keys = vec![AccessKey::new(KEY.0, KEY.1)];
    config.region = REGION.to_owned();
    config
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub async fn raw(address: &str, request: &[u8]) -> Reply {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        answer
    };
    parse(&tokio::time::timeout(DEADLINE, exchange).await.unwrap())
}

pub fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[end + 4..].to_vec() }
}

pub fn address(server: &Server) -> String {
    server.url().strip_prefix("http://").unwrap().to_owned()
}

fn mac(key: &[u8], data: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn signature(secret: &str, date: &str, region: &str, canonical: &str) -> String {
    let day = &date[..8];
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{day}/{region}/kinesisvideo/aws4_request\n{hash}");
    let mut key = mac(format!("AWS4{secret}").as_bytes(), day);
    for part in [region, "kinesisvideo", "aws4_request"] {
        key = mac(&key, part);
    }
    hex::encode(mac(&key, &text))
}

fn date(offset_seconds: i64) -> String {
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(offset_seconds);
    now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap()
}

/// A signed call as its bytes on the wire.
pub fn signed(
    address: &str,
    key: (&str, &str),
    region: &str,
    offset: i64,
    path: &str,
    body: &str,
) -> Vec<u8> {
    let date = date(offset);
    let hash = hex::encode(Sha256::digest(body));
    let canonical = format!("POST\n{path}\n\nhost:{address}\nx-amz-date:{date}\n\nhost;x-amz-date\n{hash}");
    let signature = signature(key.1, &date, region, &canonical);
    let scope = format!("{}/{}/{region}/kinesisvideo/aws4_request", key.0, &date[..8]);
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nX-Amz-Date: {date}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A signed call that must succeed.
pub async fn call(server: &Server, path: &str, body: Value) -> Value {
    let reply = try_call(server, path, body).await;
    assert_eq!(reply.status, 200, "{path}: {}", String::from_utf8_lossy(&reply.body));
    reply.json()
}

/// A signed call.
pub async fn try_call(server: &Server, path: &str, body: Value) -> Reply {
    let address = address(server);
    raw(&address, &signed(&address, KEY, REGION, 0, path, &body.to_string())).await
}

/// A call of `/_kvs/`, unsigned.
pub async fn console(server: &Server, method: &str, path: &str, body: &str) -> Reply {
    let address = address(server);
    let request = format!(
        "{method} /_kvs/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(&address, request.as_bytes()).await
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The path and query of a signed signaling URL.
pub fn signaling_query(host: &str, arn: &str, client: Option<&str>, offset: i64) -> String {
    let date = date(offset);
    let credential = format!("{}/{}/{REGION}/kinesisvideo/aws4_request", KEY.0, &date[..8]);
    let mut pairs = vec![
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-ChannelARN", arn.to_owned()),
        ("X-Amz-Credential", credential),
        ("X-Amz-Date", date.clone()),
        ("X-Amz-Expires", "299".to_owned()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ];
    pairs.extend(client.map(|client| ("X-Amz-ClientId", client.to_owned())));
    pairs.sort();
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let query = query.join("&");
    let empty = hex::encode(Sha256::digest(""));
    let canonical = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{empty}");
    format!("/?{query}&X-Amz-Signature={}", signature(KEY.1, &date, REGION, &canonical))
}

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Joins a channel; without a client id as its master.
pub async fn join(server: &Server, arn: &str, client: Option<&str>) -> Result<Socket, tungstenite::Error> {
    let host = address(server);
    let url = format!("ws://{host}{}", signaling_query(&host, arn, client, 0));
    let connected = tokio::time::timeout(DEADLINE, tokio_tungstenite::connect_async(url)).await.unwrap();
    connected.map(|(socket, _)| socket)
}

/// Status, error type and body of a refused handshake.
pub fn refusal(result: Result<Socket, tungstenite::Error>) -> (u16, String, String) {
    match result {
        Err(tungstenite::Error::Http(response)) => {
            let kind = response.headers().get("x-amzn-errortype").map(|v| v.to_str().unwrap().to_owned());
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), kind.unwrap_or_default(), String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the handshake was accepted"),
    }
}

pub async fn send(socket: &mut Socket, text: &str) {
    socket.send(tungstenite::Message::text(text)).await.unwrap();
}

pub async fn frame(socket: &mut Socket) -> tungstenite::Message {
    tokio::time::timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap()
}

pub async fn text(socket: &mut Socket) -> String {
    loop {
        match frame(socket).await {
            tungstenite::Message::Text(text) => return text.as_str().to_owned(),
            tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

pub async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        if let tungstenite::Message::Close(frame) = frame(socket).await {
            return frame.unwrap().code.into();
        }
    }
}

pub async fn channel(server: &Server, name: &str) -> String {
    let answer = call(server, "/createSignalingChannel", serde_json::json!({ "ChannelName": name })).await;
    answer["ChannelARN"].as_str().unwrap().to_owned()
}

pub fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
