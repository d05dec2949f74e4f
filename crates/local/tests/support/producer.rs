//! A PutMedia producer by hand: Matroska bytes, HTTP/1.1 with a chunked body, acknowledgements line by line.
#![allow(dead_code, clippy::unwrap_used)]

use std::{io, time::Duration};

use kvs_local::Server;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::{KEY, REGION, address, call, signed};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// An EBML element with an eight-byte size, as the C++ producer writes them.
pub fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.push(0x01);
    out.extend(&u64::try_from(content.len()).unwrap().to_be_bytes()[1..]);
    out.extend(content);
    out
}

/// EBML, Segment of unknown size, and one video track.
pub fn header() -> Vec<u8> {
    header_with_scale(1_000_000)
}

/// The same with this `TimecodeScale`, in nanoseconds.
pub fn header_with_scale(scale: u64) -> Vec<u8> {
    let track =
        [element(&[0xD7], &[1]), element(&[0x83], &[1]), element(&[0x86], b"V_MPEG4/ISO/AVC")].concat();
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track));
    let info = element(&[0x15, 0x49, 0xA9, 0x66], &element(&[0x2A, 0xD7, 0xB1], &scale.to_be_bytes()));
    [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), vec![0x18, 0x53, 0x80, 0x67, 0xFF], info, tracks].concat()
}

/// A cluster of unknown size with a key frame and another, 33 units of the header's scale later.
pub fn cluster(timecode: u64) -> Vec<u8> {
    let key = element(&[0xA3], &[0x81, 0, 0, 0x80, 1, 2, 3]);
    let other = element(&[0xA3], &[0x81, 0, 33, 0, 4, 5]);
    let timecode = element(&[0xE7], &timecode.to_be_bytes());
    [vec![0x1F, 0x43, 0xB6, 0x75, 0xFF], timecode, key, other].concat()
}

pub struct Session {
    pub to: OwnedWriteHalf,
    pub from: BufReader<OwnedReadHalf>,
}

impl Session {
    /// Sends the head, waits for `100 Continue` and the 200, with nothing of the body sent yet.
    pub async fn open(server: &Server, stream: &str) -> Self {
        let headers = format!(
            "x-amzn-stream-name: {stream}\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n\
             x-amzn-producer-start-timestamp: 1795215762.9\r\n"
        );
        Self::open_with(server, &headers).await
    }

    /// The same with these headers.
    pub async fn open_with(server: &Server, headers: &str) -> Self {
        Self::open_as(server, KEY, headers).await
    }

    /// The same with this key.
    pub async fn open_as(server: &Server, key: (&str, &str), headers: &str) -> Self {
        Self::open_at(&address(server), key, headers).await
    }

    /// The same at this address, of a process of its own.
    pub async fn open_at(address: &str, key: (&str, &str), headers: &str) -> Self {
        // the signature covers the empty string; the headers of signed() up to its blank line are what is needed
        let head = String::from_utf8(signed(address, key, REGION, 0, "/putMedia", "")).unwrap();
        let head = head.replace("Connection: close\r\n", "").replace("Content-Length: 0\r\n", "");
        let head = head.trim_end().to_owned()
            + "\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
            + headers
            + "\r\n";
        let socket = TcpStream::connect(address).await.unwrap();
        let (from, mut to) = socket.into_split();
        to.write_all(head.as_bytes()).await.unwrap();
        Self { to, from: BufReader::new(from) }
    }

    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(DEADLINE, self.from.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    /// The status line and headers of one response.
    pub async fn response(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return lines;
            }
            lines.push(line);
        }
    }

    pub async fn send(&mut self, data: &[u8]) {
        let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.to.write_all(&chunk).await.unwrap();
    }

    /// The body of a refusal: a JSON object without braces in it.
    pub async fn refusal(&mut self) -> String {
        let mut text = Vec::new();
        timeout(DEADLINE, self.from.read_until(b'}', &mut text)).await.unwrap().unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Ends the body.
    pub async fn finish(&mut self) {
        self.to.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// The next acknowledgement, or how the answer ended instead: `Ok(None)` when it is complete.
    pub async fn try_ack(&mut self) -> io::Result<Option<Value>> {
        loop {
            let mut line = String::new();
            if timeout(DEADLINE, self.from.read_line(&mut line)).await.expect("no acknowledgement came")? == 0
            {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                line if line.starts_with('{') => return Ok(Some(serde_json::from_str(line).unwrap())),
                "0" => return Ok(None),
                _ => {}
            }
        }
    }

    /// The next acknowledgement; chunk sizes and blank lines are skipped. `None` at the end of the answer.
    pub async fn ack(&mut self) -> Option<Value> {
        self.try_ack().await.unwrap()
    }

    /// All acknowledgements up to the end of the answer, as `TYPE timecode` or `ERROR id`.
    pub async fn acks(&mut self) -> Vec<String> {
        let mut acks = Vec::new();
        while let Some(ack) = self.ack().await {
            acks.push(short(&ack));
        }
        acks
    }
}

/// `RECEIVED 1000`, `ERROR 4006`, `IDLE`.
pub fn short(ack: &Value) -> String {
    let kind = ack["EventType"].as_str().unwrap();
    match kind {
        "ERROR" => format!("ERROR {}", ack["ErrorId"]),
        "IDLE" => kind.to_owned(),
        _ => format!("{kind} {}", ack["FragmentTimecode"]),
    }
}

pub async fn stream(server: &Server, name: &str, hours: u32) -> String {
    let body = json!({ "StreamName": name, "DataRetentionInHours": hours });
    call(server, "/createStream", body).await["StreamARN"].as_str().unwrap().to_owned()
}

pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}
