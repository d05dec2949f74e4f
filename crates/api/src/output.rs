//! `spec.outputs` of a `KvsIngest`: where media goes beside its stream, or instead of it.

use serde::{Deserialize, Serialize};

use crate::references::{CaBundleRef, SecretKeyRef};

/// An output: exactly one kind of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [
        {"rule": "has(self.rtmp)", "message": "an output has its kind: rtmp"},
        {
            "rule": "self.name != 'kvs'",
            "message": "kvs is what goes to spec.stream: name the output otherwise",
            "fieldPath": ".name",
        },
    ]))
)]
pub struct OutputSpec {
    /// Its name in this object: a DNS label, such as `ivs`. Its condition is `Output-NAME`, and its metrics have the label
    /// `output="NAME"`.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 63), regex(pattern = crate::pattern::LABEL))
    )]
    pub name: String,
    /// `Ready` is False while media flows and this output does not receive it. Without, that is said in the output's own
    /// condition alone. It changes nothing of the other outputs, or of the stream.
    #[serde(default)]
    pub required: bool,
    /// A server that takes a live stream by RTMP or RTMPS: Amazon IVS, nginx with its RTMP module and others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<RtmpSpec>,
}

/// RTMP, the only kind so far: exactly one of `url` and `urlSecretRef`. Video goes out as it comes (H.264), audio as AAC-LC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "has(self.url) != has(self.urlSecretRef)",
            "message": "exactly one of url and urlSecretRef must be set",
        },
        {
            "rule": "!has(self.url) || has(self.streamKeySecretRef) || \
                     size(self.url.split('?')[0].split('/').filter(part, part != '')) >= 4",
            "message": "without streamKeySecretRef the URL ends with the name of the stream: rtmp://HOST/APP/NAME",
            "fieldPath": ".url",
        },
    ]))
)]
pub struct RtmpSpec {
    /// Where to, if that is no secret: `rtmps://HOST[:PORT]/APP`, or `rtmp://HOST[:PORT]/APP/NAME` where no key is asked for.
    /// The port is 443 of `rtmps`, 1935 of `rtmp`. User and password have no place in it, and a stream key belongs into a
    /// Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = 1024), extend("x-kubernetes-validations" = [
            {
                "rule": "!self.matches('^[A-Za-z]*://[^/?#]*@')",
                "message": "user and password have no place here: give the whole URL by urlSecretRef",
            },
            {
                "rule": crate::pattern::RTMP_URL_RULE,
                "message": "it is not rtmp://HOST[:PORT]/APP or rtmps://HOST[:PORT]/APP",
            },
        ]))
    )]
    pub url: Option<String>,
    /// Where to, in a Secret of this namespace: as `url`, with the stream key at its end or without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyRef>,
    /// The stream key in a Secret of this namespace: what follows the application in the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_key_secret_ref: Option<SecretKeyRef>,
    /// Certificate authorities in a ConfigMap of this namespace, trusted beside the public ones for this output. Default:
    /// those that the agent trusts for AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// Send silence where the master sends no sound: services such as Amazon IVS want an audio track.
    #[serde(default = "yes")]
    pub silence: bool,
}

impl Default for RtmpSpec {
    fn default() -> Self {
        Self {
            url: None,
            url_secret_ref: None,
            stream_key_secret_ref: None,
            ca_bundle_ref: None,
            silence: true,
        }
    }
}

fn yes() -> bool {
    true
}
