//! Who gets what of `/_kvs/`, and which web pages may call: another machine, and a page of another origin.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use kvs_local::{Connection, Server};
use serde_json::{Value, json};
use support::*;
use tower::ServiceExt;

const EVIL: &str = "https://evil.example";

/// Asks the server behind its listeners, as who is at `peer`.
async fn ask(server: &Server, peer: &str, request: Request<Body>) -> Response<Body> {
    let mut request = request;
    let local: SocketAddr = "192.0.2.1:8440".parse().unwrap();
    let connection = Connection { local, peer: peer.parse().unwrap(), secure: false };
    request.extensions_mut().insert(connection);
    kvs_local::router(server.app().clone()).oneshot(request).await.unwrap()
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let host = "192.0.2.1:8440";
    Request::builder().method(method).uri(path).header(header::HOST, host).body(body).unwrap()
}

/// Status and message.
async fn refusal_of(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, body["Message"].as_str().unwrap_or_default().to_owned())
}

/// A body that must not be asked for.
fn untouchable() -> Body {
    Body::from_stream(futures::stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<bytes::Bytes, std::io::Error>>> {
            panic!("the body of a refused request was read")
        },
    ))
}

const FOR_READERS: [&str; 6] = [
    "/_kvs/config",
    "/_kvs/state",
    "/_kvs/events",
    "/_kvs/streams/door/fragments",
    "/_kvs/streams/door/timeline?from=0&to=9000&resolution=2",
    "/_kvs/streams/door/media.mkv",
];

#[tokio::test]
async fn another_machine_gets_nothing_of_the_console() {
    let kvs = start(|_| ()).await;
    for peer in ["192.0.2.9:40000", "[2001:db8::9]:40000", "[::ffff:192.0.2.9]:40000"] {
        for path in FOR_READERS.into_iter().chain(["/_kvs/credentials"]) {
            let response = ask(&kvs.server, peer, request(Method::GET, path, untouchable())).await;
            let (status, message) = refusal_of(response).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
            assert!(message.contains("--console-public"), "{path}: {message}");
        }
        for path in ["/_kvs/agents", "/_kvs/faults", "/_kvs/states"] {
            let response = ask(&kvs.server, peer, request(Method::POST, path, untouchable())).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        }
    }
    for peer in ["127.0.0.1:40000", "[::1]:40000", "[::ffff:127.0.0.1]:40000"] {
        let response = ask(&kvs.server, peer, request(Method::GET, "/_kvs/config", Body::empty())).await;
        assert_eq!(response.status(), StatusCode::OK, "{peer}");
    }
}

#[tokio::test]
async fn who_is_invited_reads_and_breaks_nothing() {
    let kvs = start(|config| config.console_public = true).await;
    call(&kvs.server, "/createStream", json!({ "StreamName": "door" })).await;
    let peer = "192.0.2.9:40000";
    for path in &FOR_READERS[..5] {
        let response = ask(&kvs.server, peer, request(Method::GET, path, Body::empty())).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/_kvs/agents"),
        (Method::POST, "/_kvs/faults"),
        (Method::POST, "/_kvs/states"),
        (Method::GET, "/_kvs/credentials"),
    ] {
        let (status, message) =
            refusal_of(ask(&kvs.server, peer, request(method, path, untouchable())).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(message.contains("this machine"), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_timeline_has_no_more_steps_than_a_screen() {
    let kvs = start(|_| ()).await;
    call(&kvs.server, "/createStream", json!({ "StreamName": "door" })).await;
    for (query, named) in [
        ("from=0&to=8191&resolution=1", None),
        ("from=0&to=8192&resolution=1", Some("resolution")),
        ("from=0&to=9&resolution=0", Some("resolution")),
        ("from=9&to=8&resolution=1", Some("to")),
    ] {
        let path = format!("/_kvs/streams/door/timeline?{query}");
        let response = ask(&kvs.server, "127.0.0.1:1", request(Method::GET, &path, Body::empty())).await;
        let (status, message) = refusal_of(response).await;
        assert_eq!(status == StatusCode::OK, named.is_none(), "{query}: {message}");
        assert!(named.is_none_or(|member| message.starts_with(member)), "{query}: {message}");
    }
}

#[tokio::test]
async fn no_body_is_endless() {
    let kvs = start(|_| ()).await;
    let endless = || {
        let piece = bytes::Bytes::from_static(&[b' '; 10_000]);
        Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())))
    };
    for path in ["/_kvs/agents", "/_kvs/faults", "/_kvs/states", "/createStream", "/v1/get-ice-server-config"]
    {
        let response = ask(&kvs.server, "127.0.0.1:1", request(Method::POST, path, endless())).await;
        let (status, message) = refusal_of(response).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(message.contains("longer than"), "{path}: {message}");
    }
}

/// An agent is asked, and of what it says only the outputs are shown, of those only the words; and who has ended is not shown.
#[tokio::test]
async fn what_an_agent_says_of_its_outputs_is_shown() {
    let kvs = start(|_| ()).await;
    let state = || async {
        let response =
            ask(&kvs.server, "127.0.0.1:1", request(Method::GET, "/_kvs/state", Body::empty())).await;
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    assert_eq!(state().await["outputs"], json!([]));
    let output = json!({"name": "live", "type": "rtmp", "state": "Receiving", "reason": "Receiving", "message": "it receives"});
    let mut more = output.clone();
    more["secret"] = "sk_1".into();
    let answer = axum::Json(json!({"phase": "Streaming", "outputs": [more]}));
    let agent = axum::Router::new().route("/status", axum::routing::get(move || async { answer }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/status", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, agent).await });
    let order =
        |url: &str| request(Method::POST, "/_kvs/agents", json!({ "status": url }).to_string().into());
    for url in [&url, &url] {
        let response = ask(&kvs.server, "127.0.0.1:1", order(url)).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while state().await["outputs"] != json!([output]) {
        assert!(std::time::Instant::now() < deadline, "{}", state().await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for url in ["https://127.0.0.1:1/status", "file:///etc/passwd", "no url"] {
        let (status, message) = refusal_of(ask(&kvs.server, "127.0.0.1:1", order(url)).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{url}");
        assert!(message.starts_with("status"), "{message}");
    }
}

fn allowed_origin(response: &Response<Body>) -> Option<&str> {
    response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|origin| origin.to_str().unwrap())
}

/// What a page of somebody else's may do with a server that asks for no signature: nothing.
#[tokio::test]
async fn a_page_of_another_origin_neither_reads_nor_deletes() {
    let kvs = start(|config| {
        config.auth = false;
        config.allow_origins = vec!["http://192.0.2.7:5173".parse().unwrap()];
    })
    .await;
    let arn = call(&kvs.server, "/createStream", json!({ "StreamName": "door" })).await["StreamARN"].clone();
    let channel_arn = channel(&kvs.server, "camera").await;
    let of_page = |origin: &str, method: Method, path: &str, body: String| {
        let mut request = request(method, path, Body::from(body));
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        request
    };
    let delete = json!({ "StreamARN": arn }).to_string();
    for path in ["/deleteStream", "/listStreams", "/getMedia", "/putMedia", "/nothing"] {
        let request = of_page(EVIL, Method::POST, path, delete.clone());
        let response = ask(&kvs.server, "127.0.0.1:1", request).await;
        // The refusal is what the page may read: otherwise its user would never see the remedy.
        assert_eq!(allowed_origin(&response), Some(EVIL), "{path}");
        let (status, message) = refusal_of(response).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(message.contains(EVIL) && message.contains("--allow-origin"), "{message}");
    }
    // A browser asks this first, and shows its page nothing of what was not allowed then.
    let mut preflight = of_page(EVIL, Method::OPTIONS, "/deleteStream", String::new());
    let wanted = "authorization,x-amz-date".parse().unwrap();
    preflight.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_HEADERS, wanted);
    let response = ask(&kvs.server, "127.0.0.1:1", preflight).await;
    assert_eq!((response.status(), allowed_origin(&response)), (StatusCode::OK, Some(EVIL)));
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "authorization,x-amz-date");
    // browsers ask no preflight of a WebSocket
    let address = address(&kvs.server);
    let handshake = format!(
        "GET /?X-Amz-ChannelARN={channel_arn} HTTP/1.1\r\nHost: {address}\r\nOrigin: {EVIL}\r\nConnection: Upgrade, close\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    assert_eq!(raw(&address, handshake.as_bytes()).await.status, 403);
    call(&kvs.server, "/describeStream", json!({ "StreamName": "door" })).await;

    for origin in ["http://localhost:3000", "http://192.0.2.7:5173"] {
        let request = of_page(origin, Method::POST, "/listStreams", "{}".to_owned());
        let response = ask(&kvs.server, "127.0.0.1:1", request).await;
        assert_eq!(response.status(), StatusCode::OK, "{origin}");
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(response.headers()[header::VARY], "origin");
    }
}
