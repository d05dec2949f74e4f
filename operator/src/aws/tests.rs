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
    let subject = Subject { uid: "u", namespace: "n", name: "door", spec, status: None };
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
    let subject = Subject { uid: "u", namespace: "n", name: "door", spec: &spec, status: None };
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

/// A stream as AWS describes it, that keeps its fragments for so many hours.
fn info(retention_hours: u32, kms_key_id: Option<&str>) -> kvs::StreamInfo {
    kvs::StreamInfo {
        name: "door".to_owned(),
        arn: ARN.replace("channel", "stream").parse().unwrap(),
        retention_hours,
        kms_key_id: kms_key_id.map(str::to_owned),
        active: true,
        version: "1".to_owned(),
    }
}

#[test]
fn what_is_declared_of_a_stream_that_exists_and_not_done_is_said() {
    let notes = |stream: &str, hours: u32, key: Option<&str>, tags: &[(&str, &str)]| {
        let declared: kvs_ingest_api::StreamSpec = serde_json::from_str(stream).unwrap();
        let info = info(hours, key);
        let mut resource = ResolvedStream::default();
        resource.describe_as(&info);
        let tags: Tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        resource::without_effect(&resource, &info, Some(&tags), &declared).join("; ")
    };
    assert_eq!(notes(r#"{"name": "s"}"#, 24, Some("k"), &[("team", "doors")]), "");
    assert_eq!(
        notes(r#"{"name": "s", "retentionHours": 24, "tags": {"a": "1"}}"#, 24, None, &[("a", "1")]),
        ""
    );
    let less = notes(r#"{"name": "s", "retentionHours": 48}"#, 24, None, &[]);
    for words in
        ["24 hours", "INCREASE_DATA_RETENTION --data-retention-change-in-hours 24", "spec.stream.adopt"]
    {
        assert!(less.contains(words), "{less}");
    }
    let more = notes(r#"{"name": "s", "retentionHours": 1}"#, 24, None, &[]);
    assert!(more.contains("DECREASE_DATA_RETENTION --data-retention-change-in-hours 23"), "{more}");
    let tags = notes(
        r#"{"name": "s", "tags": {"a": "1", "b": "2", "c": "3"}}"#,
        24,
        None,
        &[("a", "1"), ("b", "0")],
    );
    assert!(tags.contains("spec.stream.tags") && tags.ends_with("b, c"), "{tags}");
    let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234";
    for same in [arn, "1234"] {
        assert_eq!(notes(&format!(r#"{{"name": "s", "kmsKeyId": "{same}"}}"#), 24, Some(arn), &[]), "");
    }
    let aws_own = "arn:aws:kms:eu-central-1:111122223333:alias/aws/kinesisvideo";
    assert_eq!(notes(r#"{"name": "s", "kmsKeyId": "alias/aws/kinesisvideo"}"#, 24, Some(aws_own), &[]), "");
    let key = notes(r#"{"name": "s", "kmsKeyId": "5678"}"#, 24, Some(arn), &[]);
    assert!(key.contains(arn) && key.contains("spec.stream.kmsKeyId"), "{key}");
}
