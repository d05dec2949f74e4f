//! Storage sessions over HTTP and WebSockets: who is offered what, and what is refused in which words.
#![allow(clippy::unwrap_used)]

mod support;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use support::*;

/// A channel that stores in a stream.
async fn mapped(kvs: &Kvs) -> String {
    let arn = channel(&kvs.server, "door").await;
    let stream = json!({ "StreamName": "door", "DataRetentionInHours": 1 });
    let stream = call(&kvs.server, "/createStream", stream).await;
    let configuration = json!({ "Status": "ENABLED", "StreamARN": stream["StreamARN"] });
    let update = json!({ "ChannelARN": arn, "MediaStorageConfiguration": configuration });
    call(&kvs.server, "/updateMediaStorageConfiguration", update).await;
    arn
}

/// Error type and message of a refusal, whose message this service spells with a small letter.
async fn refused(kvs: &Kvs, path: &str, body: Value) -> (u16, String, String) {
    let reply = try_call(&kvs.server, path, body).await;
    let json = reply.json();
    let message = json["message"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned();
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    (reply.status, reply.header("x-amzn-errortype").unwrap().to_owned(), message)
}

/// An event without a sender's name.
async fn event(socket: &mut Socket) -> (String, Value) {
    let event: Value = serde_json::from_str(&text(socket).await).unwrap();
    assert_eq!(event.get("senderClientId"), None, "{event}");
    let payload = STANDARD.decode(event["messagePayload"].as_str().unwrap()).unwrap();
    (event["messageType"].as_str().unwrap().to_owned(), serde_json::from_slice(&payload).unwrap())
}

#[tokio::test]
async fn the_session_offers_and_refuses_what_it_cannot_take() {
    let kvs = start(|_| {}).await;
    let arn = mapped(&kvs).await;
    let mut master = join(&kvs.server, &arn, None).await.unwrap();
    let mut viewer = join(&kvs.server, &arn, Some("v1")).await.unwrap();

    // nobody talks to anybody else, and there is no session yet
    send(&mut viewer, r#"{"action":"SDP_OFFER","messagePayload":"e30=","correlationId":"1"}"#).await;
    let status: Value = serde_json::from_str(&text(&mut viewer).await).unwrap();
    assert_eq!(status["statusResponse"]["errorType"], "InvalidArgumentException", "{status}");
    assert!(status["statusResponse"]["description"].as_str().unwrap().contains("JoinStorageSessionAsViewer"));
    send(&mut master, r#"{"action":"SDP_ANSWER","messagePayload":"e30=","correlationId":"2"}"#).await;
    let status: Value = serde_json::from_str(&text(&mut master).await).unwrap();
    assert!(status["statusResponse"]["description"].as_str().unwrap().contains("no storage session"));

    let reply = try_call(&kvs.server, "/joinStorageSession", json!({ "channelArn": arn })).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let (kind, offer) = event(&mut master).await;
    assert_eq!((kind.as_str(), &offer["type"]), ("SDP_OFFER", &json!("offer")));
    let sdp = offer["sdp"].as_str().unwrap();
    assert!(
        sdp.contains("H264/90000") && sdp.contains("opus/48000/2") && !sdp.contains("m=application"),
        "{sdp}"
    );
    let (kind, candidate) = event(&mut master).await;
    assert_eq!((kind.as_str(), &candidate["sdpMLineIndex"]), ("ICE_CANDIDATE", &json!(0)));

    // VP8 alone
    let answer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n";
    let answer = STANDARD.encode(json!({ "type": "answer", "sdp": answer }).to_string());
    let message = json!({ "action": "SDP_ANSWER", "messagePayload": answer, "correlationId": "3" });
    send(&mut master, &message.to_string()).await;
    let status: Value = serde_json::from_str(&text(&mut master).await).unwrap();
    assert_eq!(status["statusResponse"]["correlationId"], "3");
    assert_eq!(status["statusResponse"]["statusCode"], "400");
    assert!(status["statusResponse"]["description"].as_str().unwrap().contains("H264"), "{status}");

    let body = json!({ "channelArn": arn, "clientId": "v1" });
    let reply = try_call(&kvs.server, "/joinStorageSessionAsViewer", body).await;
    assert_eq!(reply.status, 200);
    assert_eq!(event(&mut viewer).await.0, "SDP_OFFER");
    kvs.server.shutdown().await;
}

#[tokio::test]
async fn who_may_join_is_as_the_service_says() {
    let kvs = start(|_| {}).await;
    let arn = mapped(&kvs).await;
    let (path, viewers) = ("/joinStorageSession", "/joinStorageSessionAsViewer");
    let other = channel(&kvs.server, "other").await;
    for (body, kind, status, words) in [
        (json!({}), "InvalidArgumentException", 400, "channelArn: is required"),
        (json!({ "channelArn": "x" }), "InvalidArgumentException", 400, "channelArn: "),
        (json!({ "channelArn": 7 }), "InvalidArgumentException", 400, "channelArn: must be a string"),
        (json!({ "channelArn": other }), "InvalidArgumentException", 400, "not mapped to a stream"),
        (
            json!({ "channelArn": arn.replace("/door/", "/gone/") }),
            "ResourceNotFoundException",
            404,
            "not found",
        ),
    ] {
        let (found, error, message) = refused(&kvs, path, body).await;
        assert_eq!((found, error.as_str()), (status, kind), "{message}");
        assert!(message.contains(words), "{message}");
    }
    for client in [json!(null), json!("a b"), json!("x".repeat(257))] {
        let body = json!({ "channelArn": other, "clientId": client });
        let (status, _, message) = refused(&kvs, viewers, body).await;
        assert_eq!(status, 400);
        assert!(message.starts_with("clientId: "), "{message}");
    }
    kvs.server.shutdown().await;
}

#[tokio::test]
async fn there_are_three_viewers() {
    let kvs = start(|_| {}).await;
    let arn = mapped(&kvs).await;
    let viewer = |client: &str| json!({ "channelArn": arn, "clientId": client });
    let path = "/joinStorageSessionAsViewer";
    for client in ["one", "two", "three", "one"] {
        assert_eq!(try_call(&kvs.server, path, viewer(client)).await.status, 200, "{client}");
    }
    let (status, kind, message) = refused(&kvs, path, viewer("four")).await;
    assert_eq!((status, kind.as_str()), (400, "ClientLimitExceededException"));
    assert!(message.contains("3 viewers"), "{message}");
    kvs.server.shutdown().await;
}
