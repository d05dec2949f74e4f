//! Fragments as bodies: a playable file, and the chunks of GetMedia.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::Stream;

use super::{Archive, FragmentInfo};
use crate::mkv;

/// Runs of fragments that share a header.
#[must_use]
pub fn parts(fragments: &[Arc<FragmentInfo>]) -> Vec<Vec<Arc<FragmentInfo>>> {
    fragments.chunk_by(|a, b| a.header == b.header).map(<[_]>::to_vec).collect()
}

async fn read(archive: &Arc<Archive>, stream: &str, info: &Arc<FragmentInfo>) -> io::Result<(Bytes, Bytes)> {
    let (archive, stream, info) = (archive.clone(), stream.to_owned(), info.clone());
    tokio::task::spawn_blocking(move || archive.read(&stream, &info))
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)
}

/// One Matroska document: the header once, then every fragment as it came.
pub fn part_body(
    archive: Arc<Archive>,
    stream: String,
    fragments: Vec<Arc<FragmentInfo>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let start = (archive, stream, fragments.into_iter(), true);
    futures::stream::try_unfold(start, |(archive, stream, mut rest, first)| async move {
        let Some(info) = rest.next() else { return Ok(None) };
        let (header, raw) = read(&archive, &stream, &info).await?;
        let bytes = if first { Bytes::from([header, raw].concat()) } else { raw };
        Ok(Some((bytes, (archive, stream, rest, false))))
    })
}

/// Seconds with milliseconds, as the service's tags write times.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// One fragment as GetMedia sends it: a document of its own, between tags of the service.
///
/// # Errors
/// The disk.
pub async fn get_media_chunk(
    archive: &Arc<Archive>,
    stream: &str,
    info: &Arc<FragmentInfo>,
    now_ms: u64,
) -> io::Result<Bytes> {
    let (header, raw) = read(archive, stream, info).await?;
    let mut out = BytesMut::from(&header[..]);
    out.extend_from_slice(&mkv::tags(&[
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", &info.number),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", &seconds(info.server_ms)),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", &seconds(info.producer_ms)),
    ]));
    out.extend_from_slice(&raw);
    out.extend_from_slice(&mkv::tags(&[
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", &now_ms.saturating_sub(info.end_ms()).to_string()),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", &info.number),
    ]));
    Ok(out.freeze())
}

/// One fragment as GetMediaForFragmentList sends it, whose tags have other names.
///
/// # Errors
/// The disk.
pub async fn fragment_list_chunk(
    archive: &Arc<Archive>,
    stream: &str,
    info: &Arc<FragmentInfo>,
) -> io::Result<Bytes> {
    let (header, raw) = read(archive, stream, info).await?;
    let mut out = BytesMut::from(&header[..]);
    out.extend_from_slice(&mkv::tags(&[
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", &info.number),
        ("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", &seconds(info.server_ms)),
        ("AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP", &seconds(info.producer_ms)),
    ]));
    out.extend_from_slice(&raw);
    Ok(out.freeze())
}
