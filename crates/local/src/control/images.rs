//! The image generation configuration of streams: what is made of fragments that have the tag.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::{
    notifications::{destination, replace},
    rules, streams,
};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    error::ServiceError,
    members::Members,
};

/// The shortest time between two images, in milliseconds (API_ImageGenerationConfiguration).
const SHORTEST_MS: i64 = 200;

/// `[a-z]+(-[a-z]+)?-[a-z]+-[0-9]`
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) => {
            (2..=3).contains(&words.len())
                && words.iter().all(word)
                && number.len() == 1
                && number.as_bytes()[0].is_ascii_digit()
        }
        None => false,
    }
}

fn format_config(members: &Members, format: &str) -> Result<Option<Value>, ServiceError> {
    const MEMBER: &str = "FormatConfig";
    let Some(config) = members.string_map(MEMBER, 1)? else { return Ok(None) };
    let [("JPEGQuality", quality)] = config[..] else {
        return Err(members.invalid(MEMBER, "must have the one key JPEGQuality"));
    };
    if format != "JPEG" {
        return Err(members.invalid(MEMBER, "goes with the format JPEG"));
    }
    match quality.parse::<u8>() {
        Ok(1..=100) => Ok(Some(json!({"JPEGQuality": quality}))),
        _ => Err(members.invalid(MEMBER, "the value of JPEGQuality must be from 1 to 100")),
    }
}

fn configuration(members: &Members) -> Result<Option<Value>, ServiceError> {
    let Some(wanted) = members.structure("ImageGenerationConfiguration")? else { return Ok(None) };
    let format = wanted.word("Format", &["JPEG", "PNG"])?;
    let to = wanted.needed("DestinationConfig")?;
    let region = to.required("DestinationRegion", to.string("DestinationRegion")?)?;
    if !(9..=14).contains(&region.len()) || !is_region(region) {
        return Err(to.invalid("DestinationRegion", "must match [a-z]+(-[a-z]+)?-[a-z]+-[0-9]"));
    }
    let interval = wanted.integer("SamplingInterval", SHORTEST_MS..=i32::MAX.into())?;
    let mut kept = json!({
        "Status": wanted.word("Status", &rules::STATUSES)?,
        "ImageSelectorType": wanted.word("ImageSelectorType", &["SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP"])?,
        "DestinationConfig": {"Uri": destination(&to, "s3")?, "DestinationRegion": region},
        "SamplingInterval": wanted.required("SamplingInterval", interval)?,
        "Format": format,
    });
    if let Some(config) = format_config(&wanted, format)? {
        kept["FormatConfig"] = config;
    }
    for (member, most) in [("WidthPixels", 3840), ("HeightPixels", 2160)] {
        if let Some(pixels) = wanted.integer(member, 1..=most)? {
            kept[member] = json!(pixels);
        }
    }
    Ok(Some(kept))
}

pub(super) async fn describe(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    Ok(Json(stream.images.map_or(json!({}), |found| json!({"ImageGenerationConfiguration": found}))))
}

pub(super) async fn update(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = streams::find(&app, &caller.scope, &members)?;
    let wanted = configuration(&members)?;
    let enabled = wanted.as_ref().is_some_and(|wanted| wanted["Status"] == "ENABLED");
    replace(&stream, &app, enabled, |stream| stream.images = wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_the_pattern_of_the_service_model() {
        for (text, is) in [
            ("us-east-1", true),
            ("us-gov-west-1", true),
            ("ap-northeast-1", true),
            ("us-1", false),
            ("us-east-12", false),
            ("us--east-1", false),
            ("US-east-1", false),
            ("a-b-c-d-1", false),
            ("", false),
        ] {
            assert_eq!(is_region(text), is, "{text}");
        }
    }
}
