//! The service: the way to it, who is asking, channel and stream.

use super::checks::Checks;
use super::report::{Fault, Verdict};
use crate::channel::{Channel, stored_by_aws};
use crate::connecting::Step;
use crate::settings::{Settings, StreamSettings};
use kvs::{ChannelInfo, ControlPlane, MediaStorage, Role, StreamId};
use kvs_aws::{AwsContext, ErrorClass};
use std::time::Duration;
use url::Url;

/// The channel, if it can be joined.
pub(super) async fn check(checks: &mut Checks, settings: &Settings, aws: &AwsContext) -> Option<Channel> {
    if let Some(url) = aws.control_endpoint()
        && !way(checks, "control plane", aws, url).await
    {
        return None;
    }
    if !credentials(checks, aws).await {
        return None;
    }
    let control = ControlPlane::new(aws);
    let described = describe(checks, settings, &control).await;
    if let Described::Unreached = described {
        return None;
    }
    clock(checks, aws);
    let channel = match described {
        Described::Found(info) => endpoint(checks, &control, info).await,
        Described::Not | Described::Unreached => None,
    };
    match &settings.stream {
        Some(stream) => self::stream(checks, settings, stream, &control, aws).await,
        None => checks.skipped("DescribeStream", "nothing is stored: there is no spec.stream"),
    }
    channel
}

/// DNS, TCP, TLS and the proxy.
async fn way(checks: &mut Checks, name: &'static str, aws: &AwsContext, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let proxy = aws.proxy_for(url);
    if proxy.is_none() {
        let (found, took) =
            checks.within(tokio::net::lookup_host((host.trim_matches(['[', ']']), port))).await;
        let addresses = found.map(|found| found.map(Iterator::count));
        if !matches!(addresses, Some(Ok(1..))) {
            let why = match addresses {
                Some(Err(error)) => error.to_string(),
                _ => "no answer".to_owned(),
            };
            let remedy = "look at the region's name and at the DNS of this network";
            checks.add(
                name,
                Verdict::Failed(Fault::Network),
                took,
                format!("{host} is not found: {why}"),
                Some(remedy.to_owned()),
            );
            return false;
        }
    }
    let (connected, took) = checks.within(aws.connect(url, checks.limit)).await;
    let by = proxy.map_or(String::new(), |proxy| format!(" through the proxy {proxy}"));
    let tls = if url.scheme() == "https" { "TCP and TLS" } else { "TCP" };
    match connected {
        Some(Ok(_)) => {
            checks.add(name, Verdict::Ok, took, format!("{host}:{port} answers by {tls}{by}"), None);
            true
        }
        Some(Err(error)) => {
            let remedy = "let HTTPS out to *.amazonaws.com, directly or by HTTPS_PROXY; where a proxy opens TLS, put its CA \
                          into AWS_CA_BUNDLE";
            let found = kvs_aws::causes(&error);
            checks.add(name, Verdict::Failed(Fault::Network), took, found, Some(remedy.to_owned()));
            false
        }
        None => {
            checks.late(name, took);
            false
        }
    }
}

async fn credentials(checks: &mut Checks, aws: &AwsContext) -> bool {
    const NAME: &str = "credentials";
    let (found, took) = checks.within(aws.credentials()).await;
    match found {
        Some(Ok(credentials)) => {
            let left = credentials.expiry().map(|at| at.duration_since(aws.now()).unwrap_or_default());
            let lasts = left.map_or("they do not end by themselves".to_owned(), |left| {
                format!("they last {} minutes", left.as_secs() / 60)
            });
            checks.add(NAME, Verdict::Ok, took, format!("found; {lasts}"), None);
            true
        }
        Some(Err(error)) => {
            let fault = match error.class() {
                ErrorClass::Network | ErrorClass::Timeout => Fault::Network,
                _ => Fault::Access,
            };
            let remedy = "give it some: environment, profile, IRSA, Pod Identity or the instance's role";
            checks.add(NAME, Verdict::Failed(fault), took, error.to_string(), Some(remedy.to_owned()));
            false
        }
        None => {
            let found =
                format!("none within {} s: whom the chain asks does not answer", checks.limit.as_secs());
            checks.add(NAME, Verdict::Failed(Fault::Access), took, found, None);
            false
        }
    }
}

async fn describe(checks: &mut Checks, settings: &Settings, control: &ControlPlane) -> Described {
    let name = Step::Describe.as_str();
    let (result, took) = checks.within(control.describe_channel(&settings.channel)).await;
    match result {
        Some(Ok(info)) => {
            let (verdict, state) = if info.active {
                (Verdict::Ok, "is ACTIVE")
            } else {
                (Verdict::Warning, "is not ACTIVE yet")
            };
            checks.add(name, verdict, took, format!("{} {state}", info.arn), None);
            Described::Found(info)
        }
        // It is made by who records; here nothing is.
        Some(Err(error)) if error.class == ErrorClass::NotFound && settings.create_channel => {
            let found = format!("{} does not exist yet; the agent creates it", settings.channel);
            let remedy =
                "start the agent or the master and ask again: what lies behind the channel was not tried";
            checks.add(name, Verdict::Warning, took, found, Some(remedy.to_owned()));
            Described::Not
        }
        Some(Err(error)) => {
            checks.refused(name, Fault::Channel, took, &error);
            match error.class {
                ErrorClass::Network | ErrorClass::Timeout => Described::Unreached,
                _ => Described::Not,
            }
        }
        None => {
            checks.late(name, took);
            Described::Unreached
        }
    }
}

enum Described {
    Found(ChannelInfo),
    Not,
    /// The service did not answer.
    Unreached,
}

/// This machine's clock beside AWS's, by the `Date` of an answer.
fn clock(checks: &mut Checks, aws: &AwsContext) {
    const NAME: &str = "clock";
    let ahead = aws.skew_ms();
    if ahead == 0 {
        return checks.add(NAME, Verdict::Ok, Duration::ZERO, "agrees with AWS's within 3 s", None);
    }
    let (seconds, way) = (ahead.unsigned_abs() / 1000, if ahead > 0 { "behind" } else { "ahead of" });
    let found = format!(
        "this machine's clock is {seconds} s {way} AWS's; signatures and capture times are corrected by that"
    );
    let remedy = "let NTP set it (chrony, systemd-timesyncd): certificates and other programs go by it";
    checks.add(NAME, Verdict::Warning, Duration::ZERO, found, Some(remedy.to_owned()));
}

/// The channel as one that can be joined.
async fn endpoint(checks: &mut Checks, control: &ControlPlane, info: ChannelInfo) -> Option<Channel> {
    let name = Step::MediaStorage.as_str();
    let (storage, took) = checks.call(name, Fault::Channel, control.media_storage(&info.arn)).await?;
    match storage {
        MediaStorage::Enabled { stream_arn } => {
            checks.failure(name, Fault::Channel, took, stored_by_aws(&info, stream_arn.as_deref()));
            return None;
        }
        MediaStorage::Disabled => checks.add(name, Verdict::Ok, took, "AWS does not store it itself", None),
        MediaStorage::NotPermitted => {
            let found = "not allowed to ask, which is no obstacle: a channel that AWS stores itself would send nothing, and \
                         nobody could say why";
            checks.add(name, Verdict::Ok, took, found, None);
        }
    }
    let name = Step::Endpoint.as_str();
    let call = control.channel_endpoints(&info.arn, Role::Viewer);
    let (endpoints, took) = checks.call(name, Fault::Channel, call).await?;
    let host = endpoints.wss.host_str().unwrap_or_default();
    checks.add(name, Verdict::Ok, took, format!("viewers join at {host}"), None);
    Some(Channel { arn: info.arn, endpoints, message_ttl: info.message_ttl })
}

/// The stream, as far as can be told without storing something.
async fn stream(
    checks: &mut Checks,
    settings: &Settings,
    stream: &StreamSettings,
    control: &ControlPlane,
    aws: &AwsContext,
) {
    const DESCRIBE: &str = "DescribeStream";
    // What the operator resolved is not looked up again, and need not be allowed.
    if stream.resolved.is_none() && !describe_stream(checks, DESCRIBE, settings, stream, control).await {
        return;
    }
    const ENDPOINT: &str = "GetDataEndpoint";
    let id = stream.resolved.clone().map_or_else(|| stream.id.clone(), StreamId::Name);
    let Some((url, took)) = checks.call(ENDPOINT, Fault::Stream, control.put_media_endpoint(&id)).await
    else {
        return;
    };
    let host = url.host_str().unwrap_or_default();
    let found = format!("PutMedia goes to {host}; that it is allowed can only be told by storing something");
    checks.add(ENDPOINT, Verdict::Ok, took, found, None);
    way(checks, "data endpoint", aws, &url).await;
}

/// Whether there is one to store in.
async fn describe_stream(
    checks: &mut Checks,
    name: &'static str,
    settings: &Settings,
    stream: &StreamSettings,
    control: &ControlPlane,
) -> bool {
    let (result, took) = checks.within(control.describe_stream(&stream.id)).await;
    match result {
        Some(Ok(info)) => {
            let hours = info.retention_hours;
            let remedy =
                "raise its retention: without one nothing is kept, and nothing acknowledged as PERSISTED";
            let (verdict, remedy) = match hours {
                0 => (Verdict::Warning, Some(remedy.to_owned())),
                _ => (Verdict::Ok, None),
            };
            let state = if info.active { "ACTIVE" } else { "not ACTIVE yet" };
            checks.add(name, verdict, took, format!("{} is {state}, retention {hours} h", info.arn), remedy);
            true
        }
        Some(Err(error)) if error.class == ErrorClass::NotFound && stream.create.is_some() => {
            let found = format!(
                "{} does not exist in {}; the agent creates it, for which it needs kinesisvideo:CreateStream",
                stream.id, settings.region
            );
            checks.add(name, Verdict::Ok, took, found, None);
            false
        }
        Some(Err(error)) => {
            checks.refused(name, Fault::Stream, took, &error);
            false
        }
        None => {
            checks.late(name, took);
            false
        }
    }
}
