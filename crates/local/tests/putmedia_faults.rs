//! The faults that can be made under `/_kvs/faults`, as a producer sees them.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{producer::*, *};

async fn fault(kvs: &Kvs, order: Value) -> Reply {
    console(&kvs.server, "POST", "faults", &order.to_string()).await
}

async fn stream_state(kvs: &Kvs) -> Value {
    console(&kvs.server, "GET", "state", "").await.json()["streams"][0].clone()
}

async fn door() -> Kvs {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    kvs
}

/// One session with these fragments, to the end of its answer.
async fn upload(kvs: &Kvs, timecodes: &[u64]) -> Vec<String> {
    let mut session = Session::open(&kvs.server, "door").await;
    let clusters = timecodes.iter().flat_map(|timecode| cluster(*timecode));
    session.send(&header().into_iter().chain(clusters).collect::<Vec<_>>()).await;
    session.finish().await;
    session.acks().await
}

#[tokio::test]
async fn a_reset_comes_after_so_many_fragments_and_loses_the_open_one() {
    let kvs = door().await;
    fault(&kvs, json!({"stream": "door", "action": "reset", "after": 1})).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000)].concat()).await;
    session.send(&cluster(3_000)).await;
    let error = loop {
        match session.try_ack().await {
            Ok(ack) => assert!(ack.is_some(), "the answer ended in peace"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(upload(&kvs, &[5_000]).await.last().unwrap(), "PERSISTED 5000");
    // the session that was reset stores what it had completed on its own time
    let stored = async { while stream_state(&kvs).await["fragments"] != 2 {} };
    tokio::time::timeout(DEADLINE, stored).await.unwrap();
    assert_eq!(stream_state(&kvs).await["faults"], json!([]));
}

#[tokio::test]
async fn a_reset_without_delay_hits_the_session_that_is_open() {
    let kvs = door().await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000)].concat()).await;
    assert_eq!(short(&session.ack().await.unwrap()), "BUFFERING 1000");
    fault(&kvs, json!({"stream": "door", "action": "reset"})).await;
    assert_eq!(session.try_ack().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let state = stream_state(&kvs).await;
    assert_eq!(state["fragments"], 0);
}

#[tokio::test]
async fn an_error_refuses_the_fragment_that_it_is_for() {
    let kvs = door().await;
    fault(&kvs, json!({"stream": "door", "action": "error", "id": 4500, "after": 1})).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000), cluster(3_000)].concat()).await;
    let mut error = Value::Null;
    while let Some(ack) = session.ack().await {
        error = ack;
    }
    assert_eq!((&error["ErrorId"], &error["FragmentTimecode"]), (&json!(4500), &json!(3_000)));
    assert_eq!(error["ErrorCode"], "KMS_KEY_ACCESS_DENIED");
    assert_eq!(error["FragmentNumber"].as_str().unwrap().len(), 47);
    assert_eq!(stream_state(&kvs).await["fragments"], 1);
}

#[tokio::test]
async fn what_is_not_acknowledged_as_persisted_is_not_stored() {
    let kvs = door().await;
    fault(&kvs, json!({"stream": "door", "action": "no_persisted"})).await;
    assert_eq!(upload(&kvs, &[1_000]).await, ["BUFFERING 1000", "RECEIVED 1000"]);
    assert_eq!(stream_state(&kvs).await["fragments"], 0);
    fault(&kvs, json!({"stream": "door", "action": "no_acks", "store": true})).await;
    assert_eq!(upload(&kvs, &[1_000]).await, Vec::<String>::new());
    assert_eq!(stream_state(&kvs).await["fragments"], 1);
    assert_eq!(
        upload(&kvs, &[3_000]).await,
        ["BUFFERING 3000", "RECEIVED 3000", "PERSISTED 3000"],
        "once means one session"
    );
}

#[tokio::test]
async fn requests_are_refused_with_the_status_that_is_asked_for() {
    let kvs = door().await;
    fault(
        &kvs,
        json!({"stream": "door", "action": "http_error", "status": 503, "type": "SlowDown", "times": 2}),
    )
    .await;
    for _ in 0..2 {
        let mut session = Session::open(&kvs.server, "door").await;
        let answer = session.response().await;
        assert_eq!(answer[0], "HTTP/1.1 503 Service Unavailable");
        assert!(answer.contains(&"x-amz-errortype: SlowDown".to_owned()), "{answer:?}");
    }
    assert_eq!(upload(&kvs, &[1_000]).await.len(), 3);
    assert_eq!(stream_state(&kvs).await["putMedia"]["refused"], 2);
}

#[tokio::test]
async fn a_session_that_is_not_read_goes_on_when_the_fault_is_cleared() {
    let kvs = door().await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header(), cluster(1_000)].concat()).await;
    assert_eq!(short(&session.ack().await.unwrap()), "BUFFERING 1000");
    fault(&kvs, json!({"stream": "door", "action": "stop_reading"})).await;
    // It suffers from the next wake-up on, and no longer counts as open then.
    let stopped = async { while stream_state(&kvs).await["putMedia"]["open"] != 0 {} };
    tokio::time::timeout(DEADLINE, stopped).await.unwrap();
    session.send(&cluster(3_000)).await;
    session.finish().await;
    assert_eq!(upload(&kvs, &[9_000]).await.len(), 3, "others are read");
    assert_eq!(stream_state(&kvs).await["putMedia"]["received"], 1);
    assert_eq!(fault(&kvs, json!({"stream": "door", "action": "clear"})).await.json(), json!({"cleared": 1}));
    let acks = session.acks().await;
    assert_eq!(acks.last().unwrap(), "PERSISTED 3000", "{acks:?}");
}

#[tokio::test]
async fn slow_reading_and_late_answers_lose_nothing() {
    let kvs = door().await;
    let body = header().len() + cluster(0).len() * 2;
    let start = std::time::Instant::now();
    for order in [
        json!({"stream": "door", "action": "delay_response", "ms": 50}),
        json!({"stream": "door", "action": "delay_persisted", "ms": 50}),
        json!({"stream": "door", "action": "slow_reading", "bytesPerSecond": body * 10}),
    ] {
        assert_eq!(fault(&kvs, order).await.status, 200);
    }
    let acks = upload(&kvs, &[1_000, 3_000]).await;
    assert_eq!(acks.iter().filter(|ack| ack.starts_with("PERSISTED")).count(), 2, "{acks:?}");
    assert!(start.elapsed().as_millis() >= 150, "{:?}", start.elapsed());
}

/// However many wait for their `PERSISTED`: nothing else is late, and what has come is stored.
#[tokio::test]
async fn a_late_persisted_holds_up_nothing_else() {
    let kvs = door().await;
    fault(&kvs, json!({"stream": "door", "action": "delay_persisted", "ms": 3_600_000, "times": 0})).await;
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&header()).await;
    for second in 0..50 {
        session.send(&cluster(second * 1_000)).await;
    }
    let mut last = String::new();
    while last != "RECEIVED 48000" {
        last = short(&session.ack().await.unwrap());
        assert!(!last.starts_with("PERSISTED"), "{last}");
    }
    let stored = async { while stream_state(&kvs).await["fragments"] != 49 {} };
    tokio::time::timeout(DEADLINE, stored).await.unwrap();
    // A producer that has left does not leave its session behind for an hour.
    drop(session);
    let left = async { while stream_state(&kvs).await["putMedia"]["open"] != 0 {} };
    tokio::time::timeout(DEADLINE, left).await.unwrap();
}

#[tokio::test]
async fn calls_about_a_channel_are_refused_one_by_one() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let ask = async || try_call(&kvs.server, "/v1/get-ice-server-config", json!({ "ChannelARN": arn })).await;
    let order = json!({"channel": "c", "action": "http_error", "status": 403, "call": "GetIceServerConfig", "times": 0});
    assert_eq!(fault(&kvs, order).await.status, 200);
    for _ in 0..2 {
        let refused = ask().await;
        assert_eq!(
            (refused.status, refused.header("x-amzn-errortype")),
            (403, Some("AccessDeniedException"))
        );
    }
    call(&kvs.server, "/describeSignalingChannel", json!({ "ChannelARN": arn })).await;
    let cleared = fault(&kvs, json!({"channel": "c", "action": "clear"})).await.json();
    assert_eq!(cleared, json!({"cleared": 1}));
    assert_eq!(ask().await.status, 200);
    for (order, word) in [
        (json!({"channel": "c", "action": "http_error"}), "call"),
        (json!({"channel": "c", "action": "http_error", "call": "PutMedia"}), "call"),
        (json!({"channel": "c", "action": "reset"}), "action"),
    ] {
        let reply = fault(&kvs, order).await;
        assert_eq!(reply.status, 400);
        assert!(reply.json()["Message"].as_str().unwrap().starts_with(word), "{}", reply.json());
    }
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused() {
    let kvs = door().await;
    for (order, word) in [
        (json!({"stream": "door", "action": "explode"}), "action"),
        (json!({"stream": "door", "action": "error"}), "id"),
        (json!({"stream": "door", "action": "http_error", "status": 200}), "status"),
    ] {
        let reply = fault(&kvs, order).await;
        assert_eq!(reply.status, 400);
        assert!(reply.json()["Message"].as_str().unwrap().contains(word), "{}", reply.json());
    }
    assert_eq!(fault(&kvs, json!({"stream": "window", "action": "reset"})).await.status, 404);
}
