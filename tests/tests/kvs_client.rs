//! The client crates against kvs-local: what AWS's own SDKs and a real socket say, without any media.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use kvs::signaling::{
    IceCandidate, SignalingConfig, SignalingEvent, SignalingReceiver, SignalingRole, connect,
};
use kvs::{
    ChannelId, ChannelInfo, ClientId, ControlPlane, MediaStorage, NewStream, Role, StreamId, StreamInfo,
    Tags, ice_servers,
};
use kvs_aws::{AwsContext, ErrorClass};
use kvs_local::{AccessKey, Config, Server};
use tempfile::TempDir;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

async fn local() -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
    (Server::start(config).await.unwrap(), folder)
}

async fn context(server: &Server, secret: &str) -> AwsContext {
    AwsContext::builder()
        .region("us-east-1")
        .static_credentials("AKIDTEST", secret, None)
        .endpoint_url(server.url())
        .build()
        .await
        .unwrap()
}

fn day() -> NewStream {
    NewStream { retention_hours: 24, ..NewStream::default() }
}

async fn next(receiver: &mut SignalingReceiver) -> SignalingEvent {
    timeout(DEADLINE, receiver.recv()).await.expect("an event in time").expect("not closed")
}

/// A channel of this name, made if there is none.
async fn channel(control: &ControlPlane, name: &str) -> ChannelInfo {
    let id = ChannelId::Name(name.parse().unwrap());
    control.find_or_create_channel(&id, Some(&Tags::new())).await.unwrap().info
}

/// A stream of this name, made if there is none.
async fn stream(control: &ControlPlane, name: &str, new: &NewStream) -> StreamInfo {
    let id = StreamId::Name(name.parse().unwrap());
    control.find_or_create_stream(&id, Some(new)).await.unwrap().info
}

#[tokio::test]
async fn channels_and_streams_are_made_found_and_missed() {
    let (server, _folder) = local().await;
    let control = ControlPlane::new(&context(&server, "secret").await);
    let name = ChannelId::Name("door".parse().unwrap());
    let error = control.describe_channel(&name).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    assert!(error.to_string().contains("channel door"), "{error}");

    let created = channel(&control, "door").await;
    // A second time is as good as the first.
    assert_eq!(channel(&control, "door").await, created);
    assert_eq!(control.describe_channel(&ChannelId::Arn(created.arn.clone())).await.unwrap(), created);
    assert_eq!(created.message_ttl, Duration::from_secs(60));
    assert_eq!(control.media_storage(&created.arn).await.unwrap(), MediaStorage::Disabled);

    let stream = stream(&control, "door", &day()).await;
    assert_eq!((stream.retention_hours, stream.active), (24, true));
    let endpoint = control.put_media_endpoint(&StreamId::Arn(stream.arn)).await.unwrap();
    assert_eq!(endpoint.as_str().trim_end_matches('/'), server.url());
    server.shutdown().await;
}

/// What the operator does with what it made: tags, more retention, deletion of exactly what was seen.
#[tokio::test]
async fn what_was_made_is_tagged_changed_and_deleted() {
    let (server, _folder) = local().await;
    let control = ControlPlane::new(&context(&server, "secret").await);
    let tags = Tags::from([("kvs-ingest.dev/uid".to_owned(), "u-1".to_owned())]);
    assert!(control.begin_channel(&"door".parse().unwrap(), &tags).await.unwrap());
    assert!(!control.begin_channel(&"door".parse().unwrap(), &Tags::new()).await.unwrap(), "it exists");
    let channel = control.describe_channel(&ChannelId::Name("door".parse().unwrap())).await.unwrap();
    assert_eq!(control.channel_tags(&channel.arn).await.unwrap(), tags);

    let new = NewStream { tags: tags.clone(), kms_key_id: Some("alias/cameras".to_owned()), ..day() };
    assert!(control.begin_stream(&"door".parse().unwrap(), &new).await.unwrap());
    let id = StreamId::Name("door".parse().unwrap());
    let stream = control.describe_stream(&id).await.unwrap();
    assert_eq!(control.stream_tags(&stream.arn).await.unwrap(), tags);
    control.raise_retention(&stream, 48).await.unwrap();
    let raised = control.describe_stream(&id).await.unwrap();
    assert_eq!(raised.retention_hours, 48);
    // Never lowered, and not by somebody who saw an older version.
    control.raise_retention(&raised, 12).await.unwrap();
    assert_eq!(control.describe_stream(&id).await.unwrap(), raised);
    let error = control.raise_retention(&stream, 72).await.unwrap_err();
    assert!(!error.class.is_transient(), "{error}");
    control.delete_stream(&stream).await.unwrap_err();
    control.delete_stream(&raised).await.unwrap();
    control.delete_stream(&raised).await.unwrap();
    control.delete_channel(&channel).await.unwrap();
    control.delete_channel(&channel).await.unwrap();
    assert_eq!(control.describe_stream(&id).await.unwrap_err().class, ErrorClass::NotFound);
    server.shutdown().await;
}

#[tokio::test]
async fn a_wrong_secret_is_access_denied_everywhere() {
    let (server, _folder) = local().await;
    let good = ControlPlane::new(&context(&server, "secret").await);
    let channel = channel(&good, "door").await;
    let wrong = context(&server, "wrong").await;
    let error =
        ControlPlane::new(&wrong).describe_channel(&ChannelId::Arn(channel.arn.clone())).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::AccessDenied, "{error}");
    let endpoints = good.channel_endpoints(&channel.arn, Role::Viewer).await.unwrap();
    let role = SignalingRole::Viewer { client_id: ClientId::generate("test") };
    let config = SignalingConfig::new(endpoints.wss, channel.arn, role);
    let error = connect(&wrong, &config).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AccessDenied, "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    server.shutdown().await;
}

#[tokio::test]
async fn an_offer_waits_for_the_master_and_the_answer_comes_back() {
    let (server, _folder) = local().await;
    let context = context(&server, "secret").await;
    let control = ControlPlane::new(&context);
    let channel = channel(&control, "door").await;
    let endpoints = control.channel_endpoints(&channel.arn, Role::Viewer).await.unwrap();
    let client_id = ClientId::generate("test");
    let role = SignalingRole::Viewer { client_id: client_id.clone() };
    let config = SignalingConfig::new(endpoints.wss.clone(), channel.arn.clone(), role);
    let (viewer, mut from_master) = connect(&context, &config).await.unwrap();
    viewer.send_offer("v=0\r\n", Some("offer-1")).await.unwrap();
    let candidate = IceCandidate {
        candidate: "candidate:1 1 udp 1 127.0.0.1 5 typ host generation 0".to_owned(),
        ..IceCandidate::default()
    };
    viewer.send_candidate(&candidate, None).await.unwrap();

    let endpoints = control.channel_endpoints(&channel.arn, Role::Master).await.unwrap();
    let config = SignalingConfig::new(endpoints.wss, channel.arn.clone(), SignalingRole::Master);
    let (master, mut from_viewer) = connect(&context, &config).await.unwrap();
    let sender = Some(client_id.to_string());
    assert_eq!(
        next(&mut from_viewer).await,
        SignalingEvent::Offer { sdp: "v=0\r\n".to_owned(), sender: sender.clone() }
    );
    let SignalingEvent::Candidate { candidate: found, sender: from } = next(&mut from_viewer).await else {
        panic!()
    };
    assert_eq!((found.candidate, from), (candidate.candidate, sender));
    master.send_answer("v=1\r\n", Some(client_id.as_str()), None).await.unwrap();
    assert_eq!(
        next(&mut from_master).await,
        SignalingEvent::Answer { sdp: "v=1\r\n".to_owned(), sender: None }
    );
    // What the service cannot deliver it says, to who asked to be told.
    master.send_answer("v=1\r\n", None, Some("answer-2")).await.unwrap();
    let SignalingEvent::Status(status) = next(&mut from_viewer).await else { panic!() };
    assert_eq!(
        (status.correlation_id.as_str(), status.error_type.as_str()),
        ("answer-2", "InvalidArgumentException")
    );

    // A frame that is no message, and the service's own words.
    let post = |body: &str| {
        let (url, body) = (format!("{}/_kvs/faults", server.url()), body.to_owned());
        tokio::task::spawn_blocking(move || ureq::post(url).send(body.as_bytes()).unwrap().status().as_u16())
    };
    assert_eq!(post(r#"{"channel":"door","action":"text","text":"not json"}"#).await.unwrap(), 200);
    assert!(matches!(next(&mut from_master).await, SignalingEvent::Malformed { .. }));
    assert_eq!(post(r#"{"channel":"door","action":"go_away"}"#).await.unwrap(), 200);
    assert_eq!(next(&mut from_master).await, SignalingEvent::GoAway);
    assert_eq!(post(r#"{"channel":"door","action":"close","client":"MASTER"}"#).await.unwrap(), 200);
    assert!(matches!(next(&mut from_viewer).await, SignalingEvent::Malformed { .. }));
    assert_eq!(next(&mut from_viewer).await, SignalingEvent::GoAway);
    assert!(matches!(next(&mut from_viewer).await, SignalingEvent::Closed { code: Some(1001), .. }));
    server.shutdown().await;
}

/// What the agent needs to tell a person instead of waiting for an answer for ever.
#[tokio::test]
async fn media_storage_is_reported_with_its_stream() {
    use aws_sdk_kinesisvideo::types::{MediaStorageConfiguration, MediaStorageConfigurationStatus};
    let (server, _folder) = local().await;
    let context = context(&server, "secret").await;
    let control = ControlPlane::new(&context);
    let channel = channel(&control, "door").await;
    let stream = stream(&control, "door", &day()).await;
    let configuration = MediaStorageConfiguration::builder()
        .status(MediaStorageConfigurationStatus::Enabled)
        .stream_arn(stream.arn.as_str())
        .build()
        .unwrap();
    aws_sdk_kinesisvideo::Client::new(context.sdk_config())
        .update_media_storage_configuration()
        .channel_arn(channel.arn.as_str())
        .media_storage_configuration(configuration)
        .send()
        .await
        .unwrap();
    let expected = MediaStorage::Enabled { stream_arn: Some(stream.arn.to_string()) };
    assert_eq!(control.media_storage(&channel.arn).await.unwrap(), expected);
    server.shutdown().await;
}

#[tokio::test]
async fn ice_servers_are_a_turn_server_with_time_limited_credentials() {
    let (server, _folder) = local().await;
    let context = context(&server, "secret").await;
    let control = ControlPlane::new(&context);
    let channel = channel(&control, "door").await;
    let endpoints = control.channel_endpoints(&channel.arn, Role::Viewer).await.unwrap();
    let servers =
        ice_servers(&context, &endpoints.https, &channel.arn, &ClientId::generate("test")).await.unwrap();
    assert_eq!(servers.len(), 1);
    let at = server.turn_address();
    let urls = [("turn", "udp"), ("turns", "udp"), ("turns", "tcp")];
    assert_eq!(servers[0].urls, urls.map(|(scheme, over)| format!("{scheme}:{at}?transport={over}")));
    assert!(servers[0].username.contains(':') && !servers[0].credential.is_empty());
    assert!(!format!("{servers:?}").contains(&servers[0].credential));
    server.shutdown().await;
}
