//! Signatures made by other implementations (the JavaScript and Android WebRTC SDKs, botocore, the C++ producer), which
//! [`verify`](super::verify) must find right, and wrong when anything in them changes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    AccessKey, KeyRing, PayloadHash, Request, Verified,
    sigv4::{verify, verify_service},
};
use crate::error::ErrorKind;

const TOKEN: &str = "AQoEXAMPLEH4aoAH0gNCAPyJxz4BlCFFxWNE1OPTgk5TthT+FvwqnKwRcOIfrRh3c/LTo6UDdyJwOOvEVPvLXCrrrUtdnniCEXAMPLE/IvU1dYUg2RVAJBanLiHb4IgRmpRV3zrkuWJOgQs8IZZaIv2BXIa2R4OlgkBN9bkUDNCJiBeb/AXlzBBko7b15fjrBs2+cTQtpZ3CYWFXG8C5zqx37wnOE49mRl/+OtkIKGO7fAE";
const ARN: &str =
    "arn%3Aaws%3Akinesisvideo%3Aus-west-2%3A123456789012%3Achannel%2Fdemo-channel%2F1234567890123";
const CLIENT: &str = "d7d1c6e2-9cb0-4d61-bea9-ecb3d3816557";

fn keys() -> KeyRing {
    KeyRing::new(&[
        AccessKey::new("AKIA4F7WJQR7FMMWMNXI", "FakeSecretKey"),
        AccessKey::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        AccessKey::new("AKIAIOSFODJJ7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxQQiCYEXAMPLEKEY"),
        AccessKey::new("AKIDEXAMPLE", "wJalrXUtnFEMIEXAMPLEKEY"),
    ])
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2019-12-01T00:00:00Z, 2023-07-24T08:07:02Z and 2026-11-20T23:02:42Z
const DEC_2019: u64 = 1_575_158_400;
const JUL_2023: u64 = 1_690_186_022;
const NOV_2026: u64 = 1_795_215_762;

fn kvs_query(client: bool, token: bool, expires: u32, signature: &str) -> String {
    let key = if token { "AKIAIOSFODNN7EXAMPLE" } else { "AKIAIOSFODJJ7EXAMPLE" };
    let client = if client { format!("&X-Amz-ClientId={CLIENT}") } else { String::new() };
    let token = if token {
        let token = percent_encoding::utf8_percent_encode(TOKEN, percent_encoding::NON_ALPHANUMERIC);
        format!("&X-Amz-Security-Token={token}")
    } else {
        String::new()
    };
    format!(
        "X-Amz-Signature={signature}&X-Amz-ChannelARN={ARN}{client}&X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential={key}%2F20230724%2Fus-west-2%2Fkinesisvideo%2Faws4_request\
         &X-Amz-Date=20230724T080702Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host{token}"
    )
}

fn websocket(host: &str, query: &str, now: SystemTime) -> Result<Verified, crate::error::ServiceError> {
    let headers = headers(&[("host", host), ("sec-websocket-protocol", "wss"), ("user-agent", "any")]);
    let payload = PayloadHash::Body(b"");
    verify(&Request { method: "GET", path: "/", query, headers: &headers, payload }, &keys(), now)
}

#[test]
fn signed_websocket_urls() {
    const MASTER: &str = "m-a1b2c3d4.kinesisvideo.us-west-2.amazonaws.com";
    const VIEWER: &str = "v-a1b2c3d4.kinesisvideo.us-west-2.amazonaws.com";
    let cases = [
        (MASTER, false, true, 299, "f8fed632bbe38ac920c7ed2eeaba1a4ba5e2b1bd7aada9f852708112eab76baa"),
        (VIEWER, true, true, 299, "77ea5ff8ede2e22aa268a3a068f1ad3a5d92f0fa8a427579f9e6376e97139761"),
        (MASTER, false, false, 299, "0bbef329f0d9d3e68635f7b844ac684c7764a0c228ca013232d935c111b9a370"),
        (VIEWER, true, false, 299, "cea541f699dc51bc53a55590ce817e63cc06fac2bdef4696b63e0889eb448f0b"),
        (VIEWER, true, false, 604_800, "7c258dd95e75506935af6f7d5e9d1b10170005f289501763ffc8520ca56563f6"),
        (
            "127.0.0.1:8443",
            true,
            false,
            299,
            "6618a28fe78f76d291d49f184878f34bd364a7c1f4049815a0a01a91514974ce",
        ),
        ("127.0.0.1", true, false, 299, "b3017dd975d73959c9fbbab1bdba736422f5c5984721ab009f4ee595a8f883ca"),
        // signed without the port, sent with it
        (
            "127.0.0.1:8443",
            true,
            false,
            299,
            "b3017dd975d73959c9fbbab1bdba736422f5c5984721ab009f4ee595a8f883ca",
        ),
        (
            "localhost:8443",
            true,
            false,
            299,
            "b8e9f4ed66ccfec2d5fbdee46bcaceab81273dd3707490c7c5d49d08e776a0bc",
        ),
    ];
    for (host, client, token, expires, signature) in cases {
        let query = kvs_query(client, token, expires, signature);
        let verified = websocket(host, &query, at(JUL_2023 + 200)).unwrap();
        assert_eq!(verified.region, "us-west-2");
        let wrong = websocket(host, &query.replace("demo-channel", "other"), at(JUL_2023)).unwrap_err();
        assert_eq!(wrong.kind, ErrorKind::InvalidSignature);
        assert!(wrong.message.starts_with("The request signature we calculated does not match"));
        assert!(websocket("elsewhere", &query, at(JUL_2023)).is_err());
        let late = websocket(host, &query, at(JUL_2023 + u64::from(expires) + 1)).unwrap_err();
        assert!(late.message.starts_with("Signature expired: "), "{late}");
        let early = websocket(host, &query, at(JUL_2023 - 301)).unwrap_err();
        assert!(early.message.starts_with("Signature not yet current: 20230724T080702Z"), "{early}");
    }
    let week = kvs_query(true, false, 604_801, &"0".repeat(64));
    assert_eq!(websocket(VIEWER, &week, at(JUL_2023)).unwrap_err().kind, ErrorKind::IncompleteSignature);
}

#[test]
fn vectors_of_the_javascript_sdk() {
    let cases = [
        ("/", "kinesisvideo", true, "fc268038be276315822b4f73eafd28ee3a5632a2a35fdb0a88db9a42b13d6c92"),
        ("/", "kinesisvideo", false, "be1e78950d956a8a9a1997417099ddbd7455619f3d08c4ad20e1e272179ca695"),
        ("/", "firehose", true, "f15308513d21a381d38b7607a0439f25fc2e6c9f5ff56a48c1664b486e6234d5"),
        (
            "/path/path/path",
            "kinesisvideo",
            true,
            "0bf3df6ca23d8d82f688e8dbfb90d69e74843d40038541b1721c545eef7612a4",
        ),
    ];
    for (path, service, token, signature) in cases {
        let token = if token { "&X-Amz-Security-Token=FakeSessionToken" } else { "" };
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA4F7WJQR7FMMWMNXI%2F20191201%2Fus-west-2%2F{service}\
             %2Faws4_request&X-Amz-Date=20191201T000000Z&X-Amz-Expires=299{token}&X-Amz-Signature={signature}\
             &X-Amz-SignedHeaders=host&X-Amz-TestParam=test-param-value"
        );
        let headers = headers(&[("host", "kvs.awsamazon.com")]);
        let payload = PayloadHash::Body(b"");
        let request = Request { method: "GET", path, query: &query, headers: &headers, payload };
        verify_service(&request, &keys(), at(DEC_2019), service).unwrap();
        let other = if service == "firehose" { "kinesisvideo" } else { "firehose" };
        assert!(verify_service(&request, &keys(), at(DEC_2019), other).is_err());
    }
}

fn post(
    path: &str,
    pairs: &[(&str, &str)],
    payload: PayloadHash<'_>,
    now: u64,
) -> Result<Verified, crate::error::ServiceError> {
    let headers = headers(pairs);
    verify(&Request { method: "POST", path, query: "", headers: &headers, payload }, &keys(), at(now))
}

#[test]
fn signed_calls_of_botocore_and_the_c_sdk() {
    const BODY: &[u8] = br#"{"ChannelName": "demo-channel"}"#;
    let a = "AKIAIOSFODNN7EXAMPLE";
    let b = "AKIAIOSFODJJ7EXAMPLE";
    let aws = "kinesisvideo.us-west-2.amazonaws.com";
    let cases = [
        (b, aws, "host;x-amz-date", "6608a9c88b91c4fa60d023f6ac8e85281cc5a4f6cc45c802f777afe4dc859f57"),
        (
            b,
            aws,
            "content-type;host;x-amz-date",
            "e92d38f180f5c49afbb33d299e572d020bbdc763a93e699fb8665361d15f0f08",
        ),
        (
            a,
            "127.0.0.1:8080",
            "content-type;host;x-amz-date;x-amz-security-token",
            "e0487776af0c292ae10c22fe0d87f82de6af7df9139e8421352d8a4ffe6324d9",
        ),
    ];
    for (key, host, signed, signature) in cases {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20230724/us-west-2/kinesisvideo/aws4_request, SignedHeaders={signed}, \
             Signature={signature}"
        );
        let pairs = [
            ("host", host),
            ("authorization", &authorization),
            ("content-type", "application/json"),
            ("x-amz-date", "20230724T080702Z"),
            // sent even where it is not signed
            ("x-amz-security-token", TOKEN),
        ];
        let path = "/describeSignalingChannel";
        let verified = post(path, &pairs, PayloadHash::Body(BODY), JUL_2023).unwrap();
        assert_eq!(verified.access_key, key);
        let other = post(path, &pairs, PayloadHash::Body(b"{}"), JUL_2023).unwrap_err();
        assert_eq!(other.kind, ErrorKind::InvalidSignature);
        let late = post(path, &pairs, PayloadHash::Body(BODY), JUL_2023 + 301).unwrap_err();
        assert_eq!(
            late.message,
            "Signature expired: 20230724T080702Z is now earlier than 20230724T080703Z (20230724T081203Z - 5 min.)"
        );
        let mut unknown = pairs;
        let authorization = authorization.replace(key, "AKIAUNKNOWN");
        unknown[1].1 = &authorization;
        let unknown = post(path, &unknown, PayloadHash::Body(BODY), JUL_2023).unwrap_err();
        assert_eq!(unknown.message, "The security token included in the request is invalid.");
    }
}

#[test]
fn signed_calls_of_the_cpp_producer() {
    const AGENT: &str = "AWS-SDK-KVS-CPP-CLIENT/3.6.0/1.6.2 GCC/12.2.0 Linux/6.18.44-fc-v657 x86_64 CPPSDK";
    let authorization = |signed: &str, signature: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-west-2/kinesisvideo/aws4_request, \
             SignedHeaders={signed}, Signature={signature}"
        )
    };
    let calls: [(&str, &[u8], &str); 2] = [
        (
            "/describeStream",
            b"{\n\t\"StreamName\": \"test-stream\"\n}",
            "92235faa2ac656da5ff9fe2d0a041d3bf8ead7b9084aafc2ef33a335ed8adbd0",
        ),
        (
            "/getDataEndpoint",
            b"{\n\t\"StreamName\": \"test-stream\",\n\t\"APIName\": \"PUT_MEDIA\"\n}",
            "6cd71d39898cbc626d572c856d8febbb65ff3676513a57724bd84b37c504a04e",
        ),
    ];
    for (path, body, signature) in calls {
        let authorization = authorization("host;user-agent;x-amz-date", signature);
        let pairs = [
            ("host", "127.0.0.1"),
            ("authorization", &authorization),
            ("user-agent", AGENT),
            ("x-amz-date", "20261120T230242Z"),
        ];
        post(path, &pairs, PayloadHash::Body(body), NOV_2026).unwrap();
    }
    let authorization = authorization(
        "connection;host;transfer-encoding;user-agent;x-amz-date;x-amzn-fragment-acknowledgment-required;\
         x-amzn-fragment-timecode-type;x-amzn-producer-start-timestamp;x-amzn-stream-name",
        "8029bb1cf547b0a2d99f2d2bc32c8d01ae2bb585e4ebf69c58d0efabe9d4a20c",
    );
    let pairs = [
        ("host", "127.0.0.1"),
        ("authorization", &authorization),
        ("connection", "keep-alive"),
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
        ("user-agent", AGENT),
        ("x-amz-date", "20261120T230242Z"),
        ("x-amzn-fragment-acknowledgment-required", "1"),
        ("x-amzn-fragment-timecode-type", "ABSOLUTE"),
        ("x-amzn-producer-start-timestamp", "1795215762.982"),
        ("x-amzn-stream-name", "test-stream"),
        ("expect", "100-continue"),
    ];
    post("/putMedia", &pairs, PayloadHash::Streamed, NOV_2026).unwrap();
    let fewer = &pairs[..pairs.len() - 2];
    assert!(post("/putMedia", fewer, PayloadHash::Streamed, NOV_2026).is_err());
}

#[test]
fn no_credentials_and_half_credentials() {
    let none = post("/x", &[("host", "h")], PayloadHash::Body(b""), 0).unwrap_err();
    assert_eq!(none.kind, ErrorKind::MissingAuthenticationToken);
    for half in
        ["Basic x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b", "AWS4-HMAC-SHA256 Credential="]
    {
        let error =
            post("/x", &[("host", "h"), ("authorization", half)], PayloadHash::Body(b""), 0).unwrap_err();
        assert_eq!(error.kind, ErrorKind::IncompleteSignature, "{half}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(authorization in "[ -~]{0,80}", date in "[0-9TZ]{0,18}", query in "[ -~]{0,120}") {
        let pairs = [("host", "h"), ("authorization", authorization.as_str()), ("x-amz-date", date.as_str())];
        let _ = post("/", &pairs, PayloadHash::Body(b""), NOV_2026);
        let _ = websocket("h", &query, at(NOV_2026));
        let scope = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{date}/r/kinesisvideo/aws4_request, SignedHeaders=host, Signature={query}");
        let pairs = [("host", "h"), ("authorization", scope.as_str()), ("x-amz-date", date.as_str())];
        let _ = post("/", &pairs, PayloadHash::Body(b""), NOV_2026);
    }
}
