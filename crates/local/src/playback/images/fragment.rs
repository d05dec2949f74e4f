//! [`pictures_of_fragment`]: pictures of one stored fragment.

use std::sync::Arc;

use bytes::Bytes;

use super::decoder::Decoder;
use crate::{
    App,
    archive::{FragmentInfo, TimestampKind},
    error::ServiceError,
    playback::{
        media::{Config, Sample},
        mp4,
        respond::blocking,
        session::read_samples,
    },
};

/// The pictures of a fragment at these times, by the clock of this kind and rising, each of which may have failed.
///
/// # Errors
/// Nothing can be decoded here.
pub(crate) async fn pictures_of_fragment(
    app: &Arc<App>,
    key: &str,
    (info, kind): (&Arc<FragmentInfo>, TimestampKind),
    times_ms: &[u64],
    decoder: &Decoder,
) -> Result<Vec<Result<Bytes, &'static str>>, ServiceError> {
    let _turn = app.playback.decoder().await?;
    let start_ms = kind.of(info);
    let (archive, owned_key, owned_info) = (app.archive.clone(), key.to_owned(), info.clone());
    let times: Vec<u64> = times_ms.iter().map(|time| time - start_ms.min(*time)).collect();
    let read = blocking(move || {
        // From the fragment's own start, so that times are small.
        let tracks = read_samples(&archive, &owned_key, &owned_info, 0)?;
        Ok(tracks.into_iter().find_map(|track| match &track.config {
            Config::Video(_) => Some(file(&track.config, &track.samples, &times)),
            Config::Audio(_) => None,
        }))
    });
    let failed = || Ok(vec![Err("MEDIA_ERROR"); times_ms.len()]);
    let (mp4, shown) = match read.await {
        Ok(Some(read)) => read,
        Ok(None) => return failed(),
        Err(error) => {
            tracing::warn!(fragment = info.number, %error, "no images of a fragment");
            return failed();
        }
    };
    let mut distinct = shown.clone();
    distinct.dedup();
    let pictures = decoder.decode(mp4, &distinct).await?;
    // With fewer pictures than times nobody knows which are missing.
    if pictures.len() != distinct.len() {
        return failed();
    }
    let at = |time: &i64| distinct.binary_search(time).ok().and_then(|index| pictures.get(index).cloned());
    Ok(shown.iter().map(|time| at(time).ok_or("MEDIA_ERROR")).collect())
}

/// A fragment as a file from time 0 on, and for each of the times, in milliseconds from its start and rising, when the picture
/// is shown that is seen then.
fn file(config: &Config, samples: &[Sample], times_ms: &[u64]) -> (Bytes, Vec<i64>) {
    let shown = |sample: &Sample| sample.decode + i64::from(sample.offset);
    // Decoding begins before anything is shown where the first picture has others before it.
    let first = samples.first().map_or(0, |sample| sample.decode);
    let mut moved: Vec<Sample> =
        samples.iter().map(|sample| Sample { decode: sample.decode - first, ..sample.clone() }).collect();
    // A picture is asked for by its time. Of two with the same one each is shown: the one that comes second a 90,000th later.
    let mut order: Vec<usize> = (0..moved.len()).collect();
    order.sort_by_key(|index| shown(&moved[*index]));
    let mut all: Vec<i64> = Vec::with_capacity(moved.len());
    for index in order {
        let sample = &mut moved[index];
        let at = all.last().map_or(i64::MIN, |last| last + 1).max(shown(sample));
        sample.offset = i32::try_from(at - sample.decode).unwrap_or(sample.offset);
        all.push(at);
    }
    let seen = |time: &u64| {
        let ticks = i64::try_from(time.saturating_mul(90)).unwrap_or(i64::MAX).saturating_sub(first);
        let begun = all.partition_point(|shown| *shown <= ticks);
        all.get(begun.saturating_sub(1)).copied().unwrap_or(0)
    };
    let times = times_ms.iter().map(seen).collect();
    let file = [mp4::init_segment(config, 1), mp4::media_segment(&moved, 1, 1)].concat();
    (file.into(), times)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::playback::media::{
        configs,
        stored::{SPS, avcc, header, slice},
    };

    proptest! {
        /// Whatever times pictures have, no two of the file are shown at once, and each that is asked for is one of them.
        #[test]
        fn each_picture_has_a_time_of_its_own(
            frames in prop::collection::vec(0..6_i64, 1..30), times_ms in prop::collection::vec(0..3_u64, 1..5),
        ) {
            let config = configs(&header(&[("V_MPEG4/ISO/AVC", &avcc(SPS))])).unwrap().remove(0);
            let samples: Vec<Sample> = (0..).zip(&frames).map(|(place, ahead)| Sample {
                decode: 1_000 + place,
                duration: 1,
                offset: i32::try_from(*ahead).unwrap(),
                sync: place == 0,
                data: slice(place == 0, 9).into(),
            }).collect();
            let (mp4, seen) = file(&config, &samples, &times_ms);
            let shown = shown_in(&mp4, samples.len());
            let mut distinct = shown.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), samples.len(), "{:?}", shown);
            prop_assert!(seen.iter().all(|time| shown.contains(time)), "{:?} {:?}", seen, shown);
        }
    }

    /// When the samples of a file's one fragment are shown, read by another library.
    fn shown_in(mp4: &[u8], count: usize) -> Vec<i64> {
        use mp4_atom::{Any, DecodeMaybe};
        let mut cursor = std::io::Cursor::new(mp4);
        while let Some(atom) = Any::decode_maybe(&mut cursor).unwrap() {
            let Any::Moof(moof) = atom else { continue };
            let traf = &moof.traf[0];
            let mut at = i64::try_from(traf.tfdt.as_ref().unwrap().base_media_decode_time).unwrap();
            let entries = traf.trun.iter().flat_map(|trun| &trun.entries);
            let shown: Vec<i64> = entries
                .map(|entry| {
                    let shown = at + i64::from(entry.cts.unwrap_or(0));
                    at += i64::from(entry.duration.unwrap_or(0));
                    shown
                })
                .collect();
            assert_eq!(shown.len(), count);
            return shown;
        }
        panic!("no fragment");
    }
}
