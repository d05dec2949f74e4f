//! Where GetMedia starts and how it ends, read from the socket while the answer is open.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{producer::*, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// An open answer of GetMedia.
struct Reader {
    socket: TcpStream,
    data: Vec<u8>,
    read: usize,
}

fn find(data: &[u8], wanted: &[u8]) -> Option<usize> {
    data.windows(wanted.len()).position(|window| window == wanted)
}

impl Reader {
    async fn open(kvs: &Kvs, selector: Value) -> Self {
        let address = address(&kvs.server);
        let body = json!({ "StreamName": "door", "StartSelector": selector }).to_string();
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(&signed(&address, KEY, REGION, 0, "/getMedia", &body)).await.unwrap();
        let mut reader = Self { socket, data: Vec::new(), read: 0 };
        while find(&reader.data, b"\r\n\r\n").is_none() {
            assert!(reader.more().await, "no answer");
        }
        assert!(reader.data.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&reader.data));
        reader
    }

    async fn more(&mut self) -> bool {
        timeout(DEADLINE, self.socket.read_buf(&mut self.data)).await.expect("nothing came").unwrap() > 0
    }

    /// The number of the next fragment; `None` at the end of the answer.
    async fn number(&mut self) -> Option<String> {
        const TAG: &[u8] = b"AWS_KINESISVIDEO_FRAGMENT_NUMBER";
        loop {
            let rest = &self.data[self.read..];
            if let Some(tag) = find(rest, TAG)
                && let Some(digits) = find(&rest[tag..], b"91343852333")
                && let Some(number) = rest[tag + digits..].get(..47)
            {
                let number = String::from_utf8(number.to_vec()).unwrap();
                self.read += tag + digits + 47;
                return Some(number);
            }
            if !self.more().await {
                assert!(self.data.ends_with(b"\r\n0\r\n\r\n"), "the answer was cut");
                return None;
            }
        }
    }
}

/// Stores these fragments in a session of their own; their numbers.
async fn upload(kvs: &Kvs, timecodes: &[u64]) -> Vec<String> {
    let mut session = Session::open(&kvs.server, "door").await;
    let clusters = timecodes.iter().flat_map(|timecode| cluster(*timecode));
    session.send(&header().into_iter().chain(clusters).collect::<Vec<_>>()).await;
    session.finish().await;
    let mut numbers = Vec::new();
    while let Some(ack) = session.ack().await {
        if ack["EventType"] == "PERSISTED" {
            numbers.push(ack["FragmentNumber"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(numbers.len(), timecodes.len());
    numbers
}

/// Two fragments, and then both again with a third; the numbers of all five.
async fn sent_twice(kvs: &Kvs) -> Vec<String> {
    let first = upload(kvs, &[1_000, 3_000]).await;
    let again = upload(kvs, &[1_000, 3_000, 5_000]).await;
    [first, again].concat()
}

#[tokio::test]
async fn now_is_what_comes_next_even_after_media_of_the_past() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    upload(&kvs, &[20_000, 22_000]).await;
    upload(&kvs, &[1_000, 3_000]).await;
    let mut reader = Reader::open(&kvs, json!({ "StartSelectorType": "NOW" })).await;
    let new = upload(&kvs, &[5_000]).await;
    assert_eq!(reader.number().await.as_ref(), new.first());
}

#[tokio::test]
async fn a_time_starts_at_the_newest_of_what_was_sent_twice() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let first = upload(&kvs, &[1_000, 3_000, 5_000]).await;
    let again = upload(&kvs, &[1_000]).await;
    let at = |kind: &str, ms: u64| json!({ "StartSelectorType": kind, "StartTimestamp": ms as f64 / 1000.0 });
    // In the order of producer times the replayed fragment, which has the largest number, is in front of this one.
    let mut reader = Reader::open(&kvs, at("PRODUCER_TIMESTAMP", 3_010)).await;
    for expected in [&first[1], &first[2], &again[0]] {
        assert_eq!(reader.number().await.as_ref(), Some(expected));
    }
    let mut reader = Reader::open(&kvs, at("PRODUCER_TIMESTAMP", 900)).await;
    assert_eq!(reader.number().await.as_ref(), again.first());
    let mut reader = Reader::open(&kvs, at("SERVER_TIMESTAMP", 0)).await;
    assert_eq!(reader.number().await.as_ref(), first.first());
    let mut reader = Reader::open(&kvs, at("SERVER_TIMESTAMP", now_ms() + 60_000)).await;
    let new = upload(&kvs, &[7_000]).await;
    assert_eq!(reader.number().await.as_ref(), new.first());
}

/// What was sent again is a fragment of its own, with a number of its own: every reader of the archive sees both. It is
/// players that leave out the one with the smaller number.
#[tokio::test]
async fn what_was_sent_twice_is_read_twice_and_counted_once() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let all = sent_twice(&kvs).await;
    let mut reader = Reader::open(&kvs, json!({ "StartSelectorType": "EARLIEST" })).await;
    for number in &all {
        assert_eq!(reader.number().await.as_ref(), Some(number));
    }
    let state = console(&kvs.server, "GET", "state", "").await.json();
    assert_eq!(
        (&state["streams"][0]["fragments"], &state["streams"][0]["duplicates"]),
        (&json!(3), &json!(2))
    );
}

/// Page by page, and by a selector that only the first call names.
#[tokio::test]
async fn what_was_sent_twice_is_listed_twice() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let all = sent_twice(&kvs).await;
    let range = json!({ "StartTimestamp": 1.0, "EndTimestamp": 4.9 });
    let selector = json!({ "FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": range });
    for (selector, mut expected) in [(Value::Null, all.clone()), (selector, all[..4].to_vec())] {
        let mut listed = Vec::new();
        let mut ask = json!({ "StreamName": "door", "MaxResults": 1, "FragmentSelector": selector });
        loop {
            let page = call(&kvs.server, "/listFragments", ask).await;
            let fragments = page["Fragments"].as_array().unwrap();
            assert!(fragments.len() <= 1);
            let number = |fragment: &Value| fragment["FragmentNumber"].as_str().unwrap().to_owned();
            listed.extend(fragments.iter().map(number));
            let Some(token) = page["NextToken"].as_str() else { break };
            ask = json!({ "StreamName": "door", "MaxResults": 1, "NextToken": token });
        }
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected);
    }
}

#[tokio::test]
async fn a_token_lists_no_other_stream() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    upload(&kvs, &[1_000, 3_000]).await;
    let other = call(&kvs.server, "/createStream", json!({ "StreamName": "gate" })).await;
    assert!(other["StreamARN"].is_string());
    let page = call(&kvs.server, "/listFragments", json!({ "StreamName": "door", "MaxResults": 1 })).await;
    let foreign = json!({ "StreamName": "gate", "NextToken": page["NextToken"] });
    let refused = try_call(&kvs.server, "/listFragments", foreign).await;
    assert!(refused.json()["Message"].as_str().unwrap().starts_with("NextToken: "));
}

#[tokio::test]
async fn the_end_of_the_stream_is_the_end_of_the_answer() {
    let kvs = start(|_| ()).await;
    let arn = stream(&kvs.server, "door", 1).await;
    let numbers = upload(&kvs, &[1_000]).await;
    let mut reader = Reader::open(&kvs, json!({ "StartSelectorType": "EARLIEST" })).await;
    assert_eq!(reader.number().await.as_ref(), numbers.first());
    call(&kvs.server, "/deleteStream", json!({ "StreamARN": arn })).await;
    assert_eq!(reader.number().await, None);
}

/// The end of the server does not lose what was complete, and does not wait for what a fault holds back.
#[tokio::test]
async fn what_is_complete_is_stored_before_the_end() {
    let data = tempfile::tempdir().unwrap();
    let kvs = Kvs { server: kvs_local::Server::start(config(&data)).await.unwrap(), data };
    stream(&kvs.server, "door", 1).await;
    let order = json!({ "stream": "door", "action": "delay_persisted", "ms": 3_600_000 });
    assert_eq!(console(&kvs.server, "POST", "faults", &order.to_string()).await.status, 200);
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000), cluster(3_000)].concat()).await;
    while short(&session.ack().await.unwrap()) != "RECEIVED 1000" {}
    let Kvs { server, data } = kvs;
    timeout(Duration::from_secs(4), server.shutdown()).await.unwrap();
    let kvs = Kvs { server: kvs_local::Server::start(config(&data)).await.unwrap(), data };
    let list = call(&kvs.server, "/listFragments", json!({ "StreamName": "door" })).await;
    assert_eq!(list["Fragments"].as_array().unwrap().len(), 1);
    assert_eq!(list["Fragments"][0]["ProducerTimestamp"], 1.0);
}
