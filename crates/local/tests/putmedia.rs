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
    let mut two = [session.ack().await.unwrap(), session.ack().await.unwrap()];
    two.sort_by_key(|ack| ack["EventType"].to_string());
    assert_eq!((&two[0]["EventType"], &two[0]["FragmentTimecode"]), (&json!("BUFFERING"), &json!(t + 1000)));
    assert_eq!((&two[1]["EventType"], &two[1]["FragmentTimecode"]), (&json!("PERSISTED"), &json!(t)));
    session.finish().await;
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
    let fragments = console(s, "GET", "streams/door/fragments", "").await.json();
    let fragments = fragments["fragments"].as_array().unwrap();
    assert_eq!(fragments.len(), 2);
    assert_eq!((&fragments[0]["number"], &fragments[0]["producerMs"]), (&json!(number), &json!(t)));
    assert_eq!(fragments[0]["videoFrames"], 2);
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
