//! ListFragments, GetMedia and GetMediaForFragmentList over HTTP.

use std::{io, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use super::read::{fragment_list_chunk, get_media_chunk};
use super::select::{Selector, TimestampKind};
use super::start::start;
use super::{Archive, FragmentInfo};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    clock::{now_ms, seconds},
    control::find_stream,
    error::{ErrorKind, ServiceError},
    members::Members,
};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/listFragments", post(list_fragments))
        .route("/getMedia", post(get_media))
        .route("/getMediaForFragmentList", post(get_media_for_fragment_list))
}

fn describe(info: &FragmentInfo) -> Value {
    json!({
        "FragmentNumber": info.number,
        "FragmentSizeInBytes": info.size,
        "ProducerTimestamp": seconds(info.producer_ms),
        "ServerTimestamp": seconds(info.server_ms),
        "FragmentLengthInMilliseconds": info.duration_ms,
    })
}

async fn list_fragments(State(app): State<Arc<App>>, Signed { caller, members }: Signed) -> Answer {
    let stream = find_stream(&app, &caller.scope, &members)?.serving()?;
    let most = members.integer("MaxResults", 1..=1000)?.unwrap_or(1000);
    let selector = fragment_selector(&members)?;
    let listing = format!("ListFragments {}", stream.arn);
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let token = members.text("NextToken", 1..=4096, base64, "[a-zA-Z0-9+/]+={0,2}")?;
    let (selector, after) = match token {
        None => (selector, None),
        // "This is only required when the NextToken isn't passed": the token knows it.
        Some(token) => {
            let (selector, after) = app.tokens.redeem(&members, &listing, token)?;
            (selector, Some(after))
        }
    };
    let most = usize::try_from(most).unwrap_or(1);
    let page = app.archive.page(&stream.folder(), selector, most, after.as_ref());
    let mut answer =
        json!({"Fragments": page.fragments.iter().map(|info| describe(info)).collect::<Vec<_>>()});
    if let Some(after) = page.next {
        answer["NextToken"] = json!(app.tokens.issue(&listing, &(selector, after))?);
    }
    Ok(Json(answer))
}

/// `FragmentSelector`, if present.
fn fragment_selector(members: &Members) -> Result<Option<Selector>, ServiceError> {
    let Some(selector) = members.structure("FragmentSelector")? else { return Ok(None) };
    let kinds = ["PRODUCER_TIMESTAMP", "SERVER_TIMESTAMP"];
    let kind = selector.one_of("FragmentSelectorType", &kinds)?;
    let kind = selector.required("FragmentSelectorType", kind)?;
    let range = selector.structure("TimestampRange")?;
    let range = selector.required("TimestampRange", range)?;
    let from_ms = range.required("StartTimestamp", range.timestamp("StartTimestamp")?)?;
    let to_ms = range.required("EndTimestamp", range.timestamp("EndTimestamp")?)?;
    if to_ms < from_ms {
        return Err(range.invalid("EndTimestamp", "must not be before StartTimestamp"));
    }
    let kind = if kind == kinds[0] { TimestampKind::Producer } else { TimestampKind::Server };
    Ok(Some(Selector { kind, from_ms, to_ms }))
}

fn matroska(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response {
    let mut response = Body::from_stream(body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("video/x-matroska"));
    response
}

/// Goes on with what is stored, for as long as the caller reads and the stream is there.
async fn get_media(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> Result<Response, ServiceError> {
    let stream = find_stream(&app, &caller.scope, &members)?.serving()?;
    let after = start(&app.archive, &stream.folder(), &members)?;
    let changes = app.archive.changes();
    let body = futures::stream::try_unfold(
        (app, stream, after, changes),
        |(app, stream, after, mut changes)| async move {
            let key = stream.folder();
            loop {
                changes.mark_unchanged();
                let next = app.archive.next_after(&key, after.as_deref());
                if let Some(info) = next {
                    let chunk = get_media_chunk(&app.archive, &key, &info, now_ms()).await?;
                    return Ok(Some((chunk, (app, stream, Some(info.number.clone()), changes))));
                }
                let deleted = app.control.current(&stream).is_err();
                if deleted || changes.changed().await.is_err() {
                    return Ok(None);
                }
            }
        },
    );
    Ok(matroska(body))
}

async fn get_media_for_fragment_list(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> Result<Response, ServiceError> {
    let key = find_stream(&app, &caller.scope, &members)?.serving()?.folder();
    let numbers = members.required("Fragments", members.strings("Fragments", 1000)?)?;
    if numbers.is_empty() {
        return Err(members.invalid("Fragments", "must have at least one fragment number"));
    }
    for (index, number) in numbers.iter().enumerate() {
        if !(1..=128).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            let member = format!("Fragments[{index}]");
            return Err(members.invalid(&member, "must match [0-9]+ and be 1 to 128 characters long"));
        }
    }
    let mut fragments = Vec::new();
    for number in numbers {
        let found = app.archive.fragment(&key, number).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::ResourceNotFound,
                format!("Fragments: there is no fragment {number}."),
            )
        })?;
        fragments.push(found);
    }
    let archive: Arc<Archive> = app.archive.clone();
    let body = futures::stream::iter(fragments).then(move |info| {
        let (archive, key) = (archive.clone(), key.clone());
        async move { fragment_list_chunk(&archive, &key, &info).await }
    });
    Ok(matroska(body))
}
