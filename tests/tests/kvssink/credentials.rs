//! Where credentials come from, how sessions are rotated, and the properties that say where the service is.

use std::process::Stdio;
use std::time::Duration;

use aws_sdk_kinesisvideo::Client;
use kvs_aws::AwsContext;
use kvs_ingest_tests::iot::CredentialsProvider;
use kvs_ingest_tests::stored;
use kvs_local::Server;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::{VIDEO, command, launch_in, local, local_with};

/// Stores five seconds of video with these properties and without keys in the environment.
async fn stores(server: &Server, properties: &str) -> serde_json::Value {
    let pipeline = format!("{VIDEO} ! kvssink stream-name=front-door aws-region=us-west-2 {properties}");
    let output = launch_in(&[], &pipeline).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state = stored::state(&server.url(), "front-door").await.unwrap();
    assert_eq!((&state["frames"], &state["duplicates"]), (&150.into(), &0.into()), "{state}");
    state
}

#[tokio::test]
async fn the_file_of_the_producer_sdk() {
    let (server, folder) = local().await;
    let file = folder.path().join("credential");
    std::fs::write(&file, "CREDENTIALS AKIDTEST secret\n").unwrap();
    let properties = format!("endpoint={} credential-path={}", server.url(), file.display());
    stores(&server, &properties).await;
    server.shutdown().await;
}

/// A file that is not there yet is read again, and so is one whose credentials the service refuses.
#[tokio::test]
async fn a_file_that_comes_late_and_wrong() {
    let (server, folder) = local().await;
    let file = folder.path().join("credential");
    let pipeline = format!(
        "{VIDEO} ! kvssink stream-name=front-door aws-region=us-west-2 endpoint={} credential-path={}",
        server.url(),
        file.display()
    );
    let mut child = command(&[("GST_DEBUG", "kvssink:2")], &pipeline).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let story = async {
        for (complaint, text) in [
            ("cannot read the credential file", "CREDENTIALS AKIDTEST wrong\n"),
            ("signature", "CREDENTIALS AKIDTEST 2099-01-01T00:00:00Z secret token\n"),
        ] {
            while !errors.next_line().await.unwrap().expect("a complaint").contains(complaint) {}
            std::fs::write(&file, text).unwrap();
        }
        while errors.next_line().await.unwrap().is_some() {}
        child.wait().await.unwrap()
    };
    assert!(timeout(Duration::from_secs(60), story).await.expect("it ends in time").success());
    let state = stored::state(&server.url(), "front-door").await.unwrap();
    assert_eq!(state["frames"], 150, "{state}");
    server.shutdown().await;
}

/// With credentials that live so long; returns how often they were fetched, and the stream's state.
async fn by_device_certificate(life: Duration) -> (u32, serde_json::Value) {
    let (server, folder) = local().await;
    let provider = CredentialsProvider::start(folder.path(), "AKIDTEST", "secret", life).await.unwrap();
    let properties = format!(
        "endpoint={} iot-certificate=iot-certificate,endpoint=\"{}\",cert-path={},key-path={},ca-path={},\
         role-aliases=camera",
        server.url(),
        provider.endpoint,
        provider.certificate.display(),
        provider.key.display(),
        provider.ca.display(),
    );
    let state = stores(&server, &properties).await;
    server.shutdown().await;
    (provider.served(), state)
}

#[tokio::test]
async fn an_iot_device_certificate() {
    let (served, state) = by_device_certificate(Duration::from_secs(3600)).await;
    assert_eq!(served, 1, "once for all calls and sessions");
    assert_eq!(state["putMedia"]["sessions"], 1, "{state}");
}

#[tokio::test]
async fn a_session_ends_before_the_credentials_of_its_device_do() {
    let (served, state) = by_device_certificate(Duration::from_secs(3)).await;
    assert!(served >= 2, "{served}");
    assert!(state["putMedia"]["sessions"].as_u64().unwrap() >= 2, "{state}");
    assert_eq!(state["putMedia"]["refused"], 0, "{state}");
}

#[tokio::test]
async fn sessions_are_rotated_and_no_frame_is_lost() {
    let (server, _folder) = local().await;
    let properties =
        format!("endpoint={} access-key=AKIDTEST secret-key=secret rotation-period=1", server.url());
    let state = stores(&server, &properties).await;
    assert!(state["putMedia"]["sessions"].as_u64().unwrap() >= 2, "{state}");
    assert_eq!(state["putMedia"]["refused"], 0, "{state}");
    server.shutdown().await;
}

#[tokio::test]
async fn tls_by_a_ca_file() {
    let (server, folder) = local_with(|config| config.tls_listen = Some(([127, 0, 0, 1], 0).into())).await;
    let url = server.tls_url().unwrap();
    let pipeline = format!(
        "{VIDEO} ! kvssink stream-name=front-door access-key=AKIDTEST secret-key=secret endpoint={url}"
    );
    let trusted = format!("{pipeline} ca-file={}", folder.path().join("kvs/ca.pem").display());
    let output = launch_in(&[], &trusted).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let missing = launch_in(&[], &format!("{pipeline} ca-file=/nonexistent.pem")).await;
    assert!(!missing.status.success());
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("/nonexistent.pem"), "{text}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_stream_is_created_as_the_properties_say_and_tagged_at_each_start() {
    let (server, _folder) = local().await;
    let access = format!("endpoint={} access-key=AKIDTEST secret-key=secret", server.url());
    let key = "arn:aws:kms:us-west-2:000000000000:key/1";
    stores(&server, &format!("{access} retention-period=5 kms-key-id={key} stream-tags=tags,place=door"))
        .await;
    let context = AwsContext::builder()
        .region("us-west-2")
        .endpoint_url(server.url())
        .static_credentials("AKIDTEST", "secret", None)
        .build()
        .await
        .unwrap();
    let client = Client::new(context.sdk_config());
    let info = client.describe_stream().stream_name("front-door").send().await.unwrap().stream_info.unwrap();
    assert_eq!((info.data_retention_in_hours, info.kms_key_id.as_deref()), (Some(5), Some(key)));
    assert_eq!(info.media_type.as_deref(), Some("video/h264"));
    assert_eq!(info.device_name.as_deref(), Some("Kinesis_Video_Device"), "as the C++ element says");
    let tags = async || {
        let answer = client.list_tags_for_stream().stream_name("front-door").send().await.unwrap();
        answer.tags.unwrap_or_default().remove("place")
    };
    assert_eq!(tags().await.as_deref(), Some("door"));
    let again = format!(
        "videotestsrc num-buffers=10 ! x264enc ! kvssink stream-name=front-door {access} stream-tags=tags,place=gate"
    );
    assert!(launch_in(&[], &again).await.status.success());
    assert_eq!(tags().await.as_deref(), Some("gate"));
    // A tag is a string: none of the others is taken beside one that is not.
    let output = launch_in(&[], &again.replace("place=gate", "place=yard,floor=1")).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("the tag floor of stream-tags"), "{text}");
    assert_eq!(tags().await.as_deref(), Some("gate"));
    server.shutdown().await;
}
