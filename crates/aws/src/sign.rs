//! AWS Signature Version 4 by `aws-sigv4`, in the two forms that KVS takes: headers, and the query of a WebSocket URL.
//! Pure: credentials, region and time come from the caller.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings,
    UriPathNormalizationMode, sign,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// The name under which all KVS services sign: control plane, signaling, media and storage.
pub(crate) const SERVICE: &str = "kinesisvideo";

/// What RFC 3986 section 2.3 leaves unencoded, and nothing else.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who signs what, where and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// The key pair, with its session token if it is temporary.
    pub credentials: &'a Credentials,
    /// The region of the endpoint.
    pub region: &'a str,
    /// [`SERVICE`] but in AWS's own test vectors.
    pub service: &'a str,
    /// AWS's time, not the local one: see [`crate::clock::Clock`].
    pub time: SystemTime,
}

/// Why something could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The URL has no host.
    #[error("{0} has no host to sign for")]
    NoHost(Url),
    /// A header value is not ASCII text.
    #[error("the value of header {0} is no text")]
    HeaderNotText(HeaderName),
    /// What `aws-sigv4` was given does not make a request.
    #[error("cannot sign: {0}")]
    Sigv4(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The `Host` header of a URL: with the port, unless it is the scheme's own.
///
/// # Errors
/// [`SignError::NoHost`].
pub(crate) fn host(url: &Url) -> Result<String, SignError> {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        (Some(host), None) => Ok(host.to_owned()),
        (None, _) => Err(SignError::NoHost(url.clone())),
    }
}

fn signing_params<'a>(
    scope: &Scope<'a>,
    identity: &'a aws_smithy_runtime_api::client::identity::Identity,
    settings: SigningSettings,
) -> Result<SigningParams<'a>, SignError> {
    Ok(aws_sigv4::sign::v4::SigningParams::builder()
        .identity(identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(settings)
        .build()
        .map_err(|error| SignError::Sigv4(Box::new(error)))?
        .into())
}

/// The headers to add to a request: `host`, `x-amz-date`, `x-amz-security-token` for temporary credentials, and
/// `authorization`. All of `headers` are signed, so give only those that no proxy changes. `body` is what the payload
/// hash is made of: for PutMedia, whose body has no end yet, KVS wants the empty string.
///
/// # Errors
/// A URL without host, a header that is no text.
pub(crate) fn sign_headers(
    scope: &Scope<'_>,
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<HeaderMap, SignError> {
    sign_headers_with(scope, method, url, headers, body, SigningSettings::default())
}

fn sign_headers_with(
    scope: &Scope<'_>,
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    body: &[u8],
    settings: SigningSettings,
) -> Result<HeaderMap, SignError> {
    let host = host(url)?;
    let mut signed = vec![("host", host.as_str())];
    for (name, value) in headers {
        let value = value.to_str().map_err(|_| SignError::HeaderNotText(name.clone()))?;
        signed.push((name.as_str(), value));
    }
    let identity = scope.credentials.clone().into();
    let params = signing_params(scope, &identity, settings)?;
    let request =
        SignableRequest::new(method.as_str(), url.as_str(), signed.into_iter(), SignableBody::Bytes(body))
            .map_err(|error| SignError::Sigv4(Box::new(error)))?;
    let (instructions, _) =
        sign(request, &params).map_err(|error| SignError::Sigv4(Box::new(error)))?.into_parts();
    let mut added = HeaderMap::new();
    for (name, value) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(|error| SignError::Sigv4(Box::new(error)))?;
        let mut value = HeaderValue::try_from(value).map_err(|error| SignError::Sigv4(Box::new(error)))?;
        value.set_sensitive(name != "x-amz-date");
        added.insert(name, value);
    }
    let value = HeaderValue::try_from(host).map_err(|error| SignError::Sigv4(Box::new(error)))?;
    added.insert(http::header::HOST, value);
    Ok(added)
}

/// The URL of a WebSocket handshake, signed in its query: `endpoint` as KVS gave it (`wss://…`, or `ws://…` of an
/// emulator; the signature does not cover the scheme), `parameters` such as `X-Amz-ChannelARN`, valid for `expires`
/// (KVS allows up to seven days, its own clients ask for 299 s). The session token is part of what is signed.
///
/// # Errors
/// A URL without host.
pub(crate) fn presign_websocket(
    scope: &Scope<'_>,
    endpoint: &Url,
    parameters: &[(&str, &str)],
    expires: Duration,
) -> Result<Url, SignError> {
    let host = host(endpoint)?;
    let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let mut url = endpoint.clone();
    let mut query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    url.set_query(Some(&query.join("&")));

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(expires);
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = scope.credentials.clone().into();
    let params = signing_params(scope, &identity, settings)?;
    // ws and wss are no schemes that an HTTP request line knows.
    let signable = url.as_str().replacen("ws", "http", 1);
    let request = SignableRequest::new(
        "GET",
        signable,
        [("host", host.as_str())].into_iter(),
        SignableBody::Bytes(b""),
    )
    .map_err(|error| SignError::Sigv4(Box::new(error)))?;
    let (instructions, _) =
        sign(request, &params).map_err(|error| SignError::Sigv4(Box::new(error)))?.into_parts();
    query.extend(instructions.params().iter().map(|(name, value)| format!("{name}={}", encode(value))));
    url.set_query(Some(&query.join("&")));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn at(text: &str) -> SystemTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap().into()
    }

    fn signature(url: &Url) -> String {
        url.query_pairs().find(|(name, _)| name == "X-Amz-Signature").unwrap().1.into_owned()
    }

    /// `SigV4RequestSigner.spec.ts` of the KVS WebRTC SDK for JavaScript.
    #[test]
    fn vectors_of_the_javascript_sdk() {
        for (endpoint, service, token, expected) in [
            (
                "wss://kvs.awsamazon.com/",
                SERVICE,
                true,
                "fc268038be276315822b4f73eafd28ee3a5632a2a35fdb0a88db9a42b13d6c92",
            ),
            (
                "wss://kvs.awsamazon.com/",
                SERVICE,
                false,
                "be1e78950d956a8a9a1997417099ddbd7455619f3d08c4ad20e1e272179ca695",
            ),
            (
                "wss://kvs.awsamazon.com/",
                "firehose",
                true,
                "f15308513d21a381d38b7607a0439f25fc2e6c9f5ff56a48c1664b486e6234d5",
            ),
            (
                "wss://kvs.awsamazon.com/path/path/path",
                SERVICE,
                true,
                "0bf3df6ca23d8d82f688e8dbfb90d69e74843d40038541b1721c545eef7612a4",
            ),
        ] {
            let token = token.then(|| "FakeSessionToken".to_owned());
            let credentials = Credentials::new("AKIA4F7WJQR7FMMWMNXI", "FakeSecretKey", token, None, "test");
            let scope = Scope {
                credentials: &credentials,
                region: "us-west-2",
                service,
                time: at("2019-12-01T00:00:00Z"),
            };
            let parameters = [("X-Amz-TestParam", "test-param-value")];
            let url = presign_websocket(
                &scope,
                &Url::parse(endpoint).unwrap(),
                &parameters,
                Duration::from_secs(299),
            )
            .unwrap();
            assert_eq!(signature(&url), expected, "{endpoint} {service}");
        }
    }

    const TOKEN: &str = "AQoEXAMPLEH4aoAH0gNCAPyJxz4BlCFFxWNE1OPTgk5TthT+FvwqnKwRcOIfrRh3c/LTo6UDdyJwOOvEVPvLXCrrrUtdnniCEXAMPLE/IvU1dYUg2RVAJBanLiHb4IgRmpRV3zrkuWJOgQs8IZZaIv2BXIa2R4OlgkBN9bkUDNCJiBeb/AXlzBBko7b15fjrBs2+cTQtpZ3CYWFXG8C5zqx37wnOE49mRl/+OtkIKGO7fAE";

    fn with_token() -> Credentials {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, Some(TOKEN.to_owned()), None, "test")
    }

    fn without_token() -> Credentials {
        Credentials::new(
            "AKIAIOSFODJJ7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxQQiCYEXAMPLEKEY",
            None,
            None,
            "test",
        )
    }

    /// `AwsV4SignerTest.java` of the KVS WebRTC SDK for Android, and addresses with ports.
    #[test]
    fn kvs_shaped_vectors() {
        let arn = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/demo-channel/1234567890123";
        let master = &[("X-Amz-ChannelARN", arn)][..];
        let viewer =
            &[("X-Amz-ChannelARN", arn), ("X-Amz-ClientId", "d7d1c6e2-9cb0-4d61-bea9-ecb3d3816557")][..];
        let (a, b) = (with_token(), without_token());
        let aws = "wss://v-a1b2c3d4.kinesisvideo.us-west-2.amazonaws.com";
        for (credentials, endpoint, parameters, expires, expected) in [
            (
                &a,
                "wss://m-a1b2c3d4.kinesisvideo.us-west-2.amazonaws.com",
                master,
                299,
                "f8fed632bbe38ac920c7ed2eeaba1a4ba5e2b1bd7aada9f852708112eab76baa",
            ),
            (&a, aws, viewer, 299, "77ea5ff8ede2e22aa268a3a068f1ad3a5d92f0fa8a427579f9e6376e97139761"),
            (
                &b,
                "wss://m-a1b2c3d4.kinesisvideo.us-west-2.amazonaws.com",
                master,
                299,
                "0bbef329f0d9d3e68635f7b844ac684c7764a0c228ca013232d935c111b9a370",
            ),
            (&b, aws, viewer, 299, "cea541f699dc51bc53a55590ce817e63cc06fac2bdef4696b63e0889eb448f0b"),
            (&b, aws, viewer, 604_800, "7c258dd95e75506935af6f7d5e9d1b10170005f289501763ffc8520ca56563f6"),
            (
                &b,
                "ws://127.0.0.1:8443",
                viewer,
                299,
                "6618a28fe78f76d291d49f184878f34bd364a7c1f4049815a0a01a91514974ce",
            ),
            (
                &b,
                "wss://127.0.0.1",
                viewer,
                299,
                "b3017dd975d73959c9fbbab1bdba736422f5c5984721ab009f4ee595a8f883ca",
            ),
            (
                &b,
                "wss://localhost:8443",
                viewer,
                299,
                "b8e9f4ed66ccfec2d5fbdee46bcaceab81273dd3707490c7c5d49d08e776a0bc",
            ),
        ] {
            let scope = Scope {
                credentials,
                region: "us-west-2",
                service: SERVICE,
                time: at("2023-07-24T08:07:02Z"),
            };
            let endpoint = Url::parse(endpoint).unwrap();
            let url = presign_websocket(&scope, &endpoint, parameters, Duration::from_secs(expires)).unwrap();
            assert_eq!(signature(&url), expected, "{endpoint} {expires}");
            assert_eq!((url.scheme(), url.port()), (endpoint.scheme(), endpoint.port()));
        }
    }

    fn header_signature(
        credentials: &Credentials,
        url: &str,
        headers: &[(&'static str, &'static str)],
    ) -> String {
        let scope =
            Scope { credentials, region: "us-west-2", service: SERVICE, time: at("2023-07-24T08:07:02Z") };
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let body = br#"{"ChannelName": "demo-channel"}"#;
        let added = sign_headers(&scope, &Method::POST, &Url::parse(url).unwrap(), &headers, body).unwrap();
        let authorization = added["authorization"].to_str().unwrap();
        assert!(added["authorization"].is_sensitive());
        authorization.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    /// The last two are what botocore makes of the same requests.
    #[test]
    fn vectors_of_signed_headers() {
        let aws = "https://kinesisvideo.us-west-2.amazonaws.com/describeSignalingChannel";
        let json = [("content-type", "application/json")];
        let b = without_token();
        assert_eq!(
            header_signature(&b, aws, &[]),
            "6608a9c88b91c4fa60d023f6ac8e85281cc5a4f6cc45c802f777afe4dc859f57"
        );
        assert_eq!(
            header_signature(&b, aws, &json),
            "e92d38f180f5c49afbb33d299e572d020bbdc763a93e699fb8665361d15f0f08"
        );
        let local = "http://127.0.0.1:8080/describeSignalingChannel";
        assert_eq!(
            header_signature(&with_token(), local, &json),
            "e0487776af0c292ae10c22fe0d87f82de6af7df9139e8421352d8a4ffe6324d9"
        );
    }

    /// What the C++ producer sends. It signs headers that this crate leaves out, for proxies change them.
    #[test]
    fn vectors_of_the_cpp_producer() {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMIEXAMPLEKEY", None, None, "test");
        let scope = Scope {
            credentials: &credentials,
            region: "us-west-2",
            service: SERVICE,
            time: at("2026-11-20T23:02:42Z"),
        };
        let agent = "AWS-SDK-KVS-CPP-CLIENT/3.6.0/1.6.2 GCC/12.2.0 Linux/6.18.44-fc-v657 x86_64 CPPSDK";
        let media = &[
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("x-amzn-fragment-acknowledgment-required", "1"),
            ("x-amzn-fragment-timecode-type", "ABSOLUTE"),
            ("x-amzn-producer-start-timestamp", "1795215762.982"),
            ("x-amzn-stream-name", "test-stream"),
        ][..];
        for (path, more, body, expected) in [
            (
                "describeStream",
                &[][..],
                "{\n\t\"StreamName\": \"test-stream\"\n}",
                "92235faa2ac656da5ff9fe2d0a041d3bf8ead7b9084aafc2ef33a335ed8adbd0",
            ),
            (
                "getDataEndpoint",
                &[],
                "{\n\t\"StreamName\": \"test-stream\",\n\t\"APIName\": \"PUT_MEDIA\"\n}",
                "6cd71d39898cbc626d572c856d8febbb65ff3676513a57724bd84b37c504a04e",
            ),
            ("putMedia", media, "", "8029bb1cf547b0a2d99f2d2bc32c8d01ae2bb585e4ebf69c58d0efabe9d4a20c"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("user-agent", HeaderValue::from_static(agent));
            for (name, value) in more {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let url = Url::parse(&format!("http://127.0.0.1/{path}")).unwrap();
            let mut settings = SigningSettings::default();
            settings.excluded_headers = None;
            let added =
                sign_headers_with(&scope, &Method::POST, &url, &headers, body.as_bytes(), settings).unwrap();
            assert_eq!(added["x-amz-date"], "20261120T230242Z");
            let authorization = added["authorization"].to_str().unwrap();
            assert!(authorization.ends_with(&format!("Signature={expected}")), "{path}: {authorization}");
            let added = sign_headers(&scope, &Method::POST, &url, &headers, body.as_bytes()).unwrap();
            let authorization = added["authorization"].to_str().unwrap();
            assert!(!authorization.contains("user-agent") && !authorization.contains("transfer-encoding"));
        }
    }
}
