//! What PutMedia refuses, how long sessions live, and how they end.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{producer::*, *};
use tokio::io::AsyncWriteExt;

async fn stream_state(kvs: &Kvs) -> Value {
    console(&kvs.server, "GET", "state", "").await.json()["streams"][0].clone()
}

/// Polls the state until it is as wanted.
async fn wait_for(kvs: &Kvs, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let reached = async {
        loop {
            let state = stream_state(kvs).await;
            if wanted(&state) {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(DEADLINE, reached).await {
        Ok(state) => state,
        Err(_) => panic!("{what}: {}", stream_state(kvs).await),
    }
}

async fn refused(kvs: &Kvs, headers: &str) -> (String, String, String) {
    let mut session = Session::open_with(&kvs.server, headers).await;
    let answer = session.response().await;
    let kind = answer.iter().find_map(|line| line.strip_prefix("x-amz-errortype: ")).unwrap_or_default();
    (answer[0].clone(), kind.to_owned(), session.refusal().await)
}

#[tokio::test]
async fn headers_that_do_not_fit_are_named() {
    let kvs = start(|_| ()).await;
    let arn = stream(&kvs.server, "door", 1).await;
    let absolute = "x-amzn-fragment-timecode-type: ABSOLUTE\r\n";
    for (headers, word) in [
        (absolute.to_owned(), "x-amzn-stream-name"),
        (format!("x-amzn-stream-name: door\r\nx-amzn-stream-arn: {arn}\r\n{absolute}"), "x-amzn-stream-arn"),
        ("x-amzn-stream-name: door\r\n".to_owned(), "x-amzn-fragment-timecode-type"),
        (
            "x-amzn-stream-name: door\r\nx-amzn-fragment-timecode-type: RELATIVE\r\n".to_owned(),
            "x-amzn-producer-start-timestamp",
        ),
        (
            format!("x-amzn-stream-name: door\r\n{absolute}x-amzn-fragment-acknowledgment-required: 2\r\n"),
            "x-amzn-fragment-acknowledgment-required",
        ),
    ] {
        let (status, kind, body) = refused(&kvs, &headers).await;
        assert_eq!((&*status, &*kind), ("HTTP/1.1 400 Bad Request", "InvalidArgumentException"), "{headers}");
        assert!(body.contains(word), "{headers}: {body}");
    }
    let unknown = format!("x-amzn-stream-arn: {}1\r\n{absolute}", arn);
    assert_eq!(refused(&kvs, &unknown).await.1, "ResourceNotFoundException");
}

#[tokio::test]
async fn relative_timecodes_count_from_the_start_and_are_acknowledged_as_sent() {
    let kvs = start(|_| ()).await;
    let arn = stream(&kvs.server, "door", 1).await;
    let mut session = Session::open_with(
        &kvs.server,
        &format!(
            "x-amzn-stream-arn: {arn}\r\nx-amzn-fragment-timecode-type: RELATIVE\r\n\
             x-amzn-producer-start-timestamp: 1795215762.982\r\nx-amzn-fragment-acknowledgment-required: 1\r\n"
        ),
    )
    .await;
    session.send(&[header(), cluster(250)].concat()).await;
    session.finish().await;
    assert_eq!(session.acks().await, ["BUFFERING 250", "RECEIVED 250", "PERSISTED 250"]);
    let list = call(&kvs.server, "/listFragments", json!({ "StreamName": "door" })).await;
    assert_eq!(list["Fragments"][0]["ProducerTimestamp"], 1_795_215_763.232);
    assert_eq!(list["Fragments"][0]["FragmentLengthInMilliseconds"], 66);
}

#[tokio::test]
async fn acknowledgements_can_be_declined() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open_with(
        &kvs.server,
        "x-amzn-stream-name: door\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n\
         x-amzn-fragment-acknowledgment-required: 0\r\n",
    )
    .await;
    session.send(&[header(), cluster(now_ms())].concat()).await;
    session.finish().await;
    assert_eq!(session.acks().await, Vec::<String>::new());
    assert_eq!(stream_state(&kvs).await["fragments"], 1);
}

#[tokio::test]
async fn an_error_ends_the_session_after_what_is_complete() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(5_000), cluster(5_010)].concat()).await;
    let mut acks = session.acks().await;
    assert_eq!(acks.pop().unwrap(), "ERROR 4004");
    acks.sort();
    assert_eq!(acks, ["BUFFERING 5000", "BUFFERING 5010", "PERSISTED 5000", "RECEIVED 5000"]);
    let state = stream_state(&kvs).await;
    assert_eq!(state["putMedia"]["errors"], json!({"4004": 1}));
    assert_eq!((&state["fragments"], &state["putMedia"]["open"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_cut_connection_leaves_no_half_fragment() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000), cluster(3_000)].concat()).await;
    while short(&session.ack().await.unwrap()) != "PERSISTED 1000" {}
    drop(session);
    let state = wait_for(&kvs, "the cut session still counts", |state| state["putMedia"]["cut"] == 1).await;
    assert_eq!((&state["fragments"], &state["putMedia"]["open"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_replayed_fragment_counts_once_and_is_counted_as_duplicate() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let mut session = Session::open(&kvs.server, "door").await;
        session.send(&[header(), cluster(1_000), cluster(3_000)].concat()).await;
        session.finish().await;
        while let Some(ack) = session.ack().await {
            if short(&ack) == "PERSISTED 3000" {
                numbers.push(ack["FragmentNumber"].as_str().unwrap().to_owned());
            }
        }
    }
    assert!(numbers[1] > numbers[0]);
    let state = stream_state(&kvs).await;
    assert_eq!((&state["fragments"], &state["duplicates"]), (&json!(2), &json!(2)));
    let list = call(&kvs.server, "/listFragments", json!({ "StreamName": "door" })).await;
    let list = list["Fragments"].as_array().unwrap();
    assert_eq!(list.len(), 4, "both are fragments of the stream");
    let of_3000: Vec<_> =
        list[2..].iter().map(|fragment| fragment["FragmentNumber"].as_str().unwrap()).collect();
    assert_eq!(of_3000, numbers);
    let played = console(&kvs.server, "GET", "streams/door/fragments", "").await.json();
    assert_eq!(played["fragments"].as_array().unwrap().len(), 2);
    assert_eq!(played["fragments"][1]["number"], numbers[1], "the newest is played");
}

#[tokio::test]
async fn two_sessions_of_a_stream_interleave_and_a_third_is_refused() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut first = Session::open(&kvs.server, "door").await;
    first.response().await;
    let mut second = Session::open(&kvs.server, "door").await;
    second.response().await;
    let named = "x-amzn-stream-name: door\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n";
    let (status, kind, _) = refused(&kvs, named).await;
    assert_eq!((&*status, &*kind), ("HTTP/1.1 400 Bad Request", "ConnectionLimitExceededException"));
    first.send(&[header(), cluster(1_000)].concat()).await;
    assert_eq!(short(&first.ack().await.unwrap()), "BUFFERING 1000");
    second.send(&[header(), cluster(3_000)].concat()).await;
    second.finish().await;
    assert_eq!(second.acks().await, ["BUFFERING 3000", "RECEIVED 3000", "PERSISTED 3000"]);
    first.finish().await;
    assert_eq!(first.acks().await, ["RECEIVED 1000", "PERSISTED 1000"]);
    let state = stream_state(&kvs).await;
    assert_eq!((&state["putMedia"]["sessions"], &state["putMedia"]["refused"]), (&json!(2), &json!(1)));
    assert_eq!(state["putMedia"]["open"], 0);
}

#[tokio::test]
async fn silence_is_acknowledged_as_idle_and_ends_the_session() {
    let kvs = start(|config| {
        config.put_media.idle_ack = Duration::from_millis(40);
        config.put_media.idle = Duration::from_millis(100);
    })
    .await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    assert_eq!(session.acks().await, ["IDLE", "IDLE"]);
}

#[tokio::test]
async fn a_session_that_is_too_old_ends_with_4003() {
    let kvs = start(|config| config.put_media.lifetime = Duration::from_millis(100)).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000)].concat()).await;
    assert_eq!(session.acks().await, ["BUFFERING 1000", "ERROR 4003"]);
}

#[tokio::test]
async fn a_stream_that_is_deleted_meanwhile_is_not_active() {
    let kvs = start(|_| ()).await;
    let arn = stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000)].concat()).await;
    assert_eq!(short(&session.ack().await.unwrap()), "BUFFERING 1000");
    call(&kvs.server, "/deleteStream", json!({ "StreamARN": arn })).await;
    assert_eq!(session.acks().await, ["ERROR 4008"]);
}

#[tokio::test]
async fn a_fragment_that_is_too_long_is_refused() {
    let kvs = start(|config| config.put_media.fragment.fragment_bytes = 10_000).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    let frame = element(&[0xA3], &[&[0x81, 0, 50, 0][..], &[7; 10_000]].concat());
    session.send(&[header(), cluster(1_000), frame].concat()).await;
    assert_eq!(session.acks().await, ["BUFFERING 1000", "ERROR 4001"]);
}

#[tokio::test]
async fn any_cut_of_the_body_into_chunks_is_the_same() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let mut session = Session::open(&kvs.server, "door").await;
    let body = [header(), cluster(1_000), cluster(3_000)].concat();
    for byte in body {
        session.send(&[byte]).await;
    }
    session.to.flush().await.unwrap();
    session.finish().await;
    let mut acks = session.acks().await;
    acks.sort();
    assert_eq!(
        acks,
        [
            "BUFFERING 1000",
            "BUFFERING 3000",
            "PERSISTED 1000",
            "PERSISTED 3000",
            "RECEIVED 1000",
            "RECEIVED 3000"
        ]
    );
}
