//! GetClip: a range of a stream as one MP4 file. What it holds is read twice, first for the tables that stand in front of it, so
//! that no more than one fragment is in memory.

use std::{io, sync::Arc};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures::StreamExt;

use super::{
    media::{AudioCodec, Config, MediaError},
    mp4::{Clip, ClipTrack},
    request,
    respond::{answer, blocking},
    session::{read_configs, read_samples},
    timeline::GAP_MS,
};
use crate::{
    App,
    archive::{Archive, FragmentInfo, Selector},
    auth::Signed,
    error::{ErrorKind, ServiceError},
};

/// "The first 100 MB or the first 200 fragments from the specified start timestamp", says the API reference.
const FRAGMENTS: usize = 200;
const BYTES: u64 = 100_000_000;

/// What follows the head: each fragment with its time.
type Rest = Vec<(Arc<FragmentInfo>, u64)>;

/// Reads what the head has to say of the clip.
fn prepare(archive: &Archive, key: &str, selector: Selector) -> Result<(Bytes, Rest), ServiceError> {
    let fragments = archive.selected(key, selector, None, FRAGMENTS);
    let Some(first) = fragments.first() else {
        return Err(ServiceError::new(
            ErrorKind::ResourceNotFound,
            "No fragments are found in the stream for the clip's range.",
        ));
    };
    let tracks = read_configs(archive, key, first)??;
    check_tracks(&tracks)?;
    let mut clip = Clip::new(tracks.into_iter().map(ClipTrack::new).collect());
    let (mut rest, mut header, mut end_ms) = (Rest::new(), first.header.clone(), 0);
    for info in fragments {
        if clip.size() + info.size > BYTES && !rest.is_empty() {
            break;
        }
        if info.header != header {
            let now = read_configs(archive, key, &info)??;
            check_change(clip.tracks(), &now).map_err(|error| error.of_fragment(&info.number))?;
            header = info.header.clone();
        }
        // What was sent in a burst overlaps by the server's clock: it follows what precedes it then. (Sound reaches over the end
        // of the pictures into the next fragment, which is no overlap.)
        let at_ms = selector.kind.of(&info);
        let start_ms = if at_ms + GAP_MS < end_ms { end_ms } else { at_ms };
        end_ms = start_ms.saturating_add(info.duration_ms);
        clip.push(&read_samples(archive, key, &info, start_ms)?);
        rest.push((info, start_ms));
    }
    Ok((clip.head(), rest))
}

/// "Video playback track requirements" of the developer guide: with µ-law there are no clips, and none of sound alone.
fn check_tracks(tracks: &[Config]) -> Result<(), MediaError> {
    let second = |config: &Config| match config {
        Config::Audio(audio) => !matches!(audio.codec, AudioCodec::Ulaw),
        Config::Video(_) => false,
    };
    match tracks {
        [Config::Video(_)] => Ok(()),
        [Config::Video(_), config] if second(config) => Ok(()),
        _ => Err(MediaError::Unsupported(format!(
            "The tracks of the first fragment are {}. GetClip takes H.264 or H.265 as track 1, and AAC or G.711 A-law as track 2 \
             if there is one.",
            tracks.iter().map(Config::name).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The same page: "CPD changes aren't supported between the target fragments of the resulting clip", and no track changes.
fn check_change(tracks: &[ClipTrack], now: &[Config]) -> Result<(), MediaError> {
    let pairs = || tracks.iter().map(ClipTrack::config).zip(now);
    if tracks.len() != now.len() || pairs().any(|(first, now)| !first.same_codec(now)) {
        return Err(MediaError::Unsupported(
            "the tracks change within the clip. Ask for ranges on either side of the change.".to_owned(),
        ));
    }
    if pairs().any(|(first, now)| first != now) {
        return Err(MediaError::InvalidCodecPrivate(
            "the CodecPrivate (such as the resolution) changes within the clip. Ask for ranges on either side of the change."
                .to_owned(),
        ));
    }
    Ok(())
}

/// GetClip.
pub(super) async fn get_clip(
    State(app): State<Arc<App>>,
    Signed { caller, members }: Signed,
) -> Result<Response, ServiceError> {
    let (kind, from_ms, to_ms) = request::clip_selector(&members)?;
    let key = request::kept_stream(&app, &caller, &members)?.folder();
    let selector = Selector { kind, from_ms, to_ms };
    let (head, rest) = {
        let _turn = app.playback.turn().await?;
        let (archive, key) = (app.archive.clone(), key.clone());
        blocking(move || prepare(&archive, &key, selector)).await?
    };
    let content = futures::stream::iter(rest).then(move |(info, start_ms)| {
        let (app, key) = (app.clone(), key.clone());
        async move {
            let _turn = app.playback.turn().await?;
            let archive = app.archive.clone();
            let read = move || Ok(Clip::content(&read_samples(&archive, &key, &info, start_ms)?));
            blocking(read).await
        }
    });
    // One that is removed meanwhile cuts the answer: its length was not told, so the caller sees that it is not whole.
    let body =
        futures::stream::once(async { Ok(head) }).chain(content).map(|part| part.map_err(io::Error::other));
    Ok(answer("video/mp4", false, Body::from_stream(body)))
}
