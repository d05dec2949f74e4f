//! GetImages: pictures of a stream at regular times.

mod decoder;
mod fragment;
mod memory;
mod split;

use std::sync::Arc;

use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use self::decoder::{Decoder, Size};
pub(crate) use self::fragment::pictures_of_fragment;
pub(crate) use self::split::Format;
use super::request;
use crate::{
    App,
    answer::{Answer, Json},
    archive::{FragmentInfo, Selector, TimestampKind},
    auth::Signed,
    clock::seconds,
    error::ServiceError,
    members::Members,
};

/// Images of a page: "Providing a MaxResults greater than this value will result in a page size of 25".
const PAGE: i64 = 25;
/// "If the time range … is more than 300 seconds …".
const RANGE_MS: u64 = 300_000;
/// The service's default is not documented; its own examples have 3 s.
const INTERVAL_MS: i64 = 3_000;
/// Characters of an image in Base64, of the service model.
const IMAGE: usize = 6_291_456;
/// Characters of all images of a page, which is in memory as a whole; one that has reached them ends there, and has a token for
/// the rest. The service's own limit is 100 MB.
const ANSWER: usize = 24_000_000;
/// The most fragments that such a range has, at five a second, and more.
const FRAGMENTS: usize = 5_000;

/// What is asked for.
#[derive(Debug)]
struct Wanted {
    kind: TimestampKind,
    from_ms: u64,
    to_ms: u64,
    interval_ms: u64,
    page: usize,
    decoder: Decoder,
}

impl Wanted {
    fn read(members: &Members) -> Result<Self, ServiceError> {
        let kind = request::timestamp_kind(members, "ImageSelectorType")?;
        let kind = members.required("ImageSelectorType", kind)?;
        let from_ms = members.required("StartTimestamp", members.timestamp("StartTimestamp")?)?;
        let to_ms = members.required("EndTimestamp", members.timestamp("EndTimestamp")?)?;
        if to_ms < from_ms {
            return Err(members.invalid("EndTimestamp", "must not be before StartTimestamp"));
        }
        if to_ms - from_ms > RANGE_MS {
            return Err(members.invalid("EndTimestamp", "must be at most 300 seconds after StartTimestamp"));
        }
        let format = members.required("Format", members.one_of("Format", &["JPEG", "PNG"])?)?;
        let interval = members.integer("SamplingInterval", 200..=i64::from(i32::MAX))?.unwrap_or(INTERVAL_MS);
        let page = members.integer("MaxResults", 1..=100)?.unwrap_or(PAGE).min(PAGE);
        let quality = quality(members)?;
        let width = members.integer("WidthPixels", 1..=3_840)?.and_then(|pixels| u32::try_from(pixels).ok());
        let height =
            members.integer("HeightPixels", 1..=2_160)?.and_then(|pixels| u32::try_from(pixels).ok());
        if width.is_some() && height.is_none() {
            return Err(members.invalid("WidthPixels", "needs HeightPixels beside it"));
        }
        let size = Size::of(width, height);
        let format = if format == "JPEG" { Format::Jpeg } else { Format::Png };
        Ok(Self {
            kind,
            from_ms,
            to_ms,
            interval_ms: u64::try_from(interval).unwrap_or(1),
            page: usize::try_from(page).unwrap_or(1),
            decoder: Decoder { format, quality, size },
        })
    }
}

/// `FormatConfig`: one entry, `JPEGQuality`, from 1 to 100.
fn quality(members: &Members) -> Result<u32, ServiceError> {
    let Some(config) = members.string_map("FormatConfig", 1)? else { return Ok(Decoder::QUALITY) };
    let Some((key, value)) = config.into_iter().next() else {
        return Err(members.invalid("FormatConfig", "must have an entry"));
    };
    if key != "JPEGQuality" {
        return Err(members.invalid("FormatConfig", "the key must be JPEGQuality"));
    }
    let quality = value.parse().ok().filter(|quality| (1..=100).contains(quality));
    quality.ok_or_else(|| members.invalid("FormatConfig", "JPEGQuality must be from 1 to 100"))
}

/// Times of one fragment, or of a gap.
struct Group {
    info: Option<Arc<FragmentInfo>>,
    times_ms: Vec<u64>,
}

/// Which fragment each time lies in.
fn groups(
    fragments: &[Arc<FragmentInfo>],
    kind: TimestampKind,
    times_ms: impl Iterator<Item = u64>,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for time in times_ms {
        let begun = fragments.partition_point(|info| kind.of(info) <= time);
        let info = begun.checked_sub(1).map(|index| &fragments[index]);
        let info = info.filter(|info| time < kind.of(info).saturating_add(info.duration_ms.max(1))).cloned();
        match groups.last_mut() {
            Some(group) if group.info.as_ref().map(|i| &i.number) == info.as_ref().map(|i| &i.number) => {
                group.times_ms.push(time);
            }
            _ => groups.push(Group { info, times_ms: vec![time] }),
        }
    }
    groups
}

/// GetImages.
pub(super) async fn get_images(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let wanted = Wanted::read(&members)?;
    let stream = request::kept_stream(&app, &caller, &members)?;
    let (key, kind) = (stream.folder(), wanted.kind);
    let listing = format!("GetImages {} {wanted:?}", stream.arn);
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let start_ms = match members.text("NextToken", 1..=4_096, base64, "[a-zA-Z0-9+/]+={0,2}")? {
        Some(token) => app.tokens.redeem(&members, &listing, token)?,
        None => wanted.from_ms,
    };
    // The fragment that the first time lies in began before it.
    let longest = app.config.put_media.fragment.fragment_ms;
    let from_ms = start_ms.saturating_sub(longest);
    let selector = Selector { kind, from_ms, to_ms: wanted.to_ms };
    let fragments = app.archive.selected(&key, selector, None, FRAGMENTS);
    let step = usize::try_from(wanted.interval_ms).unwrap_or(usize::MAX);
    let times = (start_ms..=wanted.to_ms).step_by(step);

    let (mut images, mut size, mut next) = (Vec::new(), 0, None);
    let page = times.clone().take(wanted.page);
    'page: for group in groups(&fragments, kind, page) {
        let pictures = match &group.info {
            Some(info) => {
                pictures_of_fragment(&app, &key, (info, wanted.kind), &group.times_ms, &wanted.decoder)
                    .await?
            }
            None => vec![Err("NO_MEDIA"); group.times_ms.len()],
        };
        for (time, picture) in group.times_ms.iter().zip(pictures) {
            if size >= ANSWER {
                next = Some(*time);
                break 'page;
            }
            let image = image(*time, picture);
            size += image["ImageContent"].as_str().map_or(0, str::len);
            images.push(image);
        }
    }
    let next = next.or_else(|| times.clone().nth(wanted.page));
    let mut answer = json!({ "Images": images });
    if let Some(next) = next {
        answer["NextToken"] = json!(app.tokens.issue(&listing, &next)?);
    }
    Ok(Json(answer))
}

fn image(time_ms: u64, picture: Result<Bytes, &str>) -> Value {
    let encoded = picture.map(|picture| STANDARD.encode(picture));
    match encoded {
        Ok(content) if content.len() <= IMAGE => {
            json!({ "TimeStamp": seconds(time_ms), "ImageContent": content })
        }
        Ok(content) => {
            tracing::warn!(
                time_ms,
                length = content.len(),
                most = IMAGE,
                "an image is longer than the service gives"
            );
            json!({ "TimeStamp": seconds(time_ms), "Error": "MEDIA_ERROR" })
        }
        Err(error) => json!({ "TimeStamp": seconds(time_ms), "Error": error }),
    }
}
