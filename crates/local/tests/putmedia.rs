//! PutMedia over a real connection: acknowledgements while the body is open, and what is stored of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{producer::*, *};
use tokio::{io::AsyncReadExt, time::timeout};

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
    let received = session.ack().await.unwrap();
    assert_eq!((&received["EventType"], &received["FragmentNumber"]), (&json!("RECEIVED"), &json!(number)));
    // these two are independent of each other
    let mut next = [session.ack().await.unwrap(), session.ack().await.unwrap()].map(|ack| short(&ack));
    next.sort();
    assert_eq!(next, [format!("BUFFERING {}", t + 1000), format!("PERSISTED {t}")]);
    session.finish().await;
    assert_eq!(session.ack().await.unwrap()["EventType"], "RECEIVED");
    assert_eq!(session.ack().await.unwrap()["EventType"], "PERSISTED");
    assert_eq!(session.ack().await, None);
}

#[tokio::test]
async fn what_is_persisted_is_listed_counted_and_plays() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    stream(s, "door", 1).await;
    let t = now_ms();
    let mut session = Session::open(s, "door").await;
    session.send(&[header(), cluster(t), cluster(t + 1000)].concat()).await;
    session.finish().await;
    let number = session.ack().await.unwrap()["FragmentNumber"].as_str().unwrap().to_owned();
    session.acks().await;

    let list = call(s, "/listFragments", json!({ "StreamName": "door" })).await;
    let list = list["Fragments"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    assert!(list.iter().any(|fragment| fragment["FragmentNumber"] == number));
    let state = console(s, "GET", "state", "").await.json();
    assert_eq!(state["streams"][0]["fragments"], 2);
    assert_eq!(state["streams"][0]["frames"], 4);
    let fragments = console(s, "GET", "streams/door/fragments", "").await.json();
    let fragments = fragments["fragments"].as_array().unwrap();
    assert_eq!(fragments.len(), 2);
    assert_eq!((&fragments[0]["number"], &fragments[0]["producerMs"]), (&json!(number), &json!(t)));
    assert_eq!(fragments[0]["videoFrames"], 2);
    let media = console(s, "GET", "streams/door/media.mkv", "").await;
    assert_eq!((media.status, media.header("content-type")), (200, Some("video/x-matroska")));
    assert!(media.body.windows(4).any(|window| window == [0x1A, 0x45, 0xDF, 0xA3]));
}

/// A producer finds its fragment by the timecode that it wrote, in the units that it chose; all times are milliseconds.
#[tokio::test]
async fn acknowledgements_carry_the_timecode_as_it_was_sent() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let start_ms = 1_795_215_762_900_u64;
    for (scale, kind) in [
        (1_000_000, "ABSOLUTE"),
        (10_000_000, "ABSOLUTE"),
        (2_000_000, "RELATIVE"),
        (1_500_000, "RELATIVE"),
        (100_000, "ABSOLUTE"),
        (1_000, "RELATIVE"),
    ] {
        let name = format!("{kind}-{scale}");
        stream(s, &name, 1).await;
        let headers = format!(
            "x-amzn-stream-name: {name}\r\nx-amzn-fragment-timecode-type: {kind}\r\n\
             x-amzn-producer-start-timestamp: 1795215762.9\r\n"
        );
        let base = if kind == "ABSOLUTE" { 0 } else { start_ms };
        let first = (if base == 0 { start_ms } else { 5_000 }) * 1_000_000 / scale;
        // The last frame of a cluster is 33 units behind its first, however short a unit is.
        let timecodes = [first, first + 34, first + 12_000_000_000 / scale];
        let mut session = Session::open_with(s, &headers).await;
        session.send(&header_with_scale(scale)).await;
        for timecode in timecodes {
            session.send(&cluster(timecode)).await;
        }
        session.finish().await;
        let acks = session.acks().await;
        for event in ["BUFFERING", "RECEIVED", "PERSISTED"] {
            let sent: Vec<_> = timecodes.iter().map(|timecode| format!("{event} {timecode}")).collect();
            let of_event: Vec<_> = acks.iter().filter(|ack| ack.starts_with(event)).cloned().collect();
            assert_eq!(of_event, sent, "{name}");
        }
        let times = timecodes.map(|timecode| base + timecode * scale / 1_000_000);
        let list = call(s, "/listFragments", json!({ "StreamName": name })).await;
        let list = list["Fragments"].as_array().unwrap().clone();
        let listed =
            |fragment: &Value| (fragment["ProducerTimestamp"].as_f64().unwrap() * 1000.0).round() as u64;
        assert_eq!(list.iter().map(listed).collect::<Vec<_>>(), times, "{name}");
        let frame_ms = (33 * scale).div_ceil(1_000_000);
        let length = list.last().unwrap()["FragmentLengthInMilliseconds"].as_u64().unwrap();
        assert!(length.abs_diff(2 * frame_ms) <= 2, "{name}: {length} ms");
    }
}

#[tokio::test]
async fn an_error_acknowledgement_carries_the_timecode_as_it_was_sent() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header_with_scale(10_000_000), cluster(500), cluster(533)].concat()).await;
    loop {
        let ack = session.ack().await.unwrap();
        if ack["EventType"] == "ERROR" {
            assert_eq!((&ack["ErrorId"], &ack["FragmentTimecode"]), (&json!(4004), &json!(533)));
            break;
        }
    }
}

#[tokio::test]
async fn without_retention_nothing_is_persisted() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 0).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(now_ms())].concat()).await;
    session.finish().await;
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
    session.finish().await;
    let mut last = Value::Null;
    while let Some(ack) = session.ack().await {
        last = ack;
    }
    assert_eq!(last["EventType"], "PERSISTED");
    let folders = || std::fs::read_dir(kvs.data.path().join("archive")).unwrap().count();
    assert_eq!(folders(), 1);
    call(s, "/deleteStream", json!({ "StreamARN": arn })).await;
    assert_eq!(folders(), 0);
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

/// Who is sending when the server ends is told what became of each fragment that was complete.
#[tokio::test]
async fn an_open_session_gets_its_acknowledgements_before_the_end() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000), cluster(3_000)].concat()).await;
    let mut acks = Vec::new();
    while !acks.contains(&"RECEIVED 1000".to_owned()) {
        acks.push(short(&session.ack().await.unwrap()));
    }
    let ending = tokio::spawn(kvs.server.shutdown());
    acks.extend(session.acks().await);
    acks.sort();
    assert_eq!(acks, ["BUFFERING 1000", "BUFFERING 3000", "PERSISTED 1000", "RECEIVED 1000"]);
    timeout(DEADLINE, ending).await.unwrap().unwrap();
}
