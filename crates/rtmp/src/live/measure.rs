//! What the master sends, as it is measured.

use super::timeline::{MS, Nanos};
use crate::aac::AacConfig;
use crate::ivs::Observed;
use crate::media::VideoParameters;
use std::collections::VecDeque;
use std::sync::Arc;

/// So far back.
const WINDOW: Nanos = 10_000 * MS;
/// Less tells nothing of rates.
const ENOUGH: Nanos = 4_000 * MS;
/// Pictures in the window: 60 a second fit twice. When it is full the oldest go, and the window is shorter.
const MAX: usize = 1_200;

#[derive(Debug, Default)]
pub(super) struct Measure {
    /// Time, bytes, and whether it is a key frame.
    pictures: VecDeque<(Nanos, usize, bool)>,
    /// Time and bytes.
    sounds: VecDeque<(Nanos, usize)>,
    parameters: Option<Arc<VideoParameters>>,
    audio: Option<AacConfig>,
}

impl Measure {
    pub(super) fn picture(
        &mut self,
        time: Nanos,
        bytes: usize,
        idr: bool,
        parameters: &Arc<VideoParameters>,
    ) {
        self.pictures.push_back((time, bytes, idr));
        while self.pictures.len() > MAX
            || self.pictures.front().is_some_and(|(first, ..)| time - first > WINDOW)
        {
            self.pictures.pop_front();
        }
        if idr {
            self.parameters = Some(Arc::clone(parameters));
        }
    }

    pub(super) fn sound(&mut self, time: Nanos, bytes: usize, config: AacConfig) {
        self.sounds.push_back((time, bytes));
        while self.sounds.len() > MAX || self.sounds.front().is_some_and(|(first, _)| time - first > WINDOW) {
            self.sounds.pop_front();
        }
        self.audio = Some(config);
    }

    pub(super) fn observed(&self) -> Observed {
        let span = |first: Option<Nanos>, last: Option<Nanos>| {
            let span = last? - first?;
            (span >= ENOUGH).then_some(span as f64 / (1_000 * MS) as f64)
        };
        let video = span(self.pictures.front().map(|it| it.0), self.pictures.back().map(|it| it.0));
        let audio = span(self.sounds.front().map(|it| it.0), self.sounds.back().map(|it| it.0));
        let rate = |bytes: usize, span: Option<f64>| span.map(|span| bytes as f64 * 8.0 / span);
        let video_bits = rate(self.pictures.iter().map(|it| it.1).sum(), video);
        let audio_bits = rate(self.sounds.iter().map(|it| it.1).sum(), audio);
        let mut keys: Vec<Nanos> = self.pictures.iter().filter(|it| it.2).map(|it| it.0).collect();
        // What has passed since the last, too, and before the first of the window where there is one.
        keys.extend(self.pictures.back().map(|it| it.0));
        let interval = keys.windows(2).map(|pair| pair[1] - pair[0]).max();
        Observed {
            parameters: self.parameters.as_deref().cloned(),
            frames_per_second: video.map(|span| (self.pictures.len() - 1) as f64 / span),
            key_frame_seconds: video.and(interval).map(|interval| interval as f64 / (1_000 * MS) as f64),
            audio: self.audio,
            bits_per_second: video_bits.map(|bits| bits + audio_bits.unwrap_or(0.0)).or(audio_bits),
        }
    }
}
