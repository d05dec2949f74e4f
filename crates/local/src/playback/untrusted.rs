//! Whatever PutMedia has stored is a valid segment in each container, or an error with a name.

use proptest::prelude::*;

use super::media::{
    read,
    stored::{AAC, SPS, avcc, cluster, g711, header, hvcc, slice},
};
use super::mp4::{Clip, ClipTrack, init_segment, media_segment};
use super::ts;

type Block = (u8, i16, bool, Vec<u8>);

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let good = (any::<bool>(), 1..60_usize).prop_map(|(key, length)| slice(key, length));
    let frame = prop_oneof![8 => good, 1 => prop::collection::vec(any::<u8>(), 0..40)];
    prop::collection::vec((1..3_u8, any::<i16>(), any::<bool>(), frame), 0..40)
}

/// `CodecPrivate` as it should be, with a byte changed, or of nothing.
fn private(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (0..good.len(), any::<u8>(), Just(good.clone())).prop_map(|(at, byte, mut private)| {
        private[at] = byte;
        private
    });
    prop_oneof![4 => Just(good), 3 => changed, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

fn tracks() -> impl Strategy<Value = [(&'static str, Vec<u8>); 2]> {
    let video = prop_oneof![
        private(avcc(SPS)).prop_map(|private| ("V_MPEG4/ISO/AVC", private)),
        private(hvcc()).prop_map(|private| ("V_MPEGH/ISO/HEVC", private)),
    ];
    let audio = prop_oneof![
        private(AAC.to_vec()).prop_map(|private| ("A_AAC", private)),
        private(g711(6)).prop_map(|private| ("A_MS/ACM", private)),
    ];
    (video, audio).prop_map(|(video, audio)| [video, audio])
}

proptest! {
    #[test]
    fn every_fragment_is_segments_or_a_named_error(
        tracks in tracks(), blocks in blocks(), timecode in any::<u64>(), at in 0..=253_402_300_799_999_u64,
    ) {
        let header = header(&[(tracks[0].0, &tracks[0].1), (tracks[1].0, &tracks[1].1)]);
        let Ok(tracks) = read(&header, &cluster(timecode, &blocks), at) else { return Ok(()) };
        for track in &tracks {
            for pair in track.samples.windows(2) {
                prop_assert!(pair[0].decode < pair[1].decode);
                prop_assert_eq!(pair[0].decode + i64::from(pair[0].duration), pair[1].decode);
            }
            prop_assert!(track.samples.iter().all(|sample| sample.decode >= 0 && sample.duration > 0));
            let whole: usize = track.samples.iter().map(|sample| sample.data.len()).sum();
            prop_assert!(!init_segment(&track.config, 1).is_empty());
            prop_assert!(media_segment(&track.samples, 1, 1).len() > whole);
        }
        if let Ok(segment) = ts::segment(&tracks) {
            prop_assert_eq!(segment.len() % 188, 0);
        }
        let mut clip = Clip::new(tracks.iter().map(|track| ClipTrack::new(track.config.clone())).collect());
        // a second time, as a fragment that overlaps
        clip.push(&tracks);
        clip.push(&tracks);
        prop_assert_eq!(clip.size() as usize, 2 * Clip::content(&tracks).len());
        prop_assert!(!clip.head().is_empty());
    }
}
