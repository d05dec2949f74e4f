//! Keys of several accounts: each has names of its own, and reaches nothing of another.
#![allow(clippy::unwrap_used)]

mod support;

use kvs_local::{AccessKey, Server};
use serde_json::{Value, json};

use self::support::producer::Session;
use self::support::*;

const OURS: (&str, &str) = ("AKIDOURS", "our/secret");
const THEIRS: (&str, &str) = ("AKIDTHEIRS", "their/secret");
const ACCOUNTS: [((&str, &str), &str); 2] = [(OURS, "111122223333"), (THEIRS, "444455556666")];

fn with_accounts(config: &mut kvs_local::Config) {
    let of = |((id, secret), account): ((&str, &str), &str)| AccessKey::new(id, secret).of_account(account);
    config.access_keys.extend(ACCOUNTS.map(of));
}

async fn call_as(server: &Server, key: (&str, &str), path: &str, body: Value) -> (u16, Value) {
    let address = address(server);
    let reply = raw(&address, &signed(&address, key, REGION, 0, path, &body.to_string())).await;
    let kind = reply.header("x-amzn-errortype").map(str::to_owned);
    (reply.status, kind.map_or_else(|| reply.json(), Value::from))
}

#[tokio::test]
async fn each_account_has_its_own() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(&data);
    with_accounts(&mut config);
    let server = Server::start(config.clone()).await.unwrap();
    let ours = |path: &'static str, body: Value| call_as(&server, OURS, path, body);
    let theirs = |path: &'static str, body: Value| call_as(&server, THEIRS, path, body);

    // the same names, whose ARNs say whose they are
    let mut arns = Vec::new();
    for (key, account) in ACCOUNTS {
        for (path, member, name, kind) in [
            ("/createStream", "StreamARN", "StreamName", "stream"),
            ("/createSignalingChannel", "ChannelARN", "ChannelName", "channel"),
        ] {
            let mut body = json!({name: "door"});
            if kind == "stream" {
                body["DataRetentionInHours"] = json!(1);
            }
            let (status, answer) = call_as(&server, key, path, body).await;
            let arn = answer[member].as_str().unwrap().to_owned();
            assert_eq!(status, 200);
            assert!(
                arn.starts_with(&format!("arn:aws:kinesisvideo:{REGION}:{account}:{kind}/door/")),
                "{arn}"
            );
            arns.push(arn);
        }
    }
    let [our_stream, our_channel, their_stream, their_channel] = &arns[..] else { panic!("{arns:?}") };
    let (_, found) = ours("/describeStream", json!({"StreamName": "door"})).await;
    assert_eq!(found["StreamInfo"]["StreamARN"], json!(our_stream));
    assert!(found["StreamInfo"]["KmsKeyId"].as_str().unwrap().contains(":111122223333:"), "{found}");
    let (_, listed) = theirs("/listStreams", json!({})).await;
    assert_eq!(listed["StreamInfoList"].as_array().unwrap().len(), 1);
    assert_eq!(listed["StreamInfoList"][0]["StreamARN"], json!(their_stream));
    let (_, listed) = theirs("/listSignalingChannels", json!({})).await;
    assert_eq!(listed["ChannelInfoList"].as_array().unwrap().len(), 1);
    // the account of keys that are not said to be of one has neither
    assert_eq!(call(&server, "/listStreams", json!({})).await["StreamInfoList"], json!([]));

    // by ARN, wherever in a call it stands
    let denied =
        |(status, kind): (u16, Value)| assert_eq!((status, kind), (403, json!("AccessDeniedException")));
    let stream = json!({"StreamARN": their_stream});
    for path in [
        "/describeStream",
        "/deleteStream",
        "/listFragments",
        "/getClip",
        "/describeImageGenerationConfiguration",
    ] {
        denied(ours(path, stream.clone()).await);
    }
    for path in [
        "/describeSignalingChannel",
        "/deleteSignalingChannel",
        "/v1/get-ice-server-config",
        "/v1/send-alexa-offer-to-master",
    ] {
        denied(ours(path, json!({"ChannelARN": their_channel})).await);
    }
    denied(ours("/ListTagsForResource", json!({"ResourceARN": their_channel})).await);
    let mapping = json!({"Status": "ENABLED", "StreamARN": their_stream});
    let mapping = json!({"ChannelARN": our_channel, "MediaStorageConfiguration": mapping});
    denied(ours("/updateMediaStorageConfiguration", mapping).await);
    // what is a value of the caller's own may say anything
    let tags = json!({"ResourceARN": our_channel, "Tags": [{"Key": "StreamARN", "Value": "arn:aws:x"}]});
    assert_eq!(ours("/TagResource", tags).await.0, 200);
    let mut session = Session::open_as(
        &server,
        OURS,
        &format!("x-amzn-stream-arn: {their_stream}\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n"),
    )
    .await;
    let head = session.response().await;
    assert!(head[0].starts_with("HTTP/1.1 403"), "{head:?}");
    // KEY is of the first account
    let (status, kind, _) = refusal(join(&server, our_channel, None).await);
    assert_eq!((status, kind.as_str()), (403, "AccessDeniedException"));

    // one deletes its own, and the other's stays, also over a restart
    assert_eq!(ours("/deleteStream", json!({"StreamARN": our_stream})).await.0, 200);
    server.shutdown().await;
    let server = Server::start(config).await.unwrap();
    assert_eq!(call_as(&server, OURS, "/describeStream", json!({"StreamName": "door"})).await.0, 404);
    let (_, found) = call_as(&server, THEIRS, "/describeStream", json!({"StreamName": "door"})).await;
    assert_eq!(found["StreamInfo"]["StreamARN"], json!(their_stream));
    server.shutdown().await;
}

#[tokio::test]
async fn what_one_account_stores_the_other_does_not_have() {
    let kvs = start(with_accounts).await;
    let body = json!({"StreamName": "door", "DataRetentionInHours": 1});
    for (key, _) in ACCOUNTS {
        assert_eq!(call_as(&kvs.server, key, "/createStream", body.clone()).await.0, 200);
    }
    let headers = "x-amzn-stream-name: door\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n";
    let mut session = Session::open_as(&kvs.server, THEIRS, headers).await;
    session.send(&[producer::header(), producer::cluster(1_700_000_000_000)].concat()).await;
    session.finish().await;
    assert_eq!(session.acks().await.last().unwrap(), "PERSISTED 1700000000000");
    for (key, count) in [(OURS, 0), (THEIRS, 1)] {
        let (_, found) = call_as(&kvs.server, key, "/listFragments", json!({"StreamName": "door"})).await;
        assert_eq!(found["Fragments"].as_array().unwrap().len(), count);
    }
}
