//! The control plane and ICE servers against a scripted service: endpoints, repeated calls, races, errors, TLS.
//!
//! What depends on the environment has its other half (`child_…`) in a process with that environment.
#![allow(clippy::unwrap_used)]

#[path = "../../aws/tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kvs::signaling::{SignalingConfig, SignalingEvent, SignalingRole, connect};
use kvs::{
    ChannelId, ClientId, ControlPlane, MediaStorage, NewStream, Role, StreamId, Tags, ice_servers,
    stun_server,
};
use kvs_aws::{AwsContext, ErrorClass};
use support::{Answer, Request, Script, Server, date, in_environment, serve};
use url::Url;

const CHANNEL: &str = "arn:aws:kinesisvideo:us-west-2:111122223333:channel/door/0123456789012";
const STREAM: &str = "arn:aws:kinesisvideo:us-west-2:111122223333:stream/door/0123456789012";

fn channel_info(status: &str) -> String {
    format!(
        r#"{{"ChannelInfo":{{"ChannelName":"door","ChannelARN":"{CHANNEL}","ChannelStatus":"{status}","SingleMasterConfiguration":{{"MessageTtlSeconds":45}},"Version":"a"}}}}"#
    )
}

fn stream_info(status: &str) -> String {
    format!(
        r#"{{"StreamInfo":{{"StreamName":"door","StreamARN":"{STREAM}","Status":"{status}","DataRetentionInHours":24}}}}"#
    )
}

fn day() -> NewStream {
    NewStream { retention_hours: 24, ..NewStream::default() }
}

fn ok(body: impl Into<String>) -> Answer {
    Answer(200, vec![], body.into())
}

fn error(status: u16, kind: &str, message: &str) -> Answer {
    let headers =
        vec![("x-amzn-ErrorType", format!("{kind}:http://x/")), ("x-amzn-RequestId", "request-7".to_owned())];
    Answer(status, headers, format!(r#"{{"Message":"{message}"}}"#))
}

async fn context(url: &str) -> AwsContext {
    AwsContext::builder()
        .region("us-west-2")
        .static_credentials("AKID", "secret", None)
        .endpoint_url(url)
        .build()
        .await
        .unwrap()
}

async fn control(url: &str) -> ControlPlane {
    ControlPlane::new(&context(url).await)
}

fn door() -> ChannelId {
    ChannelId::Name("door".parse().unwrap())
}

fn stream() -> StreamId {
    StreamId::Name("door".parse().unwrap())
}

#[tokio::test]
async fn what_is_described_is_read() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/describeSignalingChannel" => ok(channel_info("ACTIVE")),
        "/describeMediaStorageConfiguration" => ok(format!(
            r#"{{"MediaStorageConfiguration":{{"Status":"ENABLED","StreamARN":"{STREAM}"}}}}"#
        )),
        "/getSignalingChannelEndpoint" => {
            assert!(request.body.contains(r#""Role":"VIEWER""#), "{}", request.body);
            ok(r#"{"ResourceEndpointList":[{"Protocol":"WSS","ResourceEndpoint":"wss://v-1.x"},{"Protocol":"HTTPS","ResourceEndpoint":"https://r-1.x:8443"}]}"#)
        }
        "/getDataEndpoint" => ok(r#"{"DataEndpoint":"https://s-1.x"}"#),
        path => panic!("{path}"),
    })
    .await;
    let control = control(&server.url).await;
    let info = control.describe_channel(&door()).await.unwrap();
    assert_eq!((info.name.as_str(), info.arn.as_str()), ("door", CHANNEL));
    assert_eq!(info.message_ttl.as_secs(), 45);
    let expected = MediaStorage::Enabled { stream_arn: Some(STREAM.to_owned()) };
    assert_eq!(control.media_storage(&info.arn).await.unwrap(), expected);
    let endpoints = control.channel_endpoints(&info.arn, Role::Viewer).await.unwrap();
    assert_eq!((endpoints.wss.as_str(), endpoints.https.port()), ("wss://v-1.x/", Some(8443)));
    let url = control.put_media_endpoint(&stream()).await.unwrap();
    assert_eq!(url.as_str(), "https://s-1.x/");
    let authorization = server.requests()[0].headers["authorization"].clone();
    assert!(authorization.contains("/us-west-2/kinesisvideo/aws4_request"), "{authorization}");
}

#[tokio::test]
async fn an_error_says_which_call_on_what_and_why() {
    let server = Server::start(|_, _| {
        error(404, "ResourceNotFoundException", "The requested channel is not found or not active.")
    })
    .await;
    let error = control(&server.url).await.describe_channel(&door()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    assert_eq!(error.request_id.as_deref(), Some("request-7"));
    let text = error.to_string();
    for part in ["DescribeSignalingChannel", "channel door", "not found or not active", "request-7"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn who_may_not_ask_for_media_storage_assumes_there_is_none() {
    let server = Server::start(|_, _| error(403, "AccessDeniedException", "not authorized")).await;
    let control = control(&server.url).await;
    assert_eq!(control.media_storage(&CHANNEL.parse().unwrap()).await.unwrap(), MediaStorage::NotPermitted);
    let error = control.describe_channel(&door()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::AccessDenied);
}

#[tokio::test]
async fn throttling_is_told_apart_although_it_is_a_400() {
    let server = Server::start(|_, _| error(400, "ClientLimitExceededException", "slow down")).await;
    let error = control(&server.url).await.describe_channel(&door()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled, "{error}");
}

/// The first signature is an hour old; the service's front end refuses it without an error type.
#[tokio::test]
async fn a_call_signed_too_early_is_made_again_at_the_right_time() {
    let server = Server::start(|_, number| {
        let headers = vec![("Date", date(3600))];
        match number {
            0 => {
                Answer(403, headers, r#"{"message":"Signature expired: a is now earlier than b"}"#.to_owned())
            }
            _ => Answer(200, headers, channel_info("ACTIVE")),
        }
    })
    .await;
    let context = context(&server.url).await;
    let control = ControlPlane::new(&context);
    control.describe_channel(&door()).await.unwrap();
    control.describe_channel(&door()).await.unwrap();
    assert!((3_595_000..3_605_000).contains(&context.skew_ms()), "{}", context.skew_ms());
    let stamps: Vec<_> = server
        .requests()
        .iter()
        .map(|request| {
            let stamp = &request.headers["x-amz-date"];
            let hour: i64 = stamp[9..11].parse().unwrap();
            let minute: i64 = stamp[11..13].parse().unwrap();
            hour * 60 + minute
        })
        .collect();
    assert_eq!(stamps.len(), 3);
    // Corrected once, and not twice: the SDK's own correction is off.
    for stamp in &stamps[1..] {
        assert!((59..=61).contains(&(stamp - stamps[0]).rem_euclid(24 * 60)), "{stamps:?}");
    }
}

#[tokio::test]
async fn what_someone_else_created_meanwhile_is_as_good() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        ("/createStream", _) => {
            assert!(request.body.contains(r#""DataRetentionInHours":24"#), "{}", request.body);
            error(400, "ResourceInUseException", "exists")
        }
        (_, 0 | 2) => error(404, "ResourceNotFoundException", "not yet"),
        (_, 3) => ok(stream_info("CREATING")),
        _ => ok(stream_info("ACTIVE")),
    })
    .await;
    let found = control(&server.url).await.find_or_create_stream(&stream(), Some(&day())).await.unwrap();
    let info = found.info;
    assert_eq!((info.name.as_str(), info.retention_hours, info.active), ("door", 24, true));
    assert_eq!((found.created, server.requests().len()), (false, 5));
}

#[tokio::test]
async fn a_channel_is_created_and_waited_for() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        ("/createSignalingChannel", _) => ok(format!(r#"{{"ChannelARN":"{CHANNEL}"}}"#)),
        (_, 0) => error(404, "ResourceNotFoundException", "no"),
        (_, 2) => ok(channel_info("CREATING")),
        _ => ok(channel_info("ACTIVE")),
    })
    .await;
    let found = control(&server.url).await.find_or_create_channel(&door(), Some(&Tags::new())).await.unwrap();
    assert_eq!((found.info.arn.as_str(), found.info.active, found.created), (CHANNEL, true, true));
    assert_eq!(server.requests().len(), 4);
}

/// As the agent and kvssink start: two of them, at the same time.
#[tokio::test]
async fn what_is_missing_is_created_once_and_found_by_the_other() {
    let server = Server::start(|request, number| match (request.path.as_str(), number) {
        ("/createStream", 1) => {
            let body = &request.body;
            assert!(
                body.contains(r#""MediaType":"video/h264""#) && body.contains(r#""DeviceName":"camera""#)
            );
            ok(format!(r#"{{"StreamARN":"{STREAM}"}}"#))
        }
        ("/createStream", _) => error(400, "ResourceInUseException", "exists"),
        (_, 0 | 4) => error(404, "ResourceNotFoundException", "not yet"),
        (_, 2) => ok(stream_info("CREATING")),
        _ => ok(stream_info("ACTIVE")),
    })
    .await;
    let waits = Arc::<AtomicBool>::default();
    let control = control(&server.url).await.waiting(waits.clone());
    let new = NewStream {
        media_type: Some("video/h264".to_owned()),
        device_name: Some("camera".to_owned()),
        ..day()
    };
    let first = control.find_or_create_stream(&stream(), Some(&new)).await.unwrap();
    let second = control.find_or_create_stream(&stream(), Some(&new)).await.unwrap();
    assert_eq!((first.created, second.created), (true, false));
    assert_eq!(first.info, second.info);
    assert!(waits.load(Ordering::Relaxed), "it was CREATING");
    let third = control.find_or_create_stream(&stream(), Some(&new)).await.unwrap();
    assert!(!third.created);
    let paths: Vec<_> = server.requests().iter().map(|request| request.path.clone()).collect();
    let (describe, create) = ("/describeStream", "/createStream");
    assert_eq!(paths, [describe, create, describe, describe, describe, create, describe, describe]);
}

#[tokio::test]
async fn what_is_missing_and_not_to_be_created_is_missing() {
    let server = Server::start(|_, _| error(404, "ResourceNotFoundException", "no")).await;
    let control = control(&server.url).await;
    let missing = control.find_or_create_stream(&stream(), None).await.unwrap_err();
    assert_eq!((missing.operation, missing.class), ("DescribeStream", ErrorClass::NotFound));
    // Nobody can create what is named by its ARN.
    let arn = ChannelId::Arn(CHANNEL.parse().unwrap());
    let missing = control.find_or_create_channel(&arn, Some(&Tags::new())).await.unwrap_err();
    assert_eq!((missing.operation, missing.class), ("DescribeSignalingChannel", ErrorClass::NotFound));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn who_may_not_create_is_told_at_once() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/createStream" => error(403, "AccessDeniedException", "not authorized"),
        _ => error(404, "ResourceNotFoundException", "no"),
    })
    .await;
    let control = control(&server.url).await;
    let error = control.find_or_create_stream(&stream(), Some(&day())).await.unwrap_err();
    assert_eq!((error.operation, error.class), ("CreateStream", ErrorClass::AccessDenied));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_a_network_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = control(&url).await.describe_channel(&door()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Network, "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn an_answer_without_what_was_asked_for_is_the_services_fault() {
    let server = Server::start(|_, _| ok("{}")).await;
    let control = control(&server.url).await;
    let error = control.describe_stream(&stream()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Service);
    assert!(error.to_string().contains("StreamInfo"), "{error}");
    let error = control.channel_endpoints(&CHANNEL.parse().unwrap(), Role::Viewer).await.unwrap_err();
    assert!(error.to_string().contains("WSS"), "{error}");
}

fn ice_list(request: &Request) -> Answer {
    assert_eq!(request.path, "/v1/get-ice-server-config");
    assert!(request.body.contains(r#""ClientId":"viewer-1""#), "{}", request.body);
    ok(
        r#"{"IceServerList":[{"Uris":["turn:a:443?transport=udp"],"Username":"1:v1=","Password":"p+/=","Ttl":300},{"Uris":[]}]}"#,
    )
}

/// The endpoint that the service gave goes before the control plane's.
#[tokio::test]
async fn ice_servers_are_asked_for_where_the_service_said() {
    let control = Server::start(|request, _| panic!("{}", request.path)).await;
    let signaling = Server::start(|request, _| ice_list(request)).await;
    let context = context(&control.url).await;
    let https = Url::parse(&signaling.url).unwrap();
    let client_id: ClientId = "viewer-1".parse().unwrap();
    let servers = ice_servers(&context, &https, &CHANNEL.parse().unwrap(), &client_id).await.unwrap();
    assert_eq!(servers.len(), 1);
    assert_eq!((servers[0].username.as_str(), servers[0].credential.as_str()), ("1:v1=", "p+/="));
    assert_eq!(servers[0].ttl.as_secs(), 300);
    assert_eq!(stun_server(&context), None);
}

const ENVIRONMENT: [(&str, &str); 3] =
    [("AWS_REGION", "us-west-2"), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];

#[tokio::test]
async fn the_names_of_services_go_before_the_general_one() {
    let general = Server::start(|request, _| panic!("{}", request.path)).await;
    let control = Server::start(|_, _| ok(channel_info("ACTIVE"))).await;
    let signaling = Server::start(|request, _| ice_list(request)).await;
    let mut variables = ENVIRONMENT.to_vec();
    variables.extend([
        ("AWS_ENDPOINT_URL", general.url.as_str()),
        ("AWS_ENDPOINT_URL_KINESIS_VIDEO", &control.url),
        ("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", &signaling.url),
    ]);
    in_environment("child_endpoints", &variables).await;
    assert_eq!((control.requests().len(), signaling.requests().len()), (1, 1));
}

#[tokio::test]
async fn the_general_endpoint_is_the_control_planes_alone() {
    let control = Server::start(|_, _| ok(channel_info("ACTIVE"))).await;
    let mut variables = ENVIRONMENT.to_vec();
    variables.push(("AWS_ENDPOINT_URL", &control.url));
    in_environment("child_general_endpoint", &variables).await;
    assert_eq!(control.requests().len(), 1);
}

/// The second at the endpoint that GetSignalingChannelEndpoint might have given: port 9, which refuses.
async fn ask_both() -> Result<Vec<kvs::IceServer>, kvs::Error> {
    let context = AwsContext::builder().build().await.unwrap();
    assert!(context.has_custom_endpoint());
    ControlPlane::new(&context).describe_channel(&door()).await.unwrap();
    let given = Url::parse("http://127.0.0.1:9").unwrap();
    ice_servers(&context, &given, &CHANNEL.parse().unwrap(), &"viewer-1".parse().unwrap()).await
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_endpoints() {
    assert_eq!(ask_both().await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_general_endpoint() {
    assert_eq!(ask_both().await.unwrap_err().class, ErrorClass::Network);
}

/// A certificate of an authority of our own for `localhost`, and the authority's PEM.
fn authority() -> (Arc<rustls::ServerConfig>, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    (Arc::new(config), ca.pem())
}

/// Both the SDK's client and our own WebSocket trust the bundle, and neither trusts without it.
#[tokio::test]
async fn a_ca_bundle_is_trusted_everywhere() {
    let (config, ca) = authority();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let script: Script = Arc::new(|_, _| ok(channel_info("ACTIVE")));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, requests, script) = (acceptor.clone(), requests.clone(), script.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, requests, script).await;
                }
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ca).unwrap();
    let url = format!("https://localhost:{port}");
    let builder = || {
        AwsContext::builder()
            .region("us-west-2")
            .static_credentials("AKID", "secret", None)
            .endpoint_url(url.clone())
    };
    let signaling = SignalingConfig::new(
        Url::parse(&format!("wss://localhost:{port}")).unwrap(),
        CHANNEL.parse().unwrap(),
        SignalingRole::Master,
    );

    let trusting = builder().ca_bundle(&path).build().await.unwrap();
    ControlPlane::new(&trusting).describe_channel(&door()).await.unwrap();
    // TLS is fine; what answers is no WebSocket.
    let error = connect(&trusting, &signaling).await.unwrap_err();
    assert!(error.to_string().contains("refused with HTTP 200"), "{error}");

    let other = builder().build().await.unwrap();
    let error = ControlPlane::new(&other).describe_channel(&door()).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let error = connect(&other, &signaling).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!(error.class(), ErrorClass::Network);
}

/// `wss://` with TLS of our own, through to the messages.
#[tokio::test]
async fn signaling_goes_over_tls() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let (config, ca) = authority();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.send(Message::text(r#"{"messageType":"GO_AWAY"}"#)).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ca).unwrap();
    let context = AwsContext::builder()
        .region("us-west-2")
        .static_credentials("AKID", "secret", None)
        .ca_bundle(&path)
        .build()
        .await
        .unwrap();
    let wss = Url::parse(&format!("wss://localhost:{port}")).unwrap();
    let config = SignalingConfig::new(wss, CHANNEL.parse().unwrap(), SignalingRole::Master);
    let (_sender, mut receiver) = connect(&context, &config).await.unwrap();
    assert_eq!(receiver.recv().await, Some(SignalingEvent::GoAway));
}
