//! PutMedia over a real connection: acknowledgements while the body is open, and what is stored of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use kvs_local::Server;
use serde_json::{Value, json};
use support::*;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// An EBML element with an eight-byte size, as the C++ producer writes them.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.push(0x01);
    out.extend(&u64::try_from(content.len()).unwrap().to_be_bytes()[1..]);
    out.extend(content);
    out
}

/// EBML, Segment of unknown size, and one video track.
fn header() -> Vec<u8> {
    let track =
        [element(&[0xD7], &[1]), element(&[0x83], &[1]), element(&[0x86], b"V_MPEG4/ISO/AVC")].concat();
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track));
    [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), vec![0x18, 0x53, 0x80, 0x67, 0xFF], tracks].concat()
}

/// A cluster of unknown size with a key frame and another.
fn cluster(timecode_ms: u64) -> Vec<u8> {
    let key = element(&[0xA3], &[0x81, 0, 0, 0x80, 1, 2, 3]);
    let other = element(&[0xA3], &[0x81, 0, 33, 0, 4, 5]);
    let timecode = element(&[0xE7], &timecode_ms.to_be_bytes());
    [vec![0x1F, 0x43, 0xB6, 0x75, 0xFF], timecode, key, other].concat()
}

struct Session {
    to: OwnedWriteHalf,
    from: BufReader<OwnedReadHalf>,
}

impl Session {
    /// Sends the head, waits for `100 Continue` and the 200, with nothing of the body sent yet.
    async fn open(server: &Server, stream: &str) -> Self {
        let address = address(server);
        // the signature covers the empty string; the headers of signed() up to its blank line are what is needed
        let head = String::from_utf8(signed(&address, KEY, REGION, 0, "/putMedia", "")).unwrap();
        let head = head.replace("Connection: close\r\n", "").replace("Content-Length: 0\r\n", "");
        let head = head.trim_end().to_owned()
            + &format!(
                "\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nx-amzn-stream-name: {stream}\r\n\
                 x-amzn-fragment-timecode-type: ABSOLUTE\r\nx-amzn-producer-start-timestamp: 1795215762.9\r\n\r\n"
            );
        let socket = TcpStream::connect(address).await.unwrap();
        let (from, mut to) = socket.into_split();
        to.write_all(head.as_bytes()).await.unwrap();
        Self { to, from: BufReader::new(from) }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(DEADLINE, self.from.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    /// The status line and headers of one response.
    async fn response(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return lines;
            }
            lines.push(line);
        }
    }

    async fn send(&mut self, data: &[u8]) {
        let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.to.write_all(&chunk).await.unwrap();
    }

    /// The next acknowledgement; chunk sizes and blank lines are skipped. `None` at the end of the answer.
    async fn ack(&mut self) -> Option<Value> {
        loop {
            match self.line().await {
                line if line.starts_with('{') => return Some(serde_json::from_str(&line).unwrap()),
                line if line == "0" => return None,
                _ => {}
            }
        }
    }
}

async fn stream(server: &Server, name: &str, hours: u32) -> String {
    let body = json!({ "StreamName": name, "DataRetentionInHours": hours });
    call(server, "/createStream", body).await["StreamARN"].as_str().unwrap().to_owned()
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[tokio::test]
async fn fragments_are_acknowledged_while_the_body_is_open() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    stream(s, "door", 1).await;
    let mut session = Session::open(s, "door").await;
    assert_eq!(session.response().await, ["HTTP/1.1 100 Continue"]);
    let answer = session.response().await;
    assert!(answer[0].starts_with("HTTP/1.1 200"), "{answer:?}");

    let t = now_ms();
    session.send(&header()).await;
    session.send(&cluster(t)).await;
    let buffering = session.ack().await.unwrap();
    assert_eq!((&buffering["EventType"], &buffering["FragmentTimecode"]), (&json!("BUFFERING"), &json!(t)));
    let number = buffering["FragmentNumber"].as_str().unwrap().to_owned();
    assert_eq!(number.len(), 47);
    session.send(&cluster(t + 1000)).await;
    for kind in ["RECEIVED", "PERSISTED"] {
        let ack = session.ack().await.unwrap();
        assert_eq!((ack["EventType"].as_str(), ack["FragmentNumber"].as_str()), (Some(kind), Some(&*number)));
        assert_eq!(ack["FragmentTimecode"], t);
    }
    assert_eq!(session.ack().await.unwrap()["EventType"], "BUFFERING");
    session.to.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(session.ack().await.unwrap()["EventType"], "RECEIVED");
    assert_eq!(session.ack().await.unwrap()["EventType"], "PERSISTED");
    assert_eq!(session.ack().await, None);

    let list = call(s, "/listFragments", json!({ "StreamName": "door" })).await;
    let list = list["Fragments"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    assert!(list.iter().any(|fragment| fragment["FragmentNumber"] == number));
    let state = console(s, "GET", "state", "").await.json();
    assert_eq!(state["streams"][0]["fragments"], 2);
    assert_eq!(state["streams"][0]["frames"], 4);
    let media = console(s, "GET", "streams/door/media.mkv", "").await;
    assert_eq!((media.status, media.header("content-type")), (200, Some("video/x-matroska")));
    assert!(media.body.windows(4).any(|window| window == [0x1A, 0x45, 0xDF, 0xA3]));
}

#[tokio::test]
async fn without_retention_nothing_is_persisted() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 0).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(now_ms())].concat()).await;
    session.to.write_all(b"0\r\n\r\n").await.unwrap();
    let mut kinds = Vec::new();
    while let Some(ack) = session.ack().await {
        kinds.push(ack["EventType"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["BUFFERING", "RECEIVED"]);
}

#[tokio::test]
async fn what_is_no_matroska_is_an_error_acknowledgement() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(b"this is not Matroska at all").await;
    let ack = session.ack().await.unwrap();
    assert_eq!((&ack["EventType"], &ack["ErrorId"]), (&json!("ERROR"), &json!(4006)));
    assert_eq!(ack["ErrorCode"], "INVALID_MKV_DATA");
}

#[tokio::test]
async fn a_missing_stream_is_named_before_any_body() {
    let kvs = start(|_| ()).await;
    let mut session = Session::open(&kvs.server, "nowhere").await;
    let answer = session.response().await;
    assert!(answer[0].starts_with("HTTP/1.1 404"), "{answer:?}");
    assert!(answer.iter().any(|line| line == "x-amz-errortype: ResourceNotFoundException"), "{answer:?}");
    let mut body = vec![0; 70];
    let length = timeout(DEADLINE, session.from.read(&mut body)).await.unwrap().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&body[..length]),
        r#"{"Message":"The requested stream is not found or not active."}"#
    );
}

#[tokio::test]
async fn a_deleted_stream_takes_its_media_with_it() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let long = "n".repeat(256);
    let arn = stream(s, &long, 1).await;
    let mut session = Session::open(s, &long).await;
    session.send(&[header(), cluster(now_ms())].concat()).await;
    session.to.write_all(b"0\r\n\r\n").await.unwrap();
    let mut last = Value::Null;
    while let Some(ack) = session.ack().await {
        last = ack;
    }
    assert_eq!(last["EventType"], "PERSISTED");
    let folders: Vec<_> = std::fs::read_dir(kvs.data.path().join("archive")).unwrap().flatten().collect();
    let fragments = || std::fs::read_dir(folders[0].path().join("fragments")).unwrap().count();
    assert_eq!((folders.len(), fragments()), (1, 1));
    call(s, "/deleteStream", json!({ "StreamARN": arn })).await;
    assert_eq!(fragments(), 0);
    stream(s, &long, 1).await;
    assert_eq!(call(s, "/listFragments", json!({ "StreamName": long })).await["Fragments"], json!([]));
}

#[tokio::test]
async fn an_open_session_does_not_hold_up_the_end() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.response().await;
    session.send(&[header(), cluster(now_ms())].concat()).await;
    timeout(Duration::from_secs(4), kvs.server.shutdown()).await.unwrap();
}
