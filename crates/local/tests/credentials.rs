//! Temporary credentials, from `/_kvs/credentials` to their end.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{producer::*, *};

async fn issue(kvs: &Kvs, query: &str) -> Value {
    console(&kvs.server, "GET", &format!("credentials{query}"), "").await.json()
}

fn key(issued: &Value) -> (&str, &str) {
    (issued["AccessKeyId"].as_str().unwrap(), issued["SecretAccessKey"].as_str().unwrap())
}

async fn list_streams(kvs: &Kvs, issued: &Value, token: &str) -> Reply {
    let address = address(&kvs.server);
    let request = String::from_utf8(signed(&address, key(issued), REGION, 0, "/listStreams", "{}")).unwrap();
    let request = request.replacen("\r\n", &format!("\r\nX-Amz-Security-Token: {token}\r\n"), 1);
    raw(&address, request.as_bytes()).await
}

#[tokio::test]
async fn they_call_with_their_token_until_they_end() {
    let kvs = start(|_| ()).await;
    let issued = issue(&kvs, "?seconds=2").await;
    let token = issued["Token"].as_str().unwrap();
    assert!(issued["AccessKeyId"].as_str().unwrap().starts_with("ASIA"), "{issued}");
    assert!(issued["Expiration"].as_str().unwrap().ends_with('Z'), "{issued}");
    assert_eq!(list_streams(&kvs, &issued, token).await.status, 200);
    let wrong = list_streams(&kvs, &issued, "other").await;
    assert_eq!((wrong.status, wrong.header("x-amzn-errortype")), (403, Some("UnrecognizedClientException")));
    let ended = async {
        loop {
            let reply = list_streams(&kvs, &issued, token).await;
            if reply.status != 200 {
                return reply;
            }
        }
    };
    let ended = tokio::time::timeout(DEADLINE, ended).await.unwrap();
    assert_eq!((ended.status, ended.header("x-amz-errortype")), (403, Some("ExpiredTokenException")));
    assert_eq!(ended.json()["message"], "The security token included in the request is expired");
    let refused = console(&kvs.server, "GET", "credentials?seconds=0", "").await;
    assert!(refused.json()["Message"].as_str().unwrap().starts_with("seconds"));
}

#[tokio::test]
async fn a_session_ends_with_the_credentials_that_opened_it() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let issued = issue(&kvs, "?seconds=2").await;
    let headers = format!(
        "x-amzn-stream-name: door\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\nX-Amz-Security-Token: {}\r\n",
        issued["Token"].as_str().unwrap()
    );
    let mut session = Session::open_as(&kvs.server, key(&issued), &headers).await;
    session.send(&[header(), cluster(1_000), cluster(3_000)].concat()).await;
    let mut acks = Vec::new();
    while let Ok(Some(ack)) = session.try_ack().await {
        acks.push(short(&ack));
    }
    // Storing takes its own time.
    acks.sort();
    assert_eq!(acks, ["BUFFERING 1000", "BUFFERING 3000", "PERSISTED 1000", "RECEIVED 1000"]);
    let state = console(&kvs.server, "GET", "state", "").await.json();
    assert_eq!(state["streams"][0]["putMedia"]["cut"], json!(1), "the open fragment is not stored");
}
