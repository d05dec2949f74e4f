use std::sync::Arc;

use super::*;
use kvs_ingest_api::KvsIngestSpec;

use crate::conditions::Next;

fn spec(channel: &str) -> KvsIngestSpec {
    let text = format!(
        r#"{{"region": "eu-central-1", "channel": {channel}, "stream": {{"name": "s"}},
            "roleArn": "arn:aws:iam::111122223333:role/cameras"}}"#
    );
    serde_json::from_str(&text).unwrap()
}

const ARN: &str = "arn:aws:kinesisvideo:eu-central-1:111122223333:channel/door/1";

fn refused(class: ErrorClass) -> kvs::Error {
    kvs::Error {
        operation: "DescribeX",
        resource: "x".to_owned(),
        class,
        message: "words".to_owned(),
        request_id: None,
        being_deleted: false,
    }
}

/// Status and reason of the channel, and the message.
fn channel(class: ErrorClass, spec: &KvsIngestSpec, exists: bool) -> ConditionUpdate {
    let subject = Subject { uid: "u", namespace: "n", name: "door", spec };
    ResolvedChannel::failed(&refused(class), subject, exists)
}

#[test]
fn what_a_refusal_means() {
    let by_name = spec(r#"{"name": "door"}"#);
    for (class, reason, next) in [
        (ErrorClass::NotFound, Reason::NotFound, Next::Person),
        (ErrorClass::AccessDenied, Reason::AccessDenied, Next::Person),
        (ErrorClass::InvalidRequest, Reason::InvalidRequest, Next::Person),
        (ErrorClass::LimitExceeded, Reason::QuotaExceeded, Next::Person),
        (ErrorClass::Throttled, Reason::Throttled, Next::Waiting),
        (ErrorClass::Service, Reason::AwsUnavailable, Next::Waiting),
        (ErrorClass::Conflict, Reason::AwsUnavailable, Next::Waiting),
    ] {
        let update = channel(class, &by_name, false);
        assert_eq!((update.reason, update.next), (reason, next), "{class}");
    }
    assert_eq!(channel(ErrorClass::Conflict, &by_name, true).reason, Reason::Conflict);
}

#[test]
fn the_remedy_fits_how_it_is_named() {
    let by_name = channel(ErrorClass::NotFound, &spec(r#"{"name": "door"}"#), false);
    assert!(by_name.message.contains("set spec.channel.createIfMissing"), "{}", by_name.message);
    let by_arn = channel(ErrorClass::NotFound, &spec(&format!(r#"{{"arn": "{ARN}"}}"#)), false);
    assert!(by_arn.message.contains("correct spec.channel.arn"), "{}", by_arn.message);
}

#[test]
fn an_arn_of_another_account_is_left_to_the_agent() {
    let spec = spec(&format!(r#"{{"arn": "{ARN}"}}"#));
    let update = channel(ErrorClass::AccessDenied, &spec, false);
    assert!(update.is_met());
    assert_eq!(update.reason, Reason::NotVerified);
    // The stream has a name, so it is of the operator's own account.
    let subject = Subject { uid: "u", namespace: "n", name: "door", spec: &spec };
    let stream = ResolvedStream::failed(&refused(ErrorClass::AccessDenied), subject, false);
    assert_eq!(stream.reason, Reason::AccessDenied);
}

#[test]
fn what_is_declared_is_known_before_aws_is_asked() {
    let mut by_arn = ResolvedChannel::default();
    let id = by_arn.declare(&spec(&format!(r#"{{"arn": "{ARN}"}}"#))).unwrap();
    assert_eq!((by_arn.name.as_str(), by_arn.arn.as_deref()), ("door", Some(ARN)));
    assert!(ResolvedChannel::name(&id).is_none(), "nothing is created by ARN");
    let mut by_name = ResolvedChannel::default();
    let id = by_name.declare(&spec(r#"{"name": "door"}"#)).unwrap();
    assert_eq!((by_name.name.as_str(), by_name.arn.as_deref()), ("door", None));
    assert_eq!(ResolvedChannel::name(&id).unwrap().as_str(), "door");
    // What is wrong with a name, the status says beside it.
    let mut wrong = ResolvedChannel::default();
    wrong.declare(&spec(r#"{"name": "a b"}"#)).unwrap_err();
    assert_eq!(wrong.name, "a b");
    let mut wrong = ResolvedChannel::default();
    wrong.declare(&spec(r#"{"arn": "x"}"#)).unwrap_err();
    assert_eq!(wrong, ResolvedChannel::default());
}

#[test]
fn only_what_the_operator_created_has_an_id_to_delete() {
    let channel = |created| ResolvedChannel { name: "door".into(), arn: Some(ARN.into()), created };
    assert!(channel(false).created_id().is_none());
    assert!(channel(true).created_id().is_some());
}

#[test]
fn tags_say_whose_it_is() {
    let spec = spec(r#"{"name": "door"}"#);
    let aws = |cluster| Aws::new(cluster, Regions::new(Vec::new(), 1, 1.0, Arc::default()));
    let (aws, other) = (aws("one"), aws("two"));
    let subject = Subject { uid: "u", namespace: "n", name: "door", spec: &spec };
    let tags = aws.tags(subject);
    assert!(aws.are_ours(&tags, subject));
    assert!(!aws.are_ours(&tags, Subject { uid: "another", ..subject }));
    assert!(!other.are_ours(&tags, subject), "of another cluster");
    assert!(!aws.are_ours(&Tags::new(), subject));
}
