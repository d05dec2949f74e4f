//! The control plane over HTTP, signed by a signer of the test's own.
#![allow(clippy::unwrap_used)]

mod support;

use kvs_local::{Server, StartError};
use serde_json::{Value, json};
use support::*;

async fn describe_channel(server: &Server, arn: &str) -> Value {
    call(server, "/describeSignalingChannel", json!({ "ChannelARN": arn })).await["ChannelInfo"].clone()
}

async fn describe_stream(server: &Server, name: &str) -> Value {
    call(server, "/describeStream", json!({ "StreamName": name })).await["StreamInfo"].clone()
}

fn refused(reply: &Reply, kind: &str) {
    assert_eq!(
        reply.header("x-amzn-errortype"),
        Some(kind),
        "{} {}",
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
}

/// Sets how long states last. A day stands for "until it is changed": no test waits for a clock.
async fn states(server: &Server, times: Value) {
    let reply = console(server, "POST", "states", &times.to_string()).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
}

const DAY: u32 = 86_400_000;

/// A stream that keeps nothing; its ARN.
async fn stream(server: &Server, name: &str) -> String {
    let created = call(server, "/createStream", json!({ "StreamName": name })).await;
    created["StreamARN"].as_str().unwrap().to_owned()
}

/// An `UpdateDataRetention`.
fn retention(arn: &str, version: &Value, operation: &str, hours: u32) -> Value {
    json!({
        "StreamARN": arn,
        "CurrentVersion": version,
        "Operation": operation,
        "DataRetentionChangeInHours": hours,
    })
}

#[tokio::test]
async fn a_created_channel_is_described() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = channel(s, "camera-1").await;
    let parts: Vec<&str> = arn.split('/').collect();
    assert!(arn.starts_with("arn:aws:kinesisvideo:eu-west-1:000000000000:channel/camera-1/"), "{arn}");
    assert_eq!(parts[2].len(), 13);
    let by_name = call(s, "/describeSignalingChannel", json!({ "ChannelName": "camera-1" })).await;
    let info = &by_name["ChannelInfo"];
    assert_eq!(info["ChannelARN"], arn);
    assert_eq!(info["ChannelStatus"], "ACTIVE");
    assert_eq!(info["ChannelType"], "SINGLE_MASTER");
    assert_eq!(info["SingleMasterConfiguration"]["MessageTtlSeconds"], 60);
    assert!(info["CreationTime"].as_f64().unwrap() > 1e9);
    assert_eq!(info["Version"].as_str().unwrap().len(), 20);
}

#[tokio::test]
async fn the_name_of_a_channel_is_taken_once() {
    let kvs = start(|_| ()).await;
    channel(&kvs.server, "camera-1").await;
    let taken = try_call(&kvs.server, "/createSignalingChannel", json!({ "ChannelName": "camera-1" })).await;
    assert_eq!((taken.status, taken.header("x-amzn-errortype")), (400, Some("ResourceInUseException")));
    assert!(taken.json()["Message"].as_str().unwrap().contains("camera-1"));
}

#[tokio::test]
async fn a_refusal_has_the_headers_that_clients_read() {
    let kvs = start(|_| ()).await;
    let refused = try_call(&kvs.server, "/createSignalingChannel", json!({})).await;
    assert!(refused.header("x-amzn-requestid").is_some() && refused.header("date").is_some());
    assert!(refused.header("content-length").is_some());
}

#[tokio::test]
async fn a_channel_is_changed_by_who_knows_its_version() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = channel(s, "camera-1").await;
    let version = describe_channel(s, &arn).await["Version"].clone();
    let update = |version: &str| {
        let configuration = json!({ "MessageTtlSeconds": 5 });
        json!({ "ChannelARN": arn, "CurrentVersion": version, "SingleMasterConfiguration": configuration })
    };
    let stale = try_call(s, "/updateSignalingChannel", update("AAAAAAAAAAAAAAAAAAAA")).await;
    assert_eq!(stale.header("x-amzn-errortype"), Some("VersionMismatchException"));
    call(s, "/updateSignalingChannel", update(version.as_str().unwrap())).await;
    let info = describe_channel(s, &arn).await;
    assert_eq!(info["SingleMasterConfiguration"]["MessageTtlSeconds"], 5);
    assert_ne!(info["Version"], version);
}

#[tokio::test]
async fn a_channel_has_tags() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = channel(s, "camera-1").await;
    let tags = json!([{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "2" }]);
    call(s, "/TagResource", json!({ "ResourceARN": arn, "Tags": tags })).await;
    call(s, "/UntagResource", json!({ "ResourceARN": arn, "TagKeyList": ["a"] })).await;
    let tags = call(s, "/ListTagsForResource", json!({ "ResourceARN": arn })).await;
    assert_eq!(tags["Tags"], json!({ "b": "2" }));
}

#[tokio::test]
async fn a_deleted_channel_is_not_found() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = channel(s, "camera-1").await;
    call(s, "/deleteSignalingChannel", json!({ "ChannelARN": arn })).await;
    let missing = try_call(s, "/describeSignalingChannel", json!({ "ChannelARN": arn })).await;
    assert_eq!(
        (missing.status, missing.header("x-amzn-errortype")),
        (404, Some("ResourceNotFoundException"))
    );
    assert_eq!(missing.json()["Message"], "The requested channel is not found or not active.");
}

#[tokio::test]
async fn retention_goes_up_and_down_but_not_below_zero() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = stream(s, "door").await;
    let info = describe_stream(s, "door").await;
    assert_eq!(info["DataRetentionInHours"], 0);
    assert_eq!(info["Status"], "ACTIVE");
    let increase = retention(&arn, &info["Version"], "INCREASE_DATA_RETENTION", 24);
    call(s, "/updateDataRetention", increase).await;
    let info = describe_stream(s, "door").await;
    assert_eq!(info["DataRetentionInHours"], 24);
    let decrease = retention(&arn, &info["Version"], "DECREASE_DATA_RETENTION", 25);
    let below = try_call(s, "/updateDataRetention", decrease).await;
    assert_eq!(below.header("x-amzn-errortype"), Some("InvalidArgumentException"));
    assert!(below.json()["Message"].as_str().unwrap().starts_with("DataRetentionChangeInHours: "));
}

#[tokio::test]
async fn a_channel_is_mapped_to_a_stream_that_keeps_something() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = stream(s, "door").await;
    let channel = channel(s, "c").await;
    let storage = json!({ "Status": "ENABLED", "StreamARN": arn });
    let map = json!({ "ChannelARN": channel, "MediaStorageConfiguration": storage });
    let refused = try_call(s, "/updateMediaStorageConfiguration", map.clone()).await;
    assert_eq!(refused.header("x-amzn-errortype"), Some("NoDataRetentionException"));

    let version = describe_stream(s, "door").await["Version"].clone();
    call(s, "/updateDataRetention", retention(&arn, &version, "INCREASE_DATA_RETENTION", 24)).await;
    call(s, "/updateMediaStorageConfiguration", map).await;
    let described = call(s, "/describeMediaStorageConfiguration", json!({ "ChannelName": "c" })).await;
    assert_eq!(described["MediaStorageConfiguration"], storage);
    let mapped = call(s, "/describeMappedResourceConfiguration", json!({ "StreamName": "door" })).await;
    assert_eq!(mapped["MappedResourceConfigurationList"][0]["ARN"], channel);
}

#[tokio::test]
async fn a_stream_has_tags_and_at_most_fifty() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let body = json!({ "StreamName": "door", "MediaType": "video/h264,audio/aac", "Tags": { "k": "v" } });
    let arn = call(s, "/createStream", body).await["StreamARN"].clone();
    call(s, "/tagStream", json!({ "StreamName": "door", "Tags": { "x": "y" } })).await;
    call(s, "/untagStream", json!({ "StreamARN": arn, "TagKeyList": ["k"] })).await;
    let tags = call(s, "/listTagsForStream", json!({ "StreamName": "door" })).await;
    assert_eq!(tags["Tags"], json!({ "x": "y" }));
    let many: serde_json::Map<String, Value> = (0..50).map(|n| (format!("t{n}"), json!(""))).collect();
    let many = try_call(s, "/tagStream", json!({ "StreamName": "door", "Tags": many })).await;
    assert_eq!(many.header("x-amzn-errortype"), Some("TagsPerResourceExceededLimitException"));
}

#[tokio::test]
async fn the_data_endpoint_is_this_server() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    stream(s, "door").await;
    let endpoint = call(s, "/getDataEndpoint", json!({ "StreamName": "door", "APIName": "PUT_MEDIA" })).await;
    assert_eq!(endpoint["DataEndpoint"], s.url());
    let wrong = try_call(s, "/getDataEndpoint", json!({ "StreamName": "door", "APIName": "PUT" })).await;
    assert!(wrong.json()["Message"].as_str().unwrap().starts_with("APIName: must be one of"));
}

#[tokio::test]
async fn a_deleted_stream_is_not_found() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = stream(s, "door").await;
    call(s, "/deleteStream", json!({ "StreamARN": arn })).await;
    let missing = try_call(s, "/describeStream", json!({ "StreamName": "door" })).await;
    assert_eq!(missing.json()["Message"], "The requested stream is not found or not active.");
}

#[tokio::test]
async fn lists_have_pages_and_prefixes() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    for name in ["a1", "a2", "a3", "b1"] {
        channel(s, name).await;
    }
    let mut names = Vec::new();
    let mut token = Value::Null;
    loop {
        let condition = json!({ "ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "a" });
        let body = json!({ "MaxResults": 2, "NextToken": token, "ChannelNameCondition": condition });
        let page = call(s, "/listSignalingChannels", body).await;
        let list = page["ChannelInfoList"].as_array().unwrap().clone();
        assert!(list.len() <= 2);
        names.extend(list.iter().map(|info| info["ChannelName"].as_str().unwrap().to_owned()));
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(names, ["a1", "a2", "a3"]);
    assert_eq!(call(s, "/listStreams", json!({})).await, json!({ "StreamInfoList": [] }));
    let bad = try_call(s, "/listStreams", json!({ "NextToken": "%" })).await;
    assert_eq!(bad.header("x-amzn-errortype"), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn endpoints_are_this_server_without_a_path() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = channel(s, "c").await;
    let ask = |protocols: Value| {
        let configuration = json!({ "Protocols": protocols, "Role": "VIEWER" });
        json!({ "ChannelARN": arn, "SingleMasterChannelEndpointConfiguration": configuration })
    };
    let list = call(s, "/getSignalingChannelEndpoint", ask(json!(["WSS", "HTTPS"]))).await;
    let list = list["ResourceEndpointList"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    assert!(list.contains(&json!({ "Protocol": "WSS", "ResourceEndpoint": s.url().replace("http", "ws") })));
    assert!(list.contains(&json!({ "Protocol": "HTTPS", "ResourceEndpoint": s.url() })));
    let storage = try_call(s, "/getSignalingChannelEndpoint", ask(json!(["WEBRTC"]))).await;
    assert_eq!(storage.header("x-amzn-errortype"), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn bad_members_are_named() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let arn = channel(s, "c").await;
    call(s, "/createStream", json!({ "StreamName": "door" })).await;
    let tags = |count: u32| -> Vec<Value> {
        (0..count).map(|n| json!({ "Key": format!("k{n}"), "Value": "" })).collect()
    };
    let cases = [
        ("/createSignalingChannel", json!({}), "ChannelName"),
        ("/createSignalingChannel", json!({ "ChannelName": "a b" }), "ChannelName"),
        ("/createSignalingChannel", json!({ "ChannelName": "x".repeat(257) }), "ChannelName"),
        ("/createSignalingChannel", json!({ "ChannelName": 7 }), "ChannelName"),
        ("/createSignalingChannel", json!({ "ChannelName": "x", "ChannelType": "MESH" }), "ChannelType"),
        (
            "/createSignalingChannel",
            json!({ "ChannelName": "x", "SingleMasterConfiguration": { "MessageTtlSeconds": 4 } }),
            "SingleMasterConfiguration.MessageTtlSeconds",
        ),
        ("/createSignalingChannel", json!({ "ChannelName": "x", "Tags": [{ "Key": "k" }] }), "Tags[0].Value"),
        ("/describeSignalingChannel", json!({ "ChannelARN": "arn:aws:s3:::x" }), "ChannelARN"),
        (
            "/describeSignalingChannel",
            json!({ "ChannelARN": "arn:aws:kinesisvideo:EU:000000000000:channel/c/1700000000000" }),
            "ChannelARN",
        ),
        ("/createSignalingChannel", json!({ "ChannelName": "x", "Tags": tags(51) }), "Tags"),
        (
            "/createSignalingChannel",
            json!({ "ChannelName": "x", "Tags": [{ "Key": "aws:x", "Value": "" }] }),
            "Tags",
        ),
        ("/createStream", json!({ "StreamName": "x", "Tags": { "AWS:x": "" } }), "Tags"),
        ("/createStream", json!({ "StreamName": "x", "Tags": {} }), "Tags"),
        ("/createStream", json!({ "StreamName": "x", "KmsKeyId": "" }), "KmsKeyId"),
        ("/createStream", json!({ "StreamName": "x", "KmsKeyId": "k".repeat(2049) }), "KmsKeyId"),
        ("/createStream", json!({ "StreamName": "x", "DeviceName": "d".repeat(129) }), "DeviceName"),
        (
            "/createStream",
            json!({ "StreamName": "x", "StreamStorageConfiguration": {} }),
            "StreamStorageConfiguration.DefaultStorageTier",
        ),
        ("/TagResource", json!({ "ResourceARN": arn, "Tags": [] }), "Tags"),
        ("/TagResource", json!({ "ResourceARN": arn, "Tags": tags(51) }), "Tags"),
        ("/TagResource", json!({ "ResourceARN": arn, "Tags": [{ "Key": "aws:a", "Value": "" }] }), "Tags"),
        ("/TagResource", json!({ "ResourceARN": arn, "Tags": [{ "Key": "a\tb", "Value": "" }] }), "Tags"),
        ("/tagStream", json!({ "StreamName": "door", "Tags": {} }), "Tags"),
        ("/tagStream", json!({ "StreamName": "door", "Tags": { "aws:a": "" } }), "Tags"),
        ("/untagStream", json!({ "StreamName": "door", "TagKeyList": [] }), "TagKeyList"),
        ("/untagStream", json!({ "StreamName": "door", "TagKeyList": ["a", "#"] }), "TagKeyList[1]"),
        ("/UntagResource", json!({ "ResourceARN": arn, "TagKeyList": [""] }), "TagKeyList[0]"),
        ("/ListTagsForResource", json!({ "ResourceARN": arn, "NextToken": "bWluZQ==" }), "NextToken"),
        ("/listTagsForStream", json!({ "StreamName": "door", "NextToken": "bWluZQ==" }), "NextToken"),
        ("/listStreams", json!({ "NextToken": "bWluZQ==" }), "NextToken"),
        ("/listSignalingChannels", json!({ "NextToken": "A".repeat(1025) }), "NextToken"),
        (
            "/describeMappedResourceConfiguration",
            json!({ "StreamName": "door", "MaxResults": 2 }),
            "MaxResults",
        ),
        (
            "/describeMappedResourceConfiguration",
            json!({ "StreamName": "door", "NextToken": "bWluZQ==" }),
            "NextToken",
        ),
        ("/describeStream", json!({ "StreamARN": arn }), "StreamARN"),
        (
            "/getSignalingChannelEndpoint",
            json!({ "ChannelARN": arn, "SingleMasterChannelEndpointConfiguration": { "Protocols": [] } }),
            "SingleMasterChannelEndpointConfiguration.Protocols",
        ),
        ("/getDataEndpoint", json!({ "StreamName": "door", "APIName": "GET_PAST" }), "APIName"),
        ("/createStream", json!({ "StreamName": "x", "DataRetentionInHours": -1 }), "DataRetentionInHours"),
        ("/createStream", json!({ "StreamName": "x", "MediaType": "video" }), "MediaType"),
        ("/createStream", json!({ "StreamName": "x", "MediaType": "video/h264,/aac" }), "MediaType"),
        ("/v1/get-ice-server-config", json!({}), "ChannelARN"),
    ];
    for (path, body, member) in cases {
        let reply = try_call(s, path, body.clone()).await;
        assert_eq!(reply.header("x-amzn-errortype"), Some("InvalidArgumentException"), "{path} {body}");
        let message = reply.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{member}: ")), "{message}");
    }
}

#[tokio::test]
async fn a_path_without_an_operation_is_not_found() {
    let kvs = start(|_| ()).await;
    let nowhere = try_call(&kvs.server, "/nowhere", json!({})).await;
    assert_eq!(
        (nowhere.status, nowhere.header("x-amzn-errortype")),
        (404, Some("UnknownOperationException"))
    );
}

/// The table of docs/kvs-local.md says of each operation whether it is here; one that is not says so by its name.
#[tokio::test]
async fn the_page_says_of_each_operation_whether_it_is_here() {
    let kvs = start(|_| ()).await;
    let documented = documented();
    assert!(documented.len() > 40, "{documented:?}");
    for (operation, words) in documented {
        let path = match operation {
            "GetIceServerConfig" => "/v1/get-ice-server-config".to_owned(),
            "SendAlexaOfferToMaster" => "/v1/send-alexa-offer-to-master".to_owned(),
            "TagResource" | "UntagResource" | "ListTagsForResource" => format!("/{operation}"),
            _ => format!("/{}{}", operation[..1].to_lowercase(), &operation[1..]),
        };
        let reply = try_call(&kvs.server, &path, json!({})).await;
        let unknown = reply.header("x-amzn-errortype") == Some("UnknownOperationException");
        assert_eq!(unknown, words.starts_with("Not there"), "{operation}: {words}");
        if unknown {
            let message = reply.json()["Message"].as_str().unwrap().to_owned();
            assert!(message.ends_with(&format!("the operation {operation}.")), "{message}");
        }
    }
}

/// The rows of the section "Every operation".
fn documented() -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../../docs/kvs-local.md");
    let section = page.split_once("## Every operation").expect("the section").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.filter_map(|row| row.split_once("` | ")).collect()
}

/// A token goes on with the list that it was given in, and with no other.
#[tokio::test]
async fn tokens_are_of_their_list() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    for name in ["a", "b", "c"] {
        channel(s, name).await;
        call(s, "/createStream", json!({ "StreamName": name })).await;
    }
    let page = call(s, "/listStreams", json!({ "MaxResults": 1 })).await;
    let token = page["NextToken"].clone();
    let second = call(s, "/listStreams", json!({ "MaxResults": 1, "NextToken": token })).await;
    assert_eq!(second["StreamInfoList"][0]["StreamName"], "b");
    let prefix = json!({ "ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "c" });
    for (path, body) in [
        ("/listSignalingChannels", json!({ "NextToken": token })),
        ("/listStreams", json!({ "NextToken": token, "StreamNameCondition": prefix })),
    ] {
        let reply = try_call(s, path, body).await;
        assert!(reply.json()["Message"].as_str().unwrap().starts_with("NextToken: "), "{path}");
    }
}

/// "already mapped to a different Kinesis Video Stream resource"
#[tokio::test]
async fn one_channel_stores_in_one_stream() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let (first, second) = (channel(s, "c1").await, channel(s, "c2").await);
    let stream = async |name: &str| {
        let created =
            call(s, "/createStream", json!({ "StreamName": name, "DataRetentionInHours": 1 })).await;
        created["StreamARN"].as_str().unwrap().to_owned()
    };
    let (door, gate) = (stream("door").await, stream("gate").await);
    let map = async |channel: &str, stream: &str, status: &str| {
        let configuration = json!({ "Status": status, "StreamARN": stream });
        let body = json!({ "ChannelARN": channel, "MediaStorageConfiguration": configuration });
        let reply = try_call(s, "/updateMediaStorageConfiguration", body).await;
        reply.header("x-amzn-errortype").map(str::to_owned)
    };
    let taken = Some("ResourceInUseException".to_owned());
    assert_eq!(map(&first, &door, "ENABLED").await, None);
    assert_eq!(map(&first, &door, "ENABLED").await, None, "the same again");
    assert_eq!(map(&first, &gate, "ENABLED").await, taken);
    assert_eq!(map(&second, &door, "ENABLED").await, taken);
    assert_eq!(map(&first, &door, "DISABLED").await, None);
    assert_eq!(map(&second, &door, "ENABLED").await, None);
    let mapped = call(s, "/describeMappedResourceConfiguration", json!({ "StreamARN": door })).await;
    assert_eq!(mapped["MappedResourceConfigurationList"].as_array().unwrap().len(), 1);
    assert_eq!(mapped["MappedResourceConfigurationList"][0]["ARN"], second);
}

/// A number that is none would be after all others, and GetMedia would wait for ever.
#[tokio::test]
async fn bad_members_of_media_calls_are_named() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    call(s, "/createStream", json!({ "StreamName": "door", "DataRetentionInHours": 1 })).await;
    let get = |selector: Value| ("/getMedia", json!({ "StreamName": "door", "StartSelector": selector }));
    let range = |kind: &str, from: f64, to: f64| {
        let range = json!({ "StartTimestamp": from, "EndTimestamp": to });
        let selector = json!({ "FragmentSelectorType": kind, "TimestampRange": range });
        ("/listFragments", json!({ "StreamName": "door", "FragmentSelector": selector }))
    };
    let list = |fragments: Value| {
        ("/getMediaForFragmentList", json!({ "StreamName": "door", "Fragments": fragments }))
    };
    let cases = [
        (("/getMedia", json!({ "StreamName": "door" })), "StartSelector"),
        (get(json!({ "StartSelectorType": "LATEST" })), "StartSelector.StartSelectorType"),
        (get(json!({ "StartSelectorType": "FRAGMENT_NUMBER" })), "StartSelector.AfterFragmentNumber"),
        (
            get(json!({ "StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": "first" })),
            "StartSelector.AfterFragmentNumber",
        ),
        (
            get(json!({ "StartSelectorType": "CONTINUATION_TOKEN", "ContinuationToken": "x" })),
            "StartSelector.ContinuationToken",
        ),
        (get(json!({ "StartSelectorType": "SERVER_TIMESTAMP" })), "StartSelector.StartTimestamp"),
        (range("PRODUCER_TIMESTAMP", 2.0, 1.0), "FragmentSelector.TimestampRange.EndTimestamp"),
        (range("PRODUCER", 1.0, 2.0), "FragmentSelector.FragmentSelectorType"),
        (("/listFragments", json!({ "StreamName": "door", "NextToken": "bWluZQ==" })), "NextToken"),
        (("/listFragments", json!({ "StreamName": "door", "NextToken": "" })), "NextToken"),
        (("/listFragments", json!({ "StreamName": "door", "MaxResults": 1001 })), "MaxResults"),
        (list(json!([])), "Fragments"),
        (list(json!(["91343852333", "first"])), "Fragments[1]"),
        (list(json!([""])), "Fragments[0]"),
    ];
    for ((path, body), member) in cases {
        let reply = try_call(s, path, body.clone()).await;
        assert_eq!(reply.header("x-amzn-errortype"), Some("InvalidArgumentException"), "{path} {body}");
        let message = reply.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{member}: ")), "{message}");
    }
}

#[tokio::test]
async fn signatures_are_checked_unless_switched_off() {
    let kvs = start(|_| ()).await;
    let address = address(&kvs.server);
    let send = async |key, offset, body: &str| {
        raw(&address, &signed(&address, key, REGION, offset, "/listStreams", body)).await
    };
    assert_eq!(send(KEY, 0, "{}").await.status, 200);
    let cases = [
        (
            ("AKIDTEST", "wrong"),
            0,
            "InvalidSignatureException",
            "The request signature we calculated does not match",
        ),
        (
            ("AKIDOTHER", "x"),
            0,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (KEY, -400, "InvalidSignatureException", "Signature expired: "),
        (KEY, 400, "InvalidSignatureException", "Signature not yet current: "),
    ];
    for (key, offset, kind, message) in cases {
        let reply = send(key, offset, "{}").await;
        assert_eq!((reply.status, reply.header("x-amzn-errortype")), (403, Some(kind)));
        assert!(reply.json()["message"].as_str().unwrap().starts_with(message), "{}", reply.json());
    }
    let unsigned = format!(
        "POST /listStreams HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    assert_eq!(raw(&address, unsigned.as_bytes()).await.status, 403);

    let open = start(|config| config.auth = false).await;
    let address = support::address(&open.server);
    let unsigned = unsigned.replace("Host: ", "Host: localhost, was ");
    assert_eq!(raw(&address, unsigned.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn the_page_s_keys_work() {
    let kvs = start(|_| ()).await;
    let reply = console(&kvs.server, "GET", "config", "").await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let config = reply.json();
    assert_eq!(config["region"], REGION);
    let key = (config["accessKeyId"].as_str().unwrap(), config["secretAccessKey"].as_str().unwrap());
    let address = address(&kvs.server);
    assert_eq!(raw(&address, &signed(&address, key, REGION, 0, "/listStreams", "{}")).await.status, 200);
    // a name that someone else has pointed at this address
    let rebound = "GET /_kvs/config HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&address, rebound.as_bytes()).await.status, 403);
    let foreign = format!(
        "GET /_kvs/config HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw(&address, foreign.as_bytes()).await.status, 403);
    let own = foreign.replace("evil.example", &address);
    assert_eq!(raw(&address, own.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn browsers_of_any_origin_may_call_aws_paths() {
    let kvs = start(|_| ()).await;
    let address = address(&kvs.server);
    let preflight = format!(
        "OPTIONS /describeStream HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nOrigin: http://x\r\n\
         Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization,content-type,x-amz-date,amz-sdk-request,x-evil\r\n\r\n"
    );
    let reply = raw(&address, preflight.as_bytes()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let allowed = reply.header("access-control-allow-headers").unwrap();
    assert_eq!(allowed, "authorization,content-type,x-amz-date,amz-sdk-request");
    let reply = try_call(&kvs.server, "/describeStream", json!({ "StreamName": "x" })).await;
    assert!(reply.header("access-control-expose-headers").unwrap().contains("x-amzn-errortype"));
}

#[tokio::test]
async fn resources_outlive_the_process_and_belong_to_their_region() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(config(&data)).await.unwrap();
    let arn = channel(&server, "kept").await;
    call(&server, "/createStream", json!({ "StreamName": "kept" })).await;
    match Server::start(config(&data)).await {
        Err(StartError::DataInUse(path)) => assert_eq!(path, data.path()),
        other => panic!("{:?}", other.map(|_| "started").map_err(|error| error.to_string())),
    }
    server.shutdown().await;
    let server = Server::start(config(&data)).await.unwrap();
    let info = call(&server, "/describeSignalingChannel", json!({ "ChannelName": "kept" })).await;
    assert_eq!(info["ChannelInfo"]["ChannelARN"], arn);
    call(&server, "/describeStream", json!({ "StreamName": "kept" })).await;
    let address = address(&server);
    let body = r#"{"ChannelName":"kept"}"#;
    let elsewhere = signed(&address, KEY, "us-west-2", 0, "/describeSignalingChannel", body);
    assert_eq!(raw(&address, &elsewhere).await.status, 404);
    server.shutdown().await;
}

#[tokio::test]
async fn a_taken_port_names_its_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config(&data);
    config.listen = taken.local_addr().unwrap();
    let error = Server::start(config).await.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("--listen") && error.contains(&taken.local_addr().unwrap().to_string()),
        "{error}"
    );
    assert!(error.contains("already in use"), "{error}");
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let kvs = start(|_| ()).await;
    let address = address(&kvs.server);
    let reply =
        raw(&address, &signed(&address, KEY, REGION, 0, "/listStreams", &" ".repeat(300 * 1024))).await;
    assert_eq!(reply.header("x-amzn-errortype"), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn what_is_creating_is_described_and_listed_and_takes_no_order() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    states(s, json!({ "creatingMs": DAY })).await;
    let channel_arn = channel(s, "camera").await;
    let stream_arn = stream(s, "door").await;

    let info = describe_channel(s, &channel_arn).await;
    assert_eq!(info["ChannelStatus"], "CREATING");
    let stream_info = describe_stream(s, "door").await;
    assert_eq!(stream_info["Status"], "CREATING");
    let listed = call(s, "/listSignalingChannels", json!({})).await;
    assert_eq!(listed["ChannelInfoList"][0]["ChannelStatus"], "CREATING");
    let listed = call(s, "/listStreams", json!({})).await;
    assert_eq!(listed["StreamInfoList"][0]["Status"], "CREATING");
    // whose it is can be read, and changed, at once
    let tags = json!([{ "Key": "owner", "Value": "me" }]);
    call(s, "/TagResource", json!({ "ResourceARN": channel_arn, "Tags": tags })).await;
    let tags = call(s, "/ListTagsForResource", json!({ "ResourceARN": channel_arn })).await;
    assert_eq!(tags["Tags"], json!({ "owner": "me" }));

    let version = &describe_channel(s, &channel_arn).await["Version"];
    let stream_version = &stream_info["Version"];
    let ttl = json!({ "MessageTtlSeconds": 5 });
    let storage = json!({ "Status": "DISABLED", "StreamARN": stream_arn });
    for (path, body, kind) in [
        ("/createSignalingChannel", json!({ "ChannelName": "camera" }), "ResourceInUseException"),
        ("/createStream", json!({ "StreamName": "door" }), "ResourceInUseException"),
        (
            "/updateSignalingChannel",
            json!({ "ChannelARN": channel_arn, "CurrentVersion": version, "SingleMasterConfiguration": ttl }),
            "ResourceInUseException",
        ),
        ("/deleteSignalingChannel", json!({ "ChannelARN": channel_arn }), "ResourceInUseException"),
        (
            "/updateMediaStorageConfiguration",
            json!({ "ChannelARN": channel_arn, "MediaStorageConfiguration": storage }),
            "ResourceInUseException",
        ),
        (
            "/updateStream",
            json!({ "StreamName": "door", "CurrentVersion": stream_version, "DeviceName": "d" }),
            "ResourceInUseException",
        ),
        (
            "/updateDataRetention",
            retention(&stream_arn, stream_version, "INCREASE_DATA_RETENTION", 1),
            "ResourceInUseException",
        ),
        ("/deleteStream", json!({ "StreamARN": stream_arn }), "ResourceInUseException"),
        ("/getSignalingChannelEndpoint", json!({ "ChannelARN": channel_arn }), "ResourceNotFoundException"),
        ("/v1/get-ice-server-config", json!({ "ChannelARN": channel_arn }), "ResourceNotFoundException"),
        (
            "/getDataEndpoint",
            json!({ "StreamName": "door", "APIName": "PUT_MEDIA" }),
            "ResourceNotFoundException",
        ),
        ("/listFragments", json!({ "StreamName": "door" }), "ResourceNotFoundException"),
    ] {
        refused(&try_call(s, path, body).await, kind);
    }
    let (status, kind, _) = refusal(join(s, &channel_arn, None).await);
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));

    // the time that is set now counts for what is under way
    states(s, json!({ "creatingMs": 0 })).await;
    assert_eq!(describe_channel(s, &channel_arn).await["ChannelStatus"], "ACTIVE");
    assert_eq!(describe_stream(s, "door").await["Status"], "ACTIVE");
    call(s, "/getDataEndpoint", json!({ "StreamName": "door", "APIName": "PUT_MEDIA" })).await;
    call(s, "/deleteStream", json!({ "StreamARN": stream_arn })).await;
}

#[tokio::test]
async fn what_is_updating_serves_and_takes_no_other_change() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    states(s, json!({ "updatingMs": DAY })).await;
    let arn = stream(s, "door").await;
    let version = describe_stream(s, "door").await["Version"].clone();
    call(s, "/updateDataRetention", retention(&arn, &version, "INCREASE_DATA_RETENTION", 24)).await;
    let info = describe_stream(s, "door").await;
    assert_eq!((&info["Status"], &info["DataRetentionInHours"]), (&json!("UPDATING"), &json!(24)));
    let more = retention(&arn, &info["Version"], "INCREASE_DATA_RETENTION", 24);
    refused(&try_call(s, "/updateDataRetention", more.clone()).await, "ResourceInUseException");
    refused(&try_call(s, "/deleteStream", json!({ "StreamARN": arn })).await, "ResourceInUseException");
    call(s, "/getDataEndpoint", json!({ "StreamName": "door", "APIName": "PUT_MEDIA" })).await;
    states(s, json!({ "updatingMs": 0 })).await;
    call(s, "/updateDataRetention", more).await;
    assert_eq!(describe_stream(s, "door").await["DataRetentionInHours"], 48);
}

#[tokio::test]
async fn what_is_deleting_serves_nothing_and_keeps_its_name_until_it_is_gone() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    states(s, json!({ "deletingMs": DAY })).await;
    let channel_arn = channel(s, "camera").await;
    let stream_arn = stream(s, "door").await;
    call(s, "/deleteSignalingChannel", json!({ "ChannelARN": channel_arn })).await;
    call(s, "/deleteStream", json!({ "StreamARN": stream_arn })).await;

    assert_eq!(describe_channel(s, &channel_arn).await["ChannelStatus"], "DELETING");
    assert_eq!(describe_stream(s, "door").await["Status"], "DELETING");
    assert_eq!(call(s, "/listStreams", json!({})).await["StreamInfoList"][0]["Status"], "DELETING");
    let tags = json!({ "StreamARN": stream_arn, "Tags": { "a": "b" } });
    for (path, body, kind) in [
        ("/createSignalingChannel", json!({ "ChannelName": "camera" }), "ResourceInUseException"),
        ("/createStream", json!({ "StreamName": "door" }), "ResourceInUseException"),
        ("/deleteSignalingChannel", json!({ "ChannelARN": channel_arn }), "ResourceInUseException"),
        ("/deleteStream", json!({ "StreamARN": stream_arn }), "ResourceInUseException"),
        ("/tagStream", tags, "ResourceNotFoundException"),
        ("/getSignalingChannelEndpoint", json!({ "ChannelARN": channel_arn }), "ResourceNotFoundException"),
        ("/listFragments", json!({ "StreamName": "door" }), "ResourceNotFoundException"),
    ] {
        refused(&try_call(s, path, body).await, kind);
    }
    states(s, json!({ "deletingMs": 0 })).await;
    refused(
        &try_call(s, "/describeStream", json!({ "StreamARN": stream_arn })).await,
        "ResourceNotFoundException",
    );
    assert_eq!(call(s, "/listSignalingChannels", json!({})).await["ChannelInfoList"], json!([]));
    assert_ne!(channel(s, "camera").await, channel_arn);
    stream(s, "door").await;
}

#[tokio::test]
async fn a_state_outlives_the_server() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(&data);
    config.states.creating = std::time::Duration::from_secs(86_400);
    config.states.deleting = config.states.creating;
    let server = Server::start(config.clone()).await.unwrap();
    channel(&server, "new").await;
    states(&server, json!({ "creatingMs": 0 })).await;
    let old = channel(&server, "old").await;
    call(&server, "/deleteSignalingChannel", json!({ "ChannelARN": old })).await;
    server.shutdown().await;
    let server = Server::start(config).await.unwrap();
    let listed = call(&server, "/listSignalingChannels", json!({})).await;
    let status = |index: usize| listed["ChannelInfoList"][index]["ChannelStatus"].clone();
    assert_eq!((status(0), status(1)), (json!("CREATING"), json!("DELETING")));
}

#[tokio::test]
async fn a_time_that_cannot_be_names_its_member() {
    let kvs = start(|_| ()).await;
    let reply = console(&kvs.server, "POST", "states", r#"{"creatingMs": -1}"#).await;
    refused(&reply, "InvalidArgumentException");
    assert!(reply.json()["Message"].as_str().unwrap().starts_with("creatingMs"));
}

#[tokio::test]
async fn quotas_hold_where_they_are_wanted() {
    for quotas in [false, true] {
        let kvs = start(|config| config.quotas = quotas).await;
        // 60 calls in a second: 50 of the account pass, and what came in the second after them
        let made =
            (0..60).map(|n| try_call(&kvs.server, "/createStream", json!({ "StreamName": format!("s{n}") })));
        let replies = futures::future::join_all(made).await;
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
        assert!(refused.iter().all(|reply| {
            (reply.status, reply.header("x-amzn-errortype")) == (400, Some("ClientLimitExceededException"))
        }));
        assert!(quotas || refused.is_empty());
        assert!(refused.len() <= 10);
    }
}

/// The metrics listener has figures and probes, and nothing else.
#[tokio::test]
async fn figures_have_a_listener_of_their_own() {
    let kvs = start(|config| config.metrics_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let address = kvs.server.metrics_url().unwrap().strip_prefix("http://").unwrap().to_owned();
    let get = async |path: &str| {
        raw(&address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await
    };
    call(&kvs.server, "/createStream", json!({ "StreamName": "door" })).await;
    try_call(&kvs.server, "/made-up", json!({})).await;
    let metrics = get("/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        "kvs_local_streams 1",
        r#"kvs_local_requests_total{operation="CreateStream",code="200"} 1"#,
        r#"kvs_local_requests_total{operation="other",code="404"} 1"#,
        "kvs_local_turn_allocations 0",
        "kvs_local_put_media_sessions_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert_eq!((get("/livez").await.status, get("/readyz").await.status), (200, 200));
    for path in ["/", "/_kvs/state", "/listStreams"] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
}

/// An offer by HTTP reaches the master, and its answer comes back in the same call.
#[tokio::test]
async fn alexa_is_answered_by_the_master() {
    let kvs = start(|_| ()).await;
    let arn = channel(&kvs.server, "c").await;
    let mut master = join(&kvs.server, &arn, None).await.unwrap();
    let offer = json!({ "ChannelARN": arn, "SenderClientId": "echo", "MessagePayload": "e30=" });
    let answering = async {
        let event: serde_json::Value = serde_json::from_str(&text(&mut master).await).unwrap();
        assert_eq!((&event["messageType"], &event["senderClientId"]), (&json!("SDP_OFFER"), &json!("echo")));
        let answer = json!({ "action": "SDP_ANSWER", "recipientClientId": "echo", "messagePayload": "QUJD" });
        send(&mut master, &answer.to_string()).await;
    };
    let (answer, ()) = futures::join!(call(&kvs.server, "/v1/send-alexa-offer-to-master", offer), answering);
    assert_eq!(answer, json!({ "Answer": "QUJD" }));
}
