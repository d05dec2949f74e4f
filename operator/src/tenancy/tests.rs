use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use kvs_ingest_api::{KvsIngestPolicy, KvsIngestSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::places::Places;
use super::policies::{Policies, Verdict};
use super::*;

const AGENT: &str = "registry.example/video/kvs-ingest-agent:1";

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn ingest(more: Value) -> KvsIngest {
    let mut spec = json!({"region": "eu-central-1", "channel": {"name": "cameras-door"}, "stream": {"name": "cameras-door"}});
    merge(&mut spec, more);
    let metadata = json!({"name": "door", "namespace": "cameras", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn policy(spec: Value) -> KvsIngestPolicySpec {
    serde_json::from_value(spec).unwrap()
}

fn fields(errors: &[FieldError]) -> Vec<&str> {
    errors.iter().map(|error| error.path.as_str()).collect()
}

fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:kinesisvideo:eu-central-1:444455556666:{kind}/{name}/1")
}

/// An output.
fn rtmp(rtmp: Value) -> Value {
    json!({"outputs": [{"name": "live", "rtmp": rtmp}]})
}

fn reference() -> Value {
    json!({"name": "live-key", "key": "k"})
}

/// Each field that a policy is about, as an author may set it, and the list that permits exactly that.
fn rows() -> Vec<(&'static str, Value, Value)> {
    vec![
        ("spec.region", json!({}), json!({"regions": ["eu-*"]})),
        ("spec.channel", json!({}), json!({"channels": ["${namespace}-*"]})),
        ("spec.stream", json!({}), json!({"streams": ["${namespace}-*"]})),
        ("spec.mode", json!({}), json!({"modes": ["Agent"]})),
        ("spec.mode", json!({"mode": "ManagedStorage"}), json!({"modes": ["Managed*"]})),
        (
            "spec.channel",
            json!({"channel": {"name": null, "arn": arn("channel", "c")}}),
            json!({"channels": ["c"]}),
        ),
        (
            "spec.stream",
            json!({"stream": {"name": null, "arn": arn("stream", "s")}}),
            json!({"streams": ["s"]}),
        ),
        (
            "spec.channel",
            json!({"channel": {"name": null, "arn": arn("channel", "c")}}),
            json!({"accounts": ["4444*"]}),
        ),
        (
            "spec.stream",
            json!({"stream": {"name": null, "arn": arn("stream", "s")}}),
            json!({"accounts": ["4444*"]}),
        ),
        ("spec.stream.kmsKeyId", json!({"stream": {"kmsKeyId": "alias/x"}}), json!({"kmsKeys": ["alias/*"]})),
        ("spec.stream.tags", json!({"stream": {"tags": {"team": "x"}}}), json!({"streamTags": ["team"]})),
        (
            "spec.roleArn",
            json!({"roleArn": "arn:aws:iam::444455556666:role/cameras-r"}),
            json!({"roleArns": ["arn:aws:iam::444455556666:role/${namespace}-*"]}),
        ),
        ("spec.serviceAccountName", json!({}), json!({"serviceAccounts": ["default"]})),
        (
            "spec.serviceAccountName",
            json!({"serviceAccountName": "kvs"}),
            json!({"serviceAccounts": ["kvs"]}),
        ),
        (
            "spec.credentialsSecretRef.name",
            json!({"credentialsSecretRef": {"name": "kvs-aws"}}),
            json!({"credentialsSecrets": ["kvs-*"]}),
        ),
        (
            "spec.caBundleRef.name",
            json!({"caBundleRef": {"name": "kvs-ca"}}),
            json!({"caBundles": ["kvs-*"]}),
        ),
        // The port is there, whether the URL has one or not; and a path is no host.
        (
            "spec.outputs.rtmp.url",
            rtmp(json!({"url": "rtmps://Ingest.Test/app/x"})),
            json!({"outputs": ["rtmps://*.test:443"]}),
        ),
        (
            "spec.outputs.rtmp.url",
            rtmp(json!({"url": "rtmp://[fd00::1]/app/x?a=b/c"})),
            json!({"outputs": ["rtmp://*:1935"]}),
        ),
        (
            "spec.outputs.rtmp.url",
            rtmp(json!({"url": "rtmps://ingest.test:8443/app/x"})),
            json!({"outputs": ["rtmps://ingest.test:8443"]}),
        ),
        ("spec.outputs.rtmp.url", rtmp(json!({"urlSecretRef": reference()})), json!({"outputs": ["*"]})),
        (
            "spec.outputs.rtmp.urlSecretRef.name",
            rtmp(json!({"urlSecretRef": reference()})),
            json!({"outputSecrets": ["live-*"]}),
        ),
        (
            "spec.outputs.rtmp.streamKeySecretRef.name",
            rtmp(json!({"url": "rtmps://ingest.test/app", "streamKeySecretRef": reference()})),
            json!({"outputSecrets": ["live-*"]}),
        ),
        // Of a policy that is older than outputs.
        (
            "spec.outputs.rtmp.streamKeySecretRef.name",
            rtmp(json!({"url": "rtmps://ingest.test/app", "streamKeySecretRef": reference()})),
            json!({"credentialsSecrets": ["live-*"]}),
        ),
        (
            "spec.outputs.rtmp.caBundleRef.name",
            rtmp(json!({"url": "rtmps://ingest.test/app/x", "caBundleRef": {"name": "kvs-ca"}})),
            json!({"caBundles": ["kvs-*"]}),
        ),
        ("spec.image", json!({"image": "r.test/agent:2"}), json!({"images": ["r.test/*"]})),
        (
            "spec.imagePullSecrets",
            json!({"imagePullSecrets": [{"name": "p"}]}),
            json!({"imagePullSecrets": ["p"]}),
        ),
        (
            "spec.pod.priorityClassName",
            json!({"pod": {"priorityClassName": "low"}}),
            json!({"priorityClasses": ["low"]}),
        ),
        (
            "spec.pod.tolerations",
            json!({"pod": {"tolerations": [{"key": "video"}]}}),
            json!({"tolerations": ["video"]}),
        ),
        (
            "spec.pod.tolerations",
            json!({"pod": {"tolerations": [{"operator": "Exists"}]}}),
            json!({"tolerations": ["*"]}),
        ),
        ("spec.pod.labels", json!({"pod": {"labels": {"team": "x"}}}), json!({"podLabels": ["team"]})),
        (
            "spec.pod.annotations",
            json!({"pod": {"annotations": {"a.b/c": "x"}}}),
            json!({"podAnnotations": ["a.b/*"]}),
        ),
        (
            "spec.pod.env",
            json!({"pod": {"env": [{"name": "AWS_ENDPOINT_URL", "value": "x"}]}}),
            json!({"environment": ["AWS_ENDPOINT_*"]}),
        ),
    ]
}

#[test]
fn each_list_permits_what_is_in_it_and_nothing_else() {
    for (field, spec, permitting) in rows() {
        let object = ingest(spec.clone());
        assert_eq!(forbidden_by_policy("p", &policy(json!({})), &object), [], "{spec}");
        assert_eq!(forbidden_by_policy("p", &policy(permitting.clone()), &object), [], "{spec} {permitting}");
        let list = permitting.as_object().unwrap().keys().next().unwrap();
        for other in [json!([]), json!(["another"]), json!(["${namespace}"])] {
            let errors = forbidden_by_policy("p", &policy(json!({list: other})), &object);
            assert_eq!(fields(&errors), [field], "{spec} {list}");
            assert!(
                errors[0].message.contains(&format!("{list} of KvsIngestPolicy p permits")),
                "{errors:?}"
            );
        }
    }
}

/// The star is within scheme, host and port: no text behind the host makes another one of it.
#[test]
fn a_host_is_not_found_in_a_path() {
    let permitting = policy(json!({"outputs": ["rtmps://*.live-video.test:443"]}));
    for url in [
        "rtmps://evil.test/x.live-video.test:443",
        "rtmps://evil.test:443/.live-video.test:443",
        "rtmps://evil.test/app?.live-video.test:443",
        "rtmp://a.live-video.test:443/app",
        "rtmps://a.live-video.test:1935/app",
        "rtmps://live-video.test/app",
        "rtmps://a.live-video.test.evil.test/app",
    ] {
        let errors = forbidden_by_policy("p", &permitting, &ingest(rtmp(json!({"url": url}))));
        assert_eq!(fields(&errors), ["spec.outputs.rtmp.url"], "{url}");
        assert!(!errors[0].message.contains("/app"), "{errors:?}");
    }
    let fine = ingest(rtmp(json!({"url": "rtmps://a.live-video.test/app"})));
    assert_eq!(forbidden_by_policy("p", &permitting, &fine), []);
}

/// A Secret of credentials is no stream key where the policy says which Secrets are.
#[test]
fn secrets_of_outputs_are_those_that_are_listed_as_such() {
    let key =
        rtmp(json!({"url": "rtmps://ingest.test/app", "streamKeySecretRef": {"name": "aws", "key": "k"}}));
    let lists = policy(json!({"credentialsSecrets": ["aws"], "outputSecrets": ["live-*"]}));
    let errors = forbidden_by_policy("p", &lists, &ingest(key));
    assert_eq!(fields(&errors), ["spec.outputs.rtmp.streamKeySecretRef.name"]);
}

#[test]
fn what_names_no_stream_asks_for_none() {
    let mut object = ingest(rtmp(json!({"url": "rtmps://ingest.test/app/x"})));
    object.spec.stream = None;
    let lists = policy(json!({"streams": [], "kmsKeys": [], "create": false, "maxRetentionHours": 1}));
    assert_eq!(forbidden_by_policy("p", &lists, &object), []);
    let rules = ReleaseRules { names: vec!["cameras-*".parse().unwrap()], ..ReleaseRules::default() };
    assert_eq!(forbidden_by_release(&rules, AGENT, "default", &object), []);
}

#[test]
fn a_toleration_of_everything_is_not_one_of_a_key() {
    let object = ingest(json!({"pod": {"tolerations": [{"operator": "Exists"}]}}));
    let errors = forbidden_by_policy("p", &policy(json!({"tolerations": ["video", "a*"]})), &object);
    assert_eq!(fields(&errors), ["spec.pod.tolerations"]);
}

#[test]
fn what_is_no_list_is_forbidden_too() {
    for (spec, policy_spec, field) in [
        (
            json!({"channel": {"createIfMissing": true}}),
            json!({"create": false}),
            "spec.channel.createIfMissing",
        ),
        (
            json!({"stream": {"createIfMissing": true}}),
            json!({"create": false}),
            "spec.stream.createIfMissing",
        ),
        (json!({"channel": {"adopt": true}}), json!({"adopt": false}), "spec.channel.adopt"),
        (json!({"stream": {"adopt": true}}), json!({"adopt": false}), "spec.stream.adopt"),
        (
            json!({"stream": {"retentionHours": 25}}),
            json!({"maxRetentionHours": 24}),
            "spec.stream.retentionHours",
        ),
        (
            json!({"pod": {"nodeSelector": {"a": "b"}}}),
            json!({"nodeSelection": false}),
            "spec.pod.nodeSelector",
        ),
        (json!({"pod": {"affinity": {}}}), json!({"nodeSelection": false}), "spec.pod.affinity"),
    ] {
        let errors = forbidden_by_policy("p", &policy(policy_spec.clone()), &ingest(spec.clone()));
        assert_eq!(fields(&errors), [field], "{spec}");
        assert!(errors[0].message.ends_with("by KvsIngestPolicy p"), "{errors:?}");
        assert_eq!(forbidden_by_policy("p", &policy(policy_spec), &ingest(json!({}))), []);
    }
    let day = ingest(json!({"stream": {"retentionHours": 24}}));
    assert_eq!(forbidden_by_policy("p", &policy(json!({"maxRetentionHours": 24})), &day), []);
    let permitted = policy(json!({"create": true, "nodeSelection": true}));
    let object = ingest(json!({"channel": {"createIfMissing": true}, "pod": {"nodeSelector": {"a": "b"}}}));
    assert_eq!(forbidden_by_policy("p", &permitted, &object), []);
}

#[test]
fn any_tag_and_digest_of_the_releases_repository_is_its_own_image() {
    const SHA: &str = "sha256:0123";
    for (agent, ours) in [
        ("agent:1", "agent"),
        ("agent", "agent"),
        ("registry.example:5000/video/agent", "registry.example:5000/video/agent"),
        ("registry.example:5000/video/agent:1@sha256:0123", "registry.example:5000/video/agent"),
        ("registry.example/agent@sha256:0123", "registry.example/agent"),
    ] {
        let forbidden = |image: &str| {
            let object = ingest(json!({"image": image}));
            fields(&forbidden_by_release(&ReleaseRules::default(), agent, "east", &object)) == ["spec.image"]
        };
        for own in [agent, ours, &format!("{ours}:0.9"), &format!("{ours}@{SHA}"), &format!("{ours}:2@{SHA}")]
        {
            assert!(!forbidden(own), "{agent} {own}");
        }
        for other in ["x", "/x", "-x:1", ":5000/x", ":5000/x:1", "/x@sha256:0123", "@x/y"] {
            assert!(forbidden(&format!("{ours}{other}")), "{agent} {other}");
        }
        assert!(forbidden(&format!("evil.example/{ours}:1")), "{agent}");
    }
}

#[test]
fn the_release_permits_its_own_image_and_external_id() {
    let role = json!({"roleArn": "arn:aws:iam::444455556666:role/r"});
    let with = |mut spec: Value, more: Value| {
        merge(&mut spec, more);
        ingest(spec)
    };
    let forbidden = |rules: &ReleaseRules, object: &KvsIngest| {
        fields(&forbidden_by_release(rules, AGENT, "east", object)).join(" ")
    };
    let none = ReleaseRules::default();
    assert_eq!(forbidden(&none, &ingest(json!({}))), "");
    assert_eq!(forbidden(&none, &ingest(json!({"image": AGENT}))), "");
    assert_eq!(forbidden(&none, &ingest(json!({"image": "evil.example/x"}))), "spec.image");
    assert_eq!(forbidden(&none, &with(role.clone(), json!({"externalId": "kvs-ingest/east/cameras"}))), "");
    for id in ["kvs-ingest/east/doors", "kvs-ingest/west/cameras", "victims-id"] {
        assert_eq!(
            forbidden(&none, &with(role.clone(), json!({"externalId": id}))),
            "spec.externalId",
            "{id}"
        );
    }
    let rules = ReleaseRules {
        names: vec!["${namespace}-*".parse().unwrap()],
        images: vec!["registry.example/video/*".parse().unwrap()],
        external_ids: vec!["old-*".parse().unwrap()],
        service_account: Some(("cameras".to_owned(), "default".to_owned())),
    };
    assert_eq!(
        forbidden(&rules, &with(role, json!({"externalId": "old-id", "serviceAccountName": "kvs"}))),
        ""
    );
    let kvs = |more: Value| with(json!({"serviceAccountName": "kvs"}), more);
    assert_eq!(forbidden(&rules, &kvs(json!({"image": "registry.example/video/agent:2"}))), "");
    assert_eq!(forbidden(&rules, &kvs(json!({"image": "registry.example/other/agent"}))), "spec.image");
    assert_eq!(forbidden(&rules, &kvs(json!({"stream": {"name": "doors-1"}}))), "spec.stream");
    let by_arn = json!({"channel": {"name": null, "arn": arn("channel", "doors-1")}});
    assert_eq!(forbidden(&rules, &kvs(by_arn)), "spec.channel");
    // Pods that name no account have `default`, which is the operator's here.
    assert_eq!(forbidden(&rules, &ingest(json!({}))), "spec.serviceAccountName");
}

fn named(name: &str, spec: Value) -> KvsIngestPolicy {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn labelled(name: &str, labels: Value) -> NamespaceLite {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

/// What has listed these policies, and this namespace.
fn listed(policies: Vec<KvsIngestPolicy>, namespaces: Vec<NamespaceLite>) -> Policies {
    let known = Policies::default();
    known.take_policy(Event::Init);
    policies.into_iter().for_each(|policy| known.take_policy(Event::InitApply(policy)));
    known.take_policy(Event::InitDone);
    known.take_namespace(Event::Init);
    namespaces.into_iter().for_each(|namespace| known.take_namespace(Event::InitApply(namespace)));
    known.take_namespace(Event::InitDone);
    known
}

#[test]
fn several_policies_apply_together_each_where_it_selects() {
    let doors = json!({"matchLabels": {"team": "doors"}});
    let known = listed(
        vec![
            named("names", json!({"channels": ["${namespace}-*"]})),
            named("doors", json!({"namespaceSelector": doors, "regions": ["us-*"]})),
            named("gates", json!({"namespaces": ["gates"], "channels": []})),
        ],
        vec![labelled("cameras", json!({"team": "doors"}))],
    );
    let verdict = |spec: Value| known.verdict(&ingest(spec), |_| false);
    let Verdict::Refused(message) = verdict(json!({"channel": {"name": "x"}})) else { panic!("permitted") };
    assert!(message.contains("spec.region: ") && message.contains("KvsIngestPolicy doors"), "{message}");
    assert!(message.contains("spec.channel: ") && message.contains("KvsIngestPolicy names"), "{message}");
    assert!(!message.contains("gates"), "{message}");
    assert_eq!(verdict(json!({"region": "us-east-1"})), Verdict::Permitted);
    // Its namespace is of another team now.
    known.take_namespace(Event::Apply(labelled("cameras", json!({}))));
    assert_eq!(verdict(json!({})), Verdict::Permitted);
    known.take_policy(Event::Delete(named("names", json!({}))));
    assert_eq!(verdict(json!({"channel": {"name": "x"}})), Verdict::Permitted);
}

#[test]
fn nothing_is_permitted_before_the_labels_that_a_policy_goes_by_are_known() {
    let selector = json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]});
    let known = listed(vec![named("p", json!({"namespaceSelector": selector}))], vec![]);
    assert_eq!(known.verdict(&ingest(json!({})), |_| false), Verdict::Unknown);
    known.take_namespace(Event::Apply(labelled("cameras", json!({}))));
    assert_eq!(known.verdict(&ingest(json!({})), |_| false), Verdict::Permitted);
}

#[tokio::test]
async fn it_is_complete_when_both_are_listed_or_cannot_be() {
    let done = |known: &Policies| {
        let pending = futures::FutureExt::now_or_never(known.complete());
        pending.is_some()
    };
    let known = Policies::default();
    assert!(!done(&known));
    known.take_policy(Event::Init);
    known.take_policy(Event::InitDone);
    assert!(!done(&known));
    known.take_namespace(Event::InitDone);
    assert!(done(&known));
    let without = Policies::default();
    without.take_namespace(Event::InitDone);
    without.do_not_exist();
    assert!(done(&without));
    let namespaced = Policies::default();
    namespaced.are_not_watched();
    assert!(done(&namespaced));
}

#[test]
fn a_change_is_one_that_says_something_new() {
    let policies = || vec![named("p", json!({"namespaceSelector": {}}))];
    let known = listed(policies(), vec![labelled("cameras", json!({"a": "b"}))]);
    let changes = known.changes();
    let count = || *changes.borrow();
    let before = count();
    known.take_policy(Event::Init);
    known.take_policy(Event::InitApply(policies().remove(0)));
    assert_eq!(
        known.verdict(&ingest(json!({})), |_| false),
        Verdict::Permitted,
        "a relist takes nothing away"
    );
    known.take_policy(Event::InitDone);
    known.take_policy(Event::Apply(policies().remove(0)));
    known.take_namespace(Event::Apply(labelled("cameras", json!({"a": "b"}))));
    assert_eq!(count(), before, "a relist");
    known.take_namespace(Event::Apply(labelled("cameras", json!({"a": "c"}))));
    assert_eq!(count(), before + 1);
    known.take_namespace(Event::Apply(labelled("doors", json!({"a": "b"}))));
    known.take_namespace(Event::Delete(labelled("doors", json!({"a": "b"}))));
    let relist = |namespaces: Vec<NamespaceLite>| {
        known.take_namespace(Event::Init);
        namespaces.into_iter().for_each(|namespace| known.take_namespace(Event::InitApply(namespace)));
        known.take_namespace(Event::InitDone);
    };
    relist(vec![labelled("cameras", json!({"a": "c"})), labelled("gates", json!({}))]);
    relist(vec![labelled("cameras", json!({"a": "c"}))]);
    assert_eq!(count(), before + 1, "namespaces come and go");
    relist(vec![labelled("cameras", json!({"a": "e"}))]);
    assert_eq!(count(), before + 2, "a label that changed meanwhile");
    let before = before + 1;
    known.take_policy(Event::Delete(policies().remove(0)));
    assert_eq!(count(), before + 2);
    known.take_namespace(Event::Apply(labelled("cameras", json!({"a": "d"}))));
    assert_eq!(count(), before + 2, "no policy goes by labels");
}

fn meta(namespace: &str, created: i64, uid: &str) -> kube::api::ObjectMeta {
    let time = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
    serde_json::from_value(
        json!({"name": uid, "namespace": namespace, "uid": uid, "creationTimestamp": time.to_string()}),
    )
    .unwrap()
}

/// An object of namespace `a` or `b`, as the model has it.
#[derive(Clone, Debug)]
struct Resident {
    meta: ObjectMeta,
    has_agent: bool,
}

impl Resident {
    fn counts(&self) -> bool {
        self.has_agent || self.meta.deletion_timestamp.is_none()
    }

    fn age(&self) -> impl Ord + '_ {
        (self.meta.creation_timestamp.as_ref().map(|time| time.0), self.meta.uid.as_deref())
    }

    fn object(&self) -> KvsIngest {
        KvsIngest { metadata: self.meta.clone(), spec: KvsIngestSpec::default(), status: None }
    }
}

/// Those of namespace `a` that have a place, by the words of the policy: the oldest.
fn oldest(all: &[Resident], most: u32) -> Vec<String> {
    let mut here: Vec<_> =
        all.iter().filter(|one| one.meta.namespace.as_deref() == Some("a") && one.counts()).collect();
    here.sort_by(|one, other| one.age().cmp(&other.age()));
    here.iter().take(most as usize).map(|one| one.meta.uid.clone().unwrap()).collect()
}

proptest! {
    /// Whatever comes, ends, loses its agent, goes and is listed anew: exactly the oldest are permitted, and when a place is left
    /// whoever has it now is woken.
    #[test]
    fn the_oldest_are_permitted(
        steps in prop::collection::vec((0u8..6, 0usize..12, 0i64..4, prop::bool::ANY), 1..60),
        most in 0u32..6,
    ) {
        let (mut places, mut all) = (Places::default(), Vec::<Resident>::new());
        for (number, (step, which, created, flag)) in steps.into_iter().enumerate() {
            let before = oldest(&all, most);
            let agents = |all: &[Resident]| -> BTreeMap<String, bool> {
                all.iter().map(|one| (one.meta.uid.clone().unwrap(), one.has_agent)).collect()
            };
            let at = which % all.len().max(1);
            match step {
                0 | 1 => {
                    let namespace = if which < 9 { "a" } else { "b" };
                    // Uids are in no order.
                    let meta = meta(namespace, created, &format!("u{:02}-{number}", number * 37 % 100));
                    all.push(Resident { meta, has_agent: flag });
                    places.take(&Event::Apply(all[all.len() - 1].object()));
                }
                _ if all.is_empty() => {}
                2 => {
                    let now = meta("a", 9, "x").creation_timestamp;
                    let first = all[at].meta.deletion_timestamp.is_none();
                    all[at].meta.deletion_timestamp = now;
                    places.take(&Event::Apply(all[at].object()));
                    // What is said again changes nothing.
                    if !first || flag {
                        places.take(&Event::Apply(all[at].object()));
                    }
                }
                3 | 4 => {
                    let gone = if step == 3 {
                        Some(all.remove(at))
                    } else if all[at].meta.deletion_timestamp.is_some() {
                        all[at].has_agent = false;
                        Some(all[at].clone())
                    } else {
                        None
                    };
                    if let Some(gone) = gone {
                        places.leave(&gone.meta);
                        let agents = agents(&all);
                        let woken = places.last("a", most, |_, uid| agents[uid]);
                        let mut new = oldest(&all, most);
                        // Whoever is being deleted has nothing to do with his place.
                        let stays = |uid: &String| {
                            all.iter().any(|one| {
                                one.meta.uid.as_ref() == Some(uid) && one.meta.deletion_timestamp.is_none()
                            })
                        };
                        new.retain(|uid| !before.contains(uid) && stays(uid));
                        // Names are uids here.
                        prop_assert!(new.len() <= 1 && new.iter().all(|uid| Some(&**uid) == woken));
                    }
                }
                _ => {
                    places.take::<KvsIngest>(&Event::Init);
                    for one in all.iter().rev() {
                        places.take(&Event::InitApply(one.object()));
                    }
                    places.take::<KvsIngest>(&Event::InitDone);
                }
            }
            let (agents, permitted) = (agents(&all), oldest(&all, most));
            for one in all.iter().filter(|one| one.meta.namespace.as_deref() == Some("a") && one.counts()) {
                let beyond = places.is_beyond(&one.meta, most, |_, uid| agents[uid]);
                prop_assert_eq!(beyond, !permitted.contains(one.meta.uid.as_ref().unwrap()), "{:?}", one);
            }
        }
    }
}
