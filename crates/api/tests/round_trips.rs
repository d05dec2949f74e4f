//! What is written is read back as it was, for any valid value.
#![allow(clippy::unwrap_used, reason = "a test")]

use kvs_ingest_api::{
    API_VERSION, AgentConfig, AgentStatus, AudioSpec, AudioStatus, BufferingSpec, CaBundleRef, ChannelSpec,
    DataSpec, IceSpec, IceTransportPolicy, KIND, KvsIngestManifest, KvsIngestSpec, LogLevel, MediaSpec,
    OutputConfig, OutputSpec, OutputState, OutputStatus, Phase, PortRange, RoleConfig, RtmpConfig, RtmpSpec,
    SecretKeyRef, SpoolSpec, StreamConfig, StreamSpec, VideoSpec, VideoStatus,
};
use proptest::option::of;
use proptest::prelude::*;

fn region() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["ap-northeast-1", "us-gov-west-1", "cn-north-1"]).prop_map(str::to_owned)
}

/// Also names that YAML takes for something else when they are not quoted.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_.-]{1,256}",
        prop::sample::select(vec![
            "null",
            "true",
            "1.0",
            "0x10",
            "1e3",
            "yes",
            "-",
            ".",
            "2026-11-20",
            ".inf"
        ])
        .prop_map(str::to_owned)
    ]
}

fn arn(kind: &'static str, region: String) -> impl Strategy<Value = String> {
    ("[0-9]{12}", "[a-zA-Z0-9_.-]{1,64}", "[0-9]{13}").prop_map(move |(account, name, created)| {
        format!("arn:aws:kinesisvideo:{region}:{account}:{kind}/{name}/{created}")
    })
}

fn channel(region: String) -> impl Strategy<Value = ChannelSpec> {
    prop_oneof![
        (name(), any::<bool>(), any::<bool>()).prop_map(|(name, create_if_missing, adopt)| ChannelSpec {
            name: Some(name),
            arn: None,
            create_if_missing,
            adopt,
        }),
        arn("channel", region).prop_map(|arn| ChannelSpec { arn: Some(arn), ..ChannelSpec::default() }),
    ]
}

fn stream(region: String) -> impl Strategy<Value = StreamSpec> {
    let which = prop_oneof![
        (name(), any::<bool>()).prop_map(|(name, create)| (Some(name), None, create)),
        arn("stream", region).prop_map(|arn| (None, Some(arn), false)),
    ];
    let tags = prop::collection::btree_map("[a-zA-Z0-9 ]{1,128}", "\\PC{0,64}", 0..4);
    (which, any::<bool>(), of(1u32..=87_600), of("[a-z0-9/:-]{1,64}"), tags).prop_map(
        |((name, arn, create_if_missing), adopt, retention_hours, kms_key_id, tags)| StreamSpec {
            name,
            arn,
            create_if_missing,
            adopt,
            retention_hours,
            kms_key_id,
            tags,
        },
    )
}

fn media() -> impl Strategy<Value = MediaSpec> {
    let data =
        (of("[a-z{}-]{0,8}"), prop::collection::btree_set("[a-zA-Z0-9:/ -]{1,16}", 1..4), any::<bool>());
    let data = data.prop_map(|(tag, labels, open)| DataSpec {
        tag: tag.map(|text| format!("{}{{label}}", text.replace(['{', '}'], ""))),
        open: labels.iter().filter(|_| open).cloned().collect(),
        labels: labels.into_iter().chain(["*".to_owned()]).collect(),
    });
    (any::<bool>(), of(50u32..=20_000), any::<bool>(), 16u32..=320, of(data)).prop_map(
        |(video, start_bitrate_kbps, audio, aac_bitrate_kbps, data)| MediaSpec {
            data,
            video: VideoSpec { enabled: video, start_bitrate_kbps, ..VideoSpec::default() },
            audio: AudioSpec { enabled: audio || !video, aac_bitrate_kbps, ..AudioSpec::default() },
        },
    )
}

fn rtmp() -> impl Strategy<Value = RtmpSpec> {
    let secret =
        || ("[a-z0-9]{1,8}", "[A-Za-z0-9_-]{1,8}").prop_map(|(name, key)| SecretKeyRef { name, key });
    let host = prop_oneof!["[A-Za-z0-9_]([A-Za-z0-9.-]{0,20}[a-z])?", Just("[2001:db8::1]".to_owned())];
    let url =
        (any::<bool>(), host, of(1u16..), "(/[A-Za-z0-9._~@:=-]{1,8}){2,3}/?", of("[ -\"$-~&&[^ ]]{0,8}"));
    let url = url.prop_map(|(tls, host, port, path, query)| {
        let scheme = if tls { "rtmps" } else { "rtmp" };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{path}{query}")
    });
    let place =
        prop_oneof![url.prop_map(|url| (Some(url), None)), secret().prop_map(|secret| (None, Some(secret)))];
    let ca_bundle =
        of("[a-z]{1,8}").prop_map(|name| name.map(|name| CaBundleRef { name, key: "ca.crt".to_owned() }));
    (place, of(secret()), ca_bundle, any::<bool>()).prop_map(
        |(place, stream_key_secret_ref, ca_bundle_ref, silence)| {
            let (url, url_secret_ref) = place;
            RtmpSpec { url, url_secret_ref, stream_key_secret_ref, ca_bundle_ref, silence }
        },
    )
}

/// Up to four, at least so many.
fn outputs(least: usize) -> impl Strategy<Value = Vec<OutputSpec>> {
    prop::collection::btree_map("[a-j]([a-z0-9-]{0,8}[a-z0-9])?", (any::<bool>(), rtmp()), least..=4)
        .prop_map(|outputs| {
            let output = |(name, (required, rtmp))| OutputSpec { name, required, rtmp: Some(rtmp) };
            outputs.into_iter().map(output).collect()
        })
}

/// A stream, outputs, or both.
fn targets(region: String) -> impl Strategy<Value = (Option<StreamSpec>, Vec<OutputSpec>)> {
    prop_oneof![
        (stream(region), outputs(0)).prop_map(|(stream, outputs)| (Some(stream), outputs)),
        outputs(1).prop_map(|outputs| (None, outputs)),
    ]
}

/// As the operator would say it.
fn output_config(output: &OutputSpec) -> OutputConfig {
    let rtmp = output.rtmp.as_ref().unwrap();
    let file = |there: bool| there.then(|| "/secret/file".into());
    OutputConfig {
        name: output.name.clone(),
        required: output.required,
        rtmp: RtmpConfig {
            url: rtmp.url.clone(),
            url_file: file(rtmp.url_secret_ref.is_some()),
            stream_key_file: file(rtmp.stream_key_secret_ref.is_some()),
            ca_bundle: file(rtmp.ca_bundle_ref.is_some()),
            silence: rtmp.silence,
        },
    }
}

fn spec() -> impl Strategy<Value = KvsIngestSpec> {
    region().prop_flat_map(|region| {
        let role =
            of((Just("arn:aws:iam::123456789012:role/kvs".to_owned()), of("[a-zA-Z0-9_+=,.@:/-]{2,64}")));
        let level = prop::sample::select(vec![LogLevel::Error, LogLevel::Info, LogLevel::Trace]);
        let policy = prop::sample::select(vec![IceTransportPolicy::All, IceTransportPolicy::Relay]);
        let denied =
            prop::collection::vec(prop::sample::select(vec!["10.96.0.0/12", "fd00::/8", "0.0.0.0/0"]), 0..3);
        let ports = of((1024_u16..60_000, 3_u16..5_000));
        let ice = (policy, denied, ports).prop_map(|(transport_policy, denied, ports)| IceSpec {
            transport_policy,
            deny_cidrs: denied.into_iter().map(str::to_owned).collect(),
            port_range: ports.map(|(min, more)| PortRange { min, max: min + more }),
        });
        let grace = of(5u32..=3600);
        let buffering = (16u32..=10_240, of(16u32..=1_048_576)).prop_map(|(memory_mib, size)| {
            let spool = size.map(|size_mib| SpoolSpec { size_mib });
            BufferingSpec { memory_mib, spool }
        });
        (channel(region.clone()), targets(region.clone()), media(), ice, role, buffering, level, grace)
            .prop_map(
                move |(channel, (stream, outputs), mut media, ice, role, mut buffering, log_level, grace)| {
                    if stream.is_none() {
                        buffering.spool = None;
                        media.data = None;
                    }
                    let (role_arn, external_id) = role.map_or((None, None), |(arn, id)| (Some(arn), id));
                    KvsIngestSpec {
                        region: region.clone(),
                        channel,
                        stream,
                        outputs,
                        media,
                        ice,
                        buffering,
                        role_arn,
                        external_id,
                        log_level,
                        termination_grace_period_seconds: grace,
                        ..KvsIngestSpec::default()
                    }
                },
            )
    })
}

proptest! {
    #[test]
    fn manifests(spec in spec()) {
        let head = format!("apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata: {{name: front-door}}\n");
        let spec_yaml = serde_yaml_ng::to_string(&serde_json::json!({ "spec": spec })).unwrap();
        let text = format!("{head}{spec_yaml}");
        let manifest = KvsIngestManifest::from_yaml(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&manifest.spec, &spec);
        let again = serde_yaml_ng::to_string(&manifest).unwrap();
        prop_assert_eq!(KvsIngestManifest::from_yaml(&again).unwrap(), manifest);
    }

    #[test]
    fn configurations(spec in spec(), stream in name()) {
        let arn = |kind: &str, name: &str| {
            format!("arn:aws:kinesisvideo:{}:123456789012:{kind}/{name}/1234567890123", spec.region)
        };
        let config = AgentConfig {
            name: "front-door".to_owned(),
            region: spec.region.clone(),
            channel_arn: arn("channel", "x"),
            stream: spec.stream.as_ref().map(|_| StreamConfig { arn: arn("stream", &stream), name: stream }),
            outputs: spec.outputs.iter().map(output_config).collect(),
            media: spec.media.clone(),
            ice: spec.ice.clone(),
            buffering: spec.buffering.clone(),
            spool_dir: spec.buffering.spool.as_ref().map(|_| "/spool".to_owned()),
            role: spec.role_arn.clone().map(|arn| RoleConfig { arn, external_id: spec.external_id.clone() }),
            log_level: spec.log_level,
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
        };
        let json = config.to_json();
        let again = AgentConfig::from_json(&json).map_err(|error| TestCaseError::fail(format!("{error}\n{json}")))?;
        prop_assert_eq!(again.to_json(), json);
        prop_assert_eq!(again, config);
    }

    #[test]
    fn no_text_makes_the_configuration_panic(text in "\\PC{0,200}") {
        let _ = AgentConfig::from_json(&text);
    }

    #[test]
    fn status_documents(frames in any::<u64>(), seconds in 0u32..100_000, message in "\\PC{0,80}") {
        let mut status = AgentStatus {
            phase: Phase::Streaming,
            message,
            video: Some(VideoStatus { frames_received: frames, ..VideoStatus::default() }),
            audio: Some(AudioStatus::default()),
            outputs: vec![OutputStatus { state: OutputState::Receiving, ..OutputStatus::default() }],
            ..AgentStatus::default()
        };
        status.kvs.buffered_seconds = f64::from(seconds) / 8.0;
        let json = serde_json::to_string(&status).unwrap();
        prop_assert_eq!(serde_json::from_str::<AgentStatus>(&json).unwrap(), status);
    }
}

/// A reader may be older or newer than the agent.
#[test]
fn a_status_of_another_release_is_read() {
    let status: AgentStatus =
        serde_json::from_str(r#"{"phase":"Failed","new":{"a":1},"kvs":{"sessions":2}}"#).unwrap();
    assert_eq!((status.phase, status.kvs.sessions), (Phase::Failed, 2));
}
