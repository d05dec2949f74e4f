//! The rules of `spec.outputs`: what the agent's reader says, and what the API server makes of the definition, is the same.
#![cfg(feature = "crd")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::LazyLock;

use kvs_ingest_api::{KvsIngestSpec, custom_resource_definition};
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

/// The regular expression of the rule that the definition has for a URL.
static RULE: LazyLock<Regex> = LazyLock::new(|| {
    let definition = serde_json::to_value(custom_resource_definition()).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let url = &spec["properties"]["outputs"]["items"]["properties"]["rtmp"]["properties"]["url"];
    let rules = url["x-kubernetes-validations"].as_array().unwrap();
    let rule = rules.iter().filter_map(|rule| rule["rule"].as_str()?.strip_prefix("self.matches(r'")).next();
    Regex::new(rule.unwrap().strip_suffix("')").unwrap()).unwrap()
});

fn broken(outputs: &Value) -> Vec<String> {
    let spec = json!({"region": "eu-central-1", "channel": {"name": "c"}, "outputs": outputs});
    let spec: KvsIngestSpec = serde_json::from_value(spec).unwrap();
    spec.validate().err().into_iter().flatten().map(|error| error.to_string()).collect()
}

/// With a key apart, so that one part of a path will do.
fn is_url(url: &str) -> bool {
    let key = json!({"name": "k", "key": "k"});
    broken(&json!([{"name": "live", "rtmp": {"url": url, "streamKeySecretRef": key}}])).is_empty()
}

#[test]
fn what_a_url_is() {
    for url in [
        "rtmp://h/a",
        "rtmps://a1b2c3d4e5f6.global-contribute.live-video.net:443/app/",
        "rtmp://10.0.0.7:1935/live",
        "rtmp://[2001:db8::7]/live",
        "rtmp://[::ffff:10.0.0.7]:65535/live/door",
        "rtmp://nginx_rtmp.cameras.svc/live/door?token=a/b?c",
        "rtmp://b.rtmp.youtube.com/live2?backup=1",
        "rtmp://h/a@b:c",
        "rtmp://h/a/?",
    ] {
        assert!(is_url(url) && RULE.is_match(url), "{url}");
    }
    for url in [
        "",
        "h",
        "rtmp://",
        "rtmp://h",
        "rtmp://h/",
        "rtmp://h//a",
        "rtmp://h/a//b",
        "rtmp://h/?a",
        "rtmp:///a",
        "rtmp://:1935/a",
        "rtmp://h:/a",
        "rtmp://h:0/a",
        "rtmp://h:01/a",
        "rtmp://h:65536/a",
        "rtmp://h:+1/a",
        "rtmp://-h/a",
        "rtmp://h./a",
        "rtmp://[]/a",
        "rtmp://[::1/a",
        "rtmp://[::1]x/a",
        "rtmp://[h]/a",
        "rtmp://h/a#b",
        "rtmp://h/a b",
        "rtmp://h/ä",
        "rtmp://h/a\n",
        "RTMP://h/a",
        "rtmpt://h/a",
        "https://h/a",
        "rtmp://user:pass@h/a",
        "rtmps://key@h/a",
        &format!("rtmp://h/{}", "a".repeat(1016)),
    ] {
        let fits = RULE.is_match(url) && url.len() <= 1024;
        assert!(!is_url(url) && !fits, "{url}");
    }
}

/// What is wrong with it is said in words that hold nothing of it.
#[test]
fn a_url_is_not_repeated() {
    for url in ["rtmp://u:hunter2@h/a", "rtmp://h/hunter2 ", "hunter2", "rtmp://hunter2"] {
        let errors = broken(&json!([{"name": "live", "rtmp": {"url": url}}])).join("");
        assert!(errors.starts_with("spec.outputs[0].rtmp.url: ") && !errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn each_broken_rule_names_its_field() {
    let (url, key) = ("rtmp://h/a/b", json!({"name": "k", "key": "k"}));
    let fine = |name: &str| json!({"name": name, "rtmp": {"url": url}});
    assert_eq!(broken(&json!([fine("a"), fine("b-1"), fine("3"), fine(&"x".repeat(63))])), [""; 0]);
    for (outputs, words) in [
        (json!([]), "spec.stream: it is required where spec.outputs names no output"),
        (json!([fine("a"), fine("b"), fine("c"), fine("d"), fine("e")]), "spec.outputs: 5 outputs"),
        (json!([fine("a"), fine("b"), fine("a")]), "spec.outputs[2].name: \"a\" is there already"),
        (json!([fine("A")]), "spec.outputs[0].name: "),
        (json!([fine("a_b")]), "spec.outputs[0].name: "),
        (json!([fine("-a")]), "spec.outputs[0].name: "),
        (json!([fine("")]), "spec.outputs[0].name: "),
        (json!([fine(&"x".repeat(64))]), "spec.outputs[0].name: "),
        (json!([fine("kvs")]), "spec.outputs[0].name: kvs is"),
        (json!([{"name": "a"}]), "spec.outputs[0]: an output has its kind"),
        (json!([{"name": "a", "rtmp": {}}]), "spec.outputs[0].rtmp: exactly one of"),
        (
            json!([{"name": "a", "rtmp": {"url": url, "urlSecretRef": key}}]),
            "spec.outputs[0].rtmp: exactly one of",
        ),
        (json!([{"name": "a", "rtmp": {"url": "rtmp://h/a/"}}]), "spec.outputs[0].rtmp.url: without"),
        (json!([{"name": "a", "rtmp": {"url": "rtmp://h/a?b/c"}}]), "spec.outputs[0].rtmp.url: without"),
        (
            json!([{"name": "a", "rtmp": {"urlSecretRef": {"name": "K", "key": "k"}}}]),
            "spec.outputs[0].rtmp.urlSecretRef.name: ",
        ),
        (
            json!([{"name": "a", "rtmp": {"url": url, "streamKeySecretRef": {"name": "k", "key": ".."}}}]),
            "spec.outputs[0].rtmp.streamKeySecretRef.key: ",
        ),
        (
            json!([{"name": "a", "rtmp": {"url": url, "caBundleRef": {"name": "k", "key": "a/b"}}}]),
            "spec.outputs[0].rtmp.caBundleRef.key: ",
        ),
    ] {
        let errors = broken(&outputs);
        assert!(errors.len() == 1 && errors[0].starts_with(words), "{outputs}: {errors:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn both_take_the_same_urls(url in r"(rtmps?|x)(://|:/)[a-z0-9_.:\[\]@-]{0,8}(:[0-9+]{0,6})?[/?#a. @\[]{0,8}") {
        prop_assert_eq!(is_url(&url), RULE.is_match(&url) && !url.is_empty(), "{}", url);
    }

    #[test]
    fn of_ports_as_well(port in "[0-9]{1,6}") {
        let url = format!("rtmp://h:{port}/a");
        prop_assert_eq!(is_url(&url), RULE.is_match(&url));
    }
}
