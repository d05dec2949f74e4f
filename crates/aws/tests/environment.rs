//! What the environment decides: region, credential sources, roles, the CA bundle.
//!
//! Each test starts what it needs, and its other half (`child_…`) in a process with that environment.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, SystemTime};

use kvs_aws::{AssumeRole, AwsContext, ContextError, CredentialsError, ErrorClass};
use support::{Answer, Server, date, in_environment};

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDBASE"), ("AWS_SECRET_ACCESS_KEY", "basesecret")];

#[tokio::test]
async fn no_region_says_where_to_set_one() {
    in_environment("child_no_region", &KEYS).await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_no_region() {
    let error = AwsContext::builder().build().await.unwrap_err();
    assert!(matches!(error, ContextError::NoRegion), "{error:?}");
    assert!(error.to_string().contains("AWS_REGION") && error.to_string().contains("spec.region"), "{error}");
}

#[tokio::test]
async fn region_and_keys_come_from_the_environment() {
    in_environment("child_environment", &[("AWS_REGION", "eu-west-1"), KEYS[0], KEYS[1]]).await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_environment() {
    let context = AwsContext::builder().build().await.unwrap();
    assert_eq!(context.region(), "eu-west-1");
    assert!(!context.has_custom_endpoint());
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDBASE");
}

#[tokio::test]
async fn a_profile_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (config, keys) = (folder.path().join("config"), folder.path().join("credentials"));
    std::fs::write(&config, "[profile camera]\nregion = ap-south-1\nendpoint_url = http://127.0.0.1:9\n")
        .unwrap();
    std::fs::write(&keys, "[camera]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n").unwrap();
    let (config, keys) = (config.to_str().unwrap(), keys.to_str().unwrap());
    in_environment("child_profile", &[("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", keys)])
        .await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_profile() {
    let context = AwsContext::builder().profile("camera").build().await.unwrap();
    assert_eq!(context.region(), "ap-south-1");
    assert!(context.has_custom_endpoint());
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDPROFILE");

    // A mounted Secret is replaced under the process.
    let keys = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").unwrap();
    std::fs::write(&keys, "[camera]\naws_access_key_id = AKIDROTATED\naws_secret_access_key = s\n").unwrap();
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDPROFILE");
    context.invalidate_credentials().await;
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDROTATED");
}

#[tokio::test]
async fn no_credentials_is_an_error_that_names_the_sources() {
    in_environment("child_no_credentials", &[("AWS_REGION", "eu-west-1")]).await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_no_credentials() {
    let context = AwsContext::builder().build().await.unwrap();
    let error = context.credentials().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AccessDenied);
    assert!(error.to_string().contains("no AWS credentials in region eu-west-1"), "{error}");
}

/// EKS Pod Identity and ECS: an HTTP endpoint of the node.
#[tokio::test]
async fn pod_identity_is_asked_once() {
    let server = Server::start(|request, _| {
        assert_eq!(request.headers["authorization"], "pod-token");
        let end = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
        let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
        // Its clock says nothing of AWS's.
        Answer(
            200,
            vec![("Date", date(-7200))],
            format!(r#"{{"AccessKeyId":"AKIDPOD","SecretAccessKey":"s","Token":"t","Expiration":"{end}"}}"#),
        )
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "pod-token").unwrap();
    let url = format!("{}/v1/credentials", server.url);
    in_environment(
        "child_pod_identity",
        &[
            ("AWS_REGION", "eu-west-1"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            // nobody listens there: where credentials come from is no business of a proxy's
            ("HTTP_PROXY", "http://127.0.0.1:9"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
        ],
    )
    .await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_pod_identity() {
    let context = AwsContext::builder().build().await.unwrap();
    for _ in 0..3 {
        let credentials = context.credentials().await.unwrap();
        assert_eq!((credentials.access_key_id(), credentials.session_token()), ("AKIDPOD", Some("t")));
    }
    assert_eq!(context.skew_ms(), 0);
}

/// The answer of STS, of a service whose clock is up to an hour ahead.
fn sts(action: &str, key: &str) -> String {
    let end = time::OffsetDateTime::now_utc() + time::Duration::hours(2);
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>{end}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>x:y</AssumedRoleId>\
         <Arn>arn:aws:sts::111122223333:assumed-role/r/y</Arn></AssumedRoleUser></{action}Result></{action}Response>"
    )
}

/// IRSA.
#[tokio::test]
async fn web_identity_is_exchanged() {
    let server = Server::start(|request, _| {
        assert!(request.body.contains("Action=AssumeRoleWithWebIdentity"), "{}", request.body);
        assert!(request.body.contains("WebIdentityToken=the-token"), "{}", request.body);
        Answer(200, vec![], sts("AssumeRoleWithWebIdentity", "AKIDWEB"))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "the-token").unwrap();
    in_environment(
        "child_web_identity",
        &[
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/r"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ENDPOINT_URL_STS", &server.url),
        ],
    )
    .await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_web_identity() {
    let context = AwsContext::builder().build().await.unwrap();
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDWEB");
}

/// STS is not where `endpoint_url` is; it refuses the first signature, an hour old, and the second one is right.
#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_although_the_clock_is_wrong() {
    let server = Server::start(|request, number| {
        for part in ["Action=AssumeRole&", "ExternalId=tenant-7", "RoleSessionName=front-door"] {
            assert!(request.body.contains(part), "{}", request.body);
        }
        assert!(request.headers["authorization"].contains("AKIDBASE/"));
        let headers = vec![("Date", date(3600))];
        let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
             <Message>Signature expired: now earlier</Message></Error></ErrorResponse>";
        match number {
            0 => Answer(403, headers, refusal.to_owned()),
            _ => Answer(200, headers, sts("AssumeRole", "AKIDROLE")),
        }
    })
    .await;
    in_environment(
        "child_assume_role",
        &[("AWS_REGION", "eu-west-1"), KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL_STS", &server.url)],
    )
    .await;
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let stamp = |number: usize| requests[number].headers["x-amz-date"].clone();
    assert!(stamp(1) > stamp(0), "{} {}", stamp(0), stamp(1));
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_assume_role() {
    let context = AwsContext::builder()
        .endpoint_url("http://127.0.0.1:9")
        .assume_role(AssumeRole {
            role_arn: "arn:aws:iam::111122223333:role/r".to_owned(),
            external_id: Some("tenant-7".to_owned()),
            session_name: "front-door".to_owned(),
        })
        .build()
        .await
        .unwrap();
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDROLE");
    assert_eq!(context.credentials().await.unwrap().access_key_id(), "AKIDROLE");
    let ahead = context.now().duration_since(SystemTime::now()).unwrap();
    assert!(ahead > Duration::from_secs(3590) && ahead < Duration::from_secs(3610), "{ahead:?}");
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_refused_with_the_words_of_sts() {
    let server = Server::start(|_, _| {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not for you</Message></Error></ErrorResponse>";
        Answer(403, vec![("Date", date(0))], body.to_owned())
    })
    .await;
    in_environment(
        "child_role_refused",
        &[("AWS_REGION", "eu-west-1"), KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL_STS", &server.url)],
    )
    .await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_role_refused() {
    let context = AwsContext::builder()
        .assume_role(AssumeRole {
            role_arn: "arn:aws:iam::111122223333:role/r".to_owned(),
            external_id: None,
            session_name: "front-door".to_owned(),
        })
        .build()
        .await
        .unwrap();
    let error = context.credentials().await.unwrap_err();
    let CredentialsError::NotLoaded { message, class, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*class, ErrorClass::AccessDenied);
    assert!(message.contains("not for you"), "{message}");
}

#[tokio::test]
async fn a_missing_ca_bundle_and_a_bad_endpoint_are_named() {
    let region = ("AWS_REGION", "eu-west-1");
    in_environment("child_ca_bundle", &[region, ("AWS_CA_BUNDLE", "/no/such/ca.pem")]).await;
    in_environment("child_bad_endpoint", &[region, ("AWS_ENDPOINT_URL_KINESIS_VIDEO", "localhost:8080")])
        .await;
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_ca_bundle() {
    let error = AwsContext::builder().build().await.unwrap_err().to_string();
    assert!(error.contains("/no/such/ca.pem") && error.contains("AWS_CA_BUNDLE"), "{error}");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn child_bad_endpoint() {
    let error = AwsContext::builder().build().await.unwrap_err().to_string();
    assert!(error.contains("AWS_ENDPOINT_URL_KINESIS_VIDEO") && error.contains("localhost:8080"), "{error}");
}
