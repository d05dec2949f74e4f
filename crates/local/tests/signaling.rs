//! Signaling over real WebSockets, and the faults that tests of clients ask for.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::*;

fn many(config: &mut kvs_local::Config) {
    config.signaling.connects_per_second = 100;
}

#[tokio::test]
async fn offer_answer_and_candidates() {
    let kvs = start(many).await;
    let s = &kvs.server;
    let arn = channel(s, "c").await;
    let mut viewer = join(s, &arn, Some("v1")).await.unwrap();
    // before there is a master
    send(&mut viewer, r#"{"action":"SDP_OFFER","messagePayload":"eyJ0IjoxfQ=="}"#).await;
    send(&mut viewer, "").await;
    send(&mut viewer, "not JSON").await;
    send(&mut viewer, r#"{"action":"ICE_CANDIDATE","messagePayload":"e30="}"#).await;
    // the answer to a refused message shows that all before it has been handled
    send(&mut viewer, r#"{"action":"NO","correlationId":"c7"}"#).await;
    let status: Value = serde_json::from_str(&text(&mut viewer).await).unwrap();
    assert_eq!(status["statusResponse"]["correlationId"], "c7");
    assert_eq!(status["statusResponse"]["errorType"], "InvalidArgumentException");
    assert_eq!(status["statusResponse"]["statusCode"], "400");

    let mut master = join(s, &arn, None).await.unwrap();
    let first = text(&mut master).await;
    assert_eq!(first, r#"{"messagePayload":"eyJ0IjoxfQ==","messageType":"SDP_OFFER","senderClientId":"v1"}"#);
    assert!(text(&mut master).await.contains("ICE_CANDIDATE"));
    send(&mut master, r#"{"action":"SDP_ANSWER","RecipientClientId":"v1","MessagePayload":"e30"}"#).await;
    assert_eq!(text(&mut viewer).await, r#"{"messagePayload":"e30","messageType":"SDP_ANSWER"}"#);

    let state = console(s, "GET", "state", "").await.json();
    assert_eq!(state["channels"][0]["master"], true);
    assert_eq!(state["channels"][0]["viewers"], json!(["v1"]));
}

#[tokio::test]
async fn handshakes_are_refused_as_the_service_does() {
    let kvs = start(many).await;
    let s = &kvs.server;
    let arn = channel(s, "c").await;
    let (status, kind, _) = refusal(join(s, &arn.replace("/c/", "/d/"), None).await);
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));
    let (status, kind, body) = refusal(join(s, &arn, Some("AWS_x")).await);
    assert_eq!((status, kind.as_str()), (400, "InvalidArgumentException"));
    assert!(body.contains("X-Amz-ClientId"), "{body}");

    let host = address(s);
    let old = format!("ws://{host}{}", signaling_query(&host, &arn, None, -900));
    let (status, kind, body) = refusal(tokio_tungstenite::connect_async(old).await.map(|(socket, _)| socket));
    assert_eq!((status, kind.as_str()), (403, "InvalidSignatureException"));
    assert!(body.contains("Signature expired"), "{body}");
    let changed = format!(
        "ws://{host}{}",
        signaling_query(&host, &arn, Some("a"), 0).replace("ClientId=a", "ClientId=b")
    );
    let (status, ..) = refusal(tokio_tungstenite::connect_async(changed).await.map(|(socket, _)| socket));
    assert_eq!(status, 403);
}

#[tokio::test]
async fn ten_viewers_one_master() {
    let kvs = start(many).await;
    let s = &kvs.server;
    let arn = channel(s, "c").await;
    let mut viewers = Vec::new();
    for n in 0..10 {
        viewers.push(join(s, &arn, Some(&format!("v{n}"))).await.unwrap());
    }
    let (status, kind, _) = refusal(join(s, &arn, Some("v10")).await);
    assert_eq!((status, kind.as_str()), (400, "ClientLimitExceededException"));
    let _again = join(s, &arn, Some("v0")).await.unwrap();
    assert_eq!(close_code(&mut viewers[0]).await, 1000);
    let mut first = join(s, &arn, None).await.unwrap();
    let _second = join(s, &arn, None).await.unwrap();
    assert_eq!(close_code(&mut first).await, 1000);
}

#[tokio::test]
async fn handshakes_have_a_rate() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let mut joined = Vec::new();
    let refused = loop {
        match join(&kvs.server, &arn, None).await {
            Ok(socket) => joined.push(socket),
            refused => break refusal(refused),
        }
        assert!(joined.len() < 100);
    };
    assert_eq!(refused.1, "ClientLimitExceededException");
}

#[tokio::test]
async fn connections_are_sent_go_away_and_end() {
    let kvs = start(|config| {
        config.signaling.connection = Duration::from_millis(1200);
        config.signaling.go_away = Duration::from_millis(700);
    })
    .await;
    let arn = channel(&kvs.server, "c").await;
    let mut viewer = join(&kvs.server, &arn, Some("v")).await.unwrap();
    assert_eq!(text(&mut viewer).await, r#"{"messageType":"GO_AWAY"}"#);
    assert_eq!(close_code(&mut viewer).await, 1001);
}

#[tokio::test]
async fn a_deleted_channel_ends_its_connections() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let mut viewer = join(&kvs.server, &arn, Some("v")).await.unwrap();
    call(&kvs.server, "/deleteSignalingChannel", json!({ "ChannelARN": arn })).await;
    assert_eq!(close_code(&mut viewer).await, 1001);
}

#[tokio::test]
async fn the_end_of_the_server_is_a_clean_close() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let mut viewer = join(&kvs.server, &arn, Some("v")).await.unwrap();
    let closed = tokio::spawn(async move { close_code(&mut viewer).await });
    kvs.server.shutdown().await;
    assert_eq!(closed.await.unwrap(), 1001);
}

#[tokio::test]
async fn faults_reach_whom_they_are_for() {
    let kvs = start(many).await;
    let s = &kvs.server;
    let arn = channel(s, "c").await;
    let mut viewer = join(s, &arn, Some("v")).await.unwrap();
    let mut master = join(s, &arn, None).await.unwrap();
    let fault = async |body: Value| console(s, "POST", "faults", &body.to_string()).await;
    let both = fault(json!({ "channel": "c", "action": "go_away" })).await;
    assert_eq!(both.json()["connections"], 2);
    assert_eq!(text(&mut viewer).await, r#"{"messageType":"GO_AWAY"}"#);
    assert_eq!(text(&mut master).await, r#"{"messageType":"GO_AWAY"}"#);
    fault(json!({ "channel": "c", "client": "v", "action": "reconnect_ice_server" })).await;
    assert_eq!(text(&mut viewer).await, r#"{"messageType":"RECONNECT_ICE_SERVER"}"#);
    fault(json!({ "channel": "c", "client": "v", "action": "text", "text": "{no JSON" })).await;
    assert_eq!(text(&mut viewer).await, "{no JSON");
    fault(json!({ "channel": "c", "client": "MASTER", "action": "close" })).await;
    assert_eq!(close_code(&mut master).await, 1001);
    fault(json!({ "channel": "c", "client": "v", "action": "close", "code": 4001 })).await;
    assert_eq!(close_code(&mut viewer).await, 4001);
    assert_eq!(fault(json!({ "channel": "nobody", "action": "go_away" })).await.status, 404);
    assert_eq!(fault(json!({ "channel": "c", "action": "explode" })).await.status, 400);
}
