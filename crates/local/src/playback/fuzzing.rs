//! What players are given of any header and fragment, for a fuzzer.

use super::{
    media,
    mp4::{Clip, ClipTrack, init_segment, media_segment},
    ts,
};

/// Writes what was stored in each container. PutMedia looks into no frame, so all of it may be anything.
pub fn players(header: &[u8], fragment: &[u8], at_ms: u64) {
    let Ok(tracks) = media::read(header, fragment, at_ms) else { return };
    for track in &tracks {
        assert!(!init_segment(&track.config, 1).is_empty());
        assert!(!media_segment(&track.samples, 1, 1).is_empty());
    }
    if let Ok(segment) = ts::segment(&tracks) {
        assert_eq!(segment.len() % 188, 0);
    }
    let mut clip = Clip::new(tracks.iter().map(|track| ClipTrack::new(track.config.clone())).collect());
    clip.push(&tracks);
    assert_eq!(clip.size(), Clip::content(&tracks).len() as u64);
    assert!(!clip.head().is_empty());
}
