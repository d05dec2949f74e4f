//! What GetHLSStreamingSessionURL, GetDASHStreamingSessionURL, GetClip and GetImages are asked for.

use crate::{
    App,
    archive::TimestampKind,
    auth::Caller,
    clock::now_ms,
    control::find_stream,
    error::{ErrorKind, ServiceError},
    members::Members,
    model::Stream,
};

use super::{
    session::{Container, Mode, Options, Protocol},
    timeline::DiscontinuityMode,
};

const DAY_MS: u64 = 24 * 3_600_000;
const KINDS: [&str; 2] = ["PRODUCER_TIMESTAMP", "SERVER_TIMESTAMP"];

/// The stream, if it is one that keeps what it gets.
///
/// # Errors
/// `ResourceNotFoundException`, `NoDataRetentionException`.
pub(super) fn kept_stream(app: &App, caller: &Caller, members: &Members) -> Result<Stream, ServiceError> {
    let stream = find_stream(app, &caller.scope, members)?.serving()?;
    if stream.retention_hours == 0 {
        return Err(ServiceError::new(
            ErrorKind::NoDataRetention,
            format!(
                "The stream {} retains no data; raise its retention with UpdateDataRetention.",
                stream.name
            ),
        ));
    }
    Ok(stream)
}

/// One of the two kinds of timestamps.
pub(super) fn timestamp_kind(members: &Members, member: &str) -> Result<Option<TimestampKind>, ServiceError> {
    let kind = members.one_of(member, &KINDS)?;
    Ok(kind.map(|kind| if kind == KINDS[0] { TimestampKind::Producer } else { TimestampKind::Server }))
}

/// `TimestampRange`: its start, and its end if there is one.
fn range(selector: &Members, kind: TimestampKind) -> Result<Option<(u64, Option<u64>)>, ServiceError> {
    let Some(range) = selector.structure("TimestampRange")? else { return Ok(None) };
    let from = range.required("StartTimestamp", range.timestamp("StartTimestamp")?)?;
    let to = range.timestamp("EndTimestamp")?;
    if let Some(to) = to {
        if to <= from {
            return Err(range.invalid("EndTimestamp", "must be later than StartTimestamp"));
        }
        if to - from > DAY_MS {
            return Err(range.invalid("EndTimestamp", "must be within 24 hours of StartTimestamp"));
        }
        if kind == TimestampKind::Server && to > now_ms() {
            return Err(range.invalid("EndTimestamp", "must be in the past with SERVER_TIMESTAMP"));
        }
    }
    Ok(Some((from, to)))
}

/// `ClipFragmentSelector`, all of which is required: its kind, start and end.
pub(super) fn clip_selector(members: &Members) -> Result<(TimestampKind, u64, u64), ServiceError> {
    let selector = members.structure("ClipFragmentSelector")?;
    let selector = members.required("ClipFragmentSelector", selector)?;
    let kind = timestamp_kind(&selector, "FragmentSelectorType")?;
    let kind = selector.required("FragmentSelectorType", kind)?;
    let (from, to) = selector.required("TimestampRange", range(&selector, kind)?)?;
    let to = to.ok_or_else(|| selector.invalid("TimestampRange.EndTimestamp", "is required"))?;
    Ok((kind, from, to))
}

/// The members that HLS and DASH share.
fn common(
    members: &Members,
    protocol: Protocol,
    selector_member: &str,
    most_member: &str,
) -> Result<Options, ServiceError> {
    let mode = members.one_of("PlaybackMode", &["LIVE", "LIVE_REPLAY", "ON_DEMAND"])?.unwrap_or("LIVE");
    let selector = members.structure(selector_member)?;
    let kind =
        selector.as_ref().map(|selector| timestamp_kind(selector, "FragmentSelectorType")).transpose()?;
    let kind = kind.flatten();
    let range = match &selector {
        Some(selector) => range(selector, kind.unwrap_or(TimestampKind::Server))?,
        None => None,
    };
    let mode = if mode == "LIVE" {
        if range.is_some() {
            let range = format!("{selector_member}.TimestampRange");
            return Err(members.invalid(&range, "must not be present if PlaybackMode is LIVE"));
        }
        Mode::Live
    } else {
        let selector = members.required(selector_member, selector)?;
        selector.required("FragmentSelectorType", kind)?;
        match (mode, selector.required("TimestampRange", range)?) {
            ("LIVE_REPLAY", (from_ms, to)) => Mode::LiveReplay { from_ms, to_ms: to.unwrap_or(u64::MAX) },
            (_, (from_ms, Some(to_ms))) => Mode::OnDemand { from_ms, to_ms },
            (_, (_, None)) => {
                return Err(selector
                    .invalid("TimestampRange.EndTimestamp", "is required if PlaybackMode is ON_DEMAND"));
            }
        }
    };
    let default = if matches!(mode, Mode::OnDemand { .. }) { 1_000 } else { 5 };
    let most = members.integer(most_member, 1..=5_000)?.unwrap_or(default);
    let expires = members.integer("Expires", 300..=43_200)?.unwrap_or(300);
    let timestamps = members.one_of("DisplayFragmentTimestamp", &["ALWAYS", "NEVER"])? == Some("ALWAYS");
    Ok(Options {
        protocol,
        mode,
        kind: kind.unwrap_or(TimestampKind::Server),
        discontinuities: DiscontinuityMode::OnDiscontinuity,
        timestamps,
        most: usize::try_from(most).unwrap_or(1),
        expires_s: u64::try_from(expires).unwrap_or(300),
    })
}

/// Of GetHLSStreamingSessionURL.
pub(super) fn hls(members: &Members) -> Result<Options, ServiceError> {
    let container = match members.one_of("ContainerFormat", &["FRAGMENTED_MP4", "MPEG_TS"])? {
        Some("MPEG_TS") => Container::MpegTs,
        _ => Container::FragmentedMp4,
    };
    let options = common(
        members,
        Protocol::Hls { container },
        "HLSFragmentSelector",
        "MaxMediaPlaylistFragmentResults",
    )?;
    let discontinuities =
        match members.one_of("DiscontinuityMode", &["ALWAYS", "NEVER", "ON_DISCONTINUITY"])? {
            Some("ALWAYS") => DiscontinuityMode::Always,
            Some("NEVER") => DiscontinuityMode::Never,
            Some(_) => DiscontinuityMode::OnDiscontinuity,
            None if options.kind == TimestampKind::Server => DiscontinuityMode::Always,
            None => DiscontinuityMode::Never,
        };
    Ok(Options { discontinuities, ..options })
}

/// Of GetDASHStreamingSessionURL.
pub(super) fn dash(members: &Members) -> Result<Options, ServiceError> {
    let numbers = members.one_of("DisplayFragmentNumber", &["ALWAYS", "NEVER"])? == Some("ALWAYS");
    common(members, Protocol::Dash { numbers }, "DASHFragmentSelector", "MaxManifestFragmentResults")
}
