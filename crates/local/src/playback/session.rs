//! [`Session`]: a streaming session, whose token is all that a player has to know.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    media::{self, Config, MediaError, TrackSamples},
    timeline::{DiscontinuityMode, Entry, Timeline},
};
use crate::{
    archive::{Archive, FragmentInfo, Selector, StoreError, TimestampKind},
    error::{ErrorKind, ServiceError},
    model::Stream,
};

/// A session plays on over so many changes of `CodecPrivate` (API reference of GetHLSStreamingSessionURL).
const MAX_CHANGES: usize = 500;
/// A live session needs a fragment of this age or younger (`ResourceNotFoundException` in the service model).
const LIVE_MS: u64 = 30_000;

/// `PlaybackMode` with the range that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// What comes in now.
    Live,
    /// From a time on at the pace of the media, up to another or to the end of the session.
    LiveReplay { from_ms: u64, to_ms: u64 },
    /// What is stored of a range.
    OnDemand { from_ms: u64, to_ms: u64 },
}

/// `ContainerFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    FragmentedMp4,
    MpegTs,
}

/// Which playlists the session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Hls {
        container: Container,
    },
    Dash {
        /// `DisplayFragmentNumber`.
        numbers: bool,
    },
}

/// What GetHLSStreamingSessionURL or GetDASHStreamingSessionURL asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) protocol: Protocol,
    pub(super) mode: Mode,
    pub(super) kind: TimestampKind,
    pub(super) discontinuities: DiscontinuityMode,
    /// `DisplayFragmentTimestamp`.
    pub(super) timestamps: bool,
    /// Fragments of a playlist.
    pub(super) most: usize,
    /// Seconds until the session ends.
    pub(super) expires_s: u64,
}

#[derive(Debug)]
struct State {
    timeline: Timeline,
    /// At most 501, each different from the one before it.
    configs: Vec<Result<Arc<Vec<Config>>, MediaError>>,
    /// The newest fragment that was looked at, by arrival.
    seen: Option<Arc<FragmentInfo>>,
    /// When LIVE_REPLAY shows its next fragment.
    due_ms: u64,
    /// The moment of the wall clock at which the presentation begins.
    zero_ms: u64,
}

/// A streaming session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) options: Options,
    pub(super) stream: Stream,
    pub(super) created_ms: u64,
    /// What the first fragment has: what the master playlist describes.
    pub(super) tracks: Arc<Vec<Config>>,
    state: Mutex<State>,
}

/// What a playlist is written from.
pub(super) struct View {
    pub(super) shown: Vec<Entry>,
    pub(super) longest_ms: u64,
    /// Nothing will follow.
    pub(super) complete: bool,
    /// The moment of the wall clock at which the presentation begins.
    pub(super) zero_ms: u64,
}

impl Session {
    /// Looks for the first fragments. Blocks on the disk.
    ///
    /// # Errors
    /// `ResourceNotFoundException` when there are none; what players cannot play.
    pub(super) fn open(
        archive: &Archive,
        stream: Stream,
        options: Options,
        now_ms: u64,
    ) -> Result<Self, ServiceError> {
        let key = stream.folder();
        let Options { kind, mode, most, .. } = options;
        let first = match mode {
            Mode::Live => {
                let newest = archive.newest(&key, kind, most);
                let fresh =
                    newest.last().is_some_and(|last| last.persisted_ms.saturating_add(LIVE_MS) >= now_ms);
                if fresh { newest } else { Vec::new() }
            }
            Mode::LiveReplay { from_ms, to_ms } | Mode::OnDemand { from_ms, to_ms } => {
                archive.selected(&key, Selector { kind, from_ms, to_ms }, None, most)
            }
        };
        let Some(newest) = first.last().cloned() else {
            let why = match mode {
                Mode::Live => "No fragments of the last 30 seconds are found in the stream.",
                _ => "No fragments are found in the stream for the streaming request.",
            };
            return Err(ServiceError::new(ErrorKind::ResourceNotFound, why));
        };
        let tracks = Arc::new(read_configs(archive, &key, &first[0])??);
        check_tracks(&tracks, options.protocol)?;
        let mut state = State {
            timeline: Timeline::new(kind, options.discontinuities, most),
            configs: Vec::new(),
            seen: Some(newest.clone()),
            due_ms: now_ms,
            zero_ms: 0,
        };
        for info in first {
            state.push(archive, &key, info, None)?;
        }
        let end = state.timeline.last().map_or(0, |last| last.at_ms() + last.info.duration_ms);
        let edge = if mode == Mode::Live { newest.persisted_ms } else { now_ms };
        state.zero_ms = edge.saturating_sub(end);
        state.due_ms = now_ms.saturating_add(newest.duration_ms);
        Ok(Self { options, stream, created_ms: now_ms, tracks, state: Mutex::new(state) })
    }

    /// When it ends, milliseconds since 1970.
    pub(super) fn until_ms(&self) -> u64 {
        self.created_ms + self.options.expires_s * 1_000
    }

    /// What is to be shown at this moment. Blocks on the disk.
    pub(super) fn view(&self, archive: &Archive, now_ms: u64) -> Result<View, ServiceError> {
        let mut state = self.state.lock();
        let key = self.stream.folder();
        let complete = match self.options.mode {
            Mode::OnDemand { .. } => true,
            Mode::Live => {
                state.follow(archive, &key)?;
                false
            }
            Mode::LiveReplay { from_ms, to_ms } => {
                let selector = Selector { kind: self.options.kind, from_ms, to_ms };
                state.replay(archive, &key, selector, now_ms)?
            }
        };
        Ok(View {
            shown: state.timeline.shown().cloned().collect(),
            longest_ms: state.timeline.longest_ms(),
            complete,
            zero_ms: state.zero_ms,
        })
    }

    /// The decoder configuration of this number.
    ///
    /// # Errors
    /// There is none, or it is one that the session cannot go on with.
    pub(super) fn config(&self, index: usize) -> Result<Arc<Vec<Config>>, ServiceError> {
        let config = self.state.lock().configs.get(index).cloned();
        let config = config.ok_or_else(|| {
            ServiceError::new(ErrorKind::ResourceNotFound, "The session has no such initialization.")
        })?;
        Ok(self.usable(config?)?)
    }

    /// What the fragment with this number holds. Blocks on the disk.
    ///
    /// # Errors
    /// It is not of the session, or gone; the session cannot go on with it; it is broken.
    pub(super) fn samples(
        &self,
        archive: &Archive,
        sequence: u64,
    ) -> Result<Vec<TrackSamples>, ServiceError> {
        let (entry, config) = {
            let state = self.state.lock();
            let entry = state.timeline.get(sequence).cloned().ok_or_else(|| {
                ServiceError::new(
                    ErrorKind::ResourceNotFound,
                    format!("Fragment {sequence} is not of this session, or no longer."),
                )
            })?;
            let config = state.configs[entry.config].clone();
            (entry, config)
        };
        config
            .and_then(|config| self.usable(config))
            .map_err(|error| error.of_fragment(&entry.info.number))?;
        read_samples(archive, &self.stream.folder(), &entry.info, entry.start_ms)
    }

    /// Whether the session, which began with other tracks, can go on with these.
    fn usable(&self, config: Arc<Vec<Config>>) -> Result<Arc<Vec<Config>>, MediaError> {
        let same = config.len() == self.tracks.len()
            && config.iter().zip(&*self.tracks).all(|(now, first)| now.same_codec(first));
        if !same {
            let names = |tracks: &[Config]| tracks.iter().map(Config::name).collect::<Vec<_>>().join(", ");
            return Err(MediaError::Unsupported(format!(
                "the tracks are not those that the session began with ({} instead of {}). Open another session.",
                names(&config),
                names(&self.tracks)
            )));
        }
        if matches!(self.options.protocol, Protocol::Dash { .. }) && config != self.tracks {
            return Err(MediaError::InvalidCodecPrivate(
                "the CodecPrivate is not that of the session's first fragment. Open another session."
                    .to_owned(),
            ));
        }
        Ok(config)
    }
}

impl State {
    /// Adds a fragment.
    fn push(
        &mut self,
        archive: &Archive,
        key: &str,
        info: Arc<FragmentInfo>,
        available_ms: Option<u64>,
    ) -> Result<(), ServiceError> {
        let config = match self.timeline.config_of(&info.header) {
            Some(config) => config,
            None => {
                let read = read_configs(archive, key, &info)?.map(Arc::new);
                match self.configs.iter().position(|known| *known == read) {
                    Some(known) => known,
                    None => {
                        let full = self.configs.len() > MAX_CHANGES;
                        let read = if full {
                            self.configs.pop();
                            Err(MediaError::InvalidCodecPrivate(format!(
                                "the CodecPrivate has changed more than {MAX_CHANGES} times in this session. Open another."
                            )))
                        } else {
                            read
                        };
                        self.configs.push(read);
                        self.configs.len() - 1
                    }
                }
            }
        };
        self.timeline.push(info, config, available_ms.map(|at| at.saturating_sub(self.zero_ms)));
        Ok(())
    }

    /// Adds what has come in, in the order of arrival. What is not newer than the newest is left out.
    fn follow(&mut self, archive: &Archive, key: &str) -> Result<(), ServiceError> {
        while let Some(info) = archive.next_after(key, self.seen.as_ref().map(|seen| seen.number.as_str())) {
            self.seen = Some(info.clone());
            let kind = self.timeline.kind();
            if self.timeline.last().is_none_or(|last| kind.of(&info) > last.start_ms) {
                let available = Some(info.persisted_ms);
                self.push(archive, key, info, available)?;
            }
        }
        Ok(())
    }

    /// Adds what is due. True when nothing more can come.
    fn replay(
        &mut self,
        archive: &Archive,
        key: &str,
        selector: Selector,
        now_ms: u64,
    ) -> Result<bool, ServiceError> {
        loop {
            let last = self.timeline.last().map(|last| last.info.clone());
            let next = archive.selected(key, selector, last.as_deref(), 1).pop();
            match next {
                None => return Ok(selector.to_ms < now_ms.saturating_sub(LIVE_MS)),
                Some(_) if now_ms < self.due_ms => return Ok(false),
                Some(info) => {
                    // One that came late is shown for its whole length before the next.
                    let late = now_ms.saturating_sub(self.due_ms) > info.duration_ms;
                    let since = if late { now_ms } else { self.due_ms };
                    self.due_ms = since.saturating_add(info.duration_ms);
                    self.push(archive, key, info, Some(now_ms))?;
                }
            }
        }
    }
}

/// Which tracks the operation plays ("Video playback track requirements" in the developer guide).
fn check_tracks(tracks: &[Config], protocol: Protocol) -> Result<(), MediaError> {
    let (operation, g711) = match protocol {
        Protocol::Hls { .. } => ("HLS", false),
        Protocol::Dash { .. } => ("MPEG-DASH", true),
    };
    let sound = |config: &Config| match config {
        Config::Audio(audio) => g711 || matches!(audio.codec, media::AudioCodec::Aac { .. }),
        Config::Video(_) => false,
    };
    let plays = match tracks {
        [Config::Video(_)] => true,
        [Config::Video(_), second] => sound(second),
        [only @ Config::Audio(audio)] => sound(only) && matches!(audio.codec, media::AudioCodec::Aac { .. }),
        _ => false,
    };
    if plays {
        return Ok(());
    }
    let names: Vec<_> = tracks.iter().map(Config::name).collect();
    let second = if g711 { "AAC or G.711" } else { "AAC" };
    Err(MediaError::Unsupported(format!(
        "The tracks of the first fragment are {}. {operation} takes H.264 or H.265 as track 1 and {second} as track 2 if there is \
         one, or AAC alone.",
        names.join(", ")
    )))
}

/// What the header of a fragment declares, or why it cannot be played.
pub(super) fn read_configs(
    archive: &Archive,
    key: &str,
    info: &FragmentInfo,
) -> Result<Result<Vec<Config>, MediaError>, ServiceError> {
    let header = archive.read_header(key, info).map_err(|error| not_read(&error))?;
    Ok(media::configs(&header).map_err(|error| error.of_fragment(&info.number)))
}

/// Reads a fragment whose time is `start_ms`. Blocks on the disk.
pub(super) fn read_samples(
    archive: &Archive,
    key: &str,
    info: &FragmentInfo,
    start_ms: u64,
) -> Result<Vec<TrackSamples>, ServiceError> {
    let (header, raw) = archive.read(key, info).map_err(|error| not_read(&error))?;
    Ok(media::read(&header, &raw, start_ms).map_err(|error| error.of_fragment(&info.number))?)
}

/// It may have been removed since it was found.
fn not_read(error: &StoreError) -> ServiceError {
    match error {
        StoreError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            ServiceError::new(
                ErrorKind::ResourceNotFound,
                "The fragment is no longer stored: its retention has ended, or its stream was deleted.",
            )
        }
        other => ServiceError::internal(other),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::media::stored::{SPS, avcc, cluster, header, slice};
    use super::*;
    use crate::index::Index;
    use crate::model::Fragment;

    fn archive(folder: &Path) -> Archive {
        let index = Arc::new(Index::open(&folder.join("index.redb")).unwrap());
        Archive::open(folder, index).unwrap().0
    }

    fn stream() -> Stream {
        Stream {
            arn: "arn:aws:kinesisvideo:us-east-1:000000000000:stream/door/1".to_owned(),
            name: "door".to_owned(),
            region: "us-east-1".to_owned(),
            device_name: None,
            media_type: None,
            kms_key_id: String::new(),
            retention_hours: 1,
            storage_tier: "HOT".to_owned(),
            version: String::new(),
            created_ms: 1,
            tags: std::collections::BTreeMap::new(),
            images: None,
            notifications: None,
            edge: None,
            transition: None,
        }
    }

    /// Stores a picture that is there for two seconds.
    fn store(archive: &Archive, producer_ms: u64) {
        let fragment = Fragment {
            timecode: producer_ms,
            timecode_ms: producer_ms,
            duration_ms: 2_000,
            header: header(&[("V_MPEG4/ISO/AVC", &avcc(SPS))]),
            raw: cluster(producer_ms, &[(1, 0, true, slice(true, 9))]),
            tags: Vec::new(),
            video_frames: 1,
            audio_frames: 0,
            tracks: Vec::new(),
            timecode_scale: 1_000_000,
        };
        let key = stream().folder();
        let number = archive.next_number(&key);
        archive.store(&key, &number, producer_ms, producer_ms, producer_ms, &fragment).unwrap();
    }

    fn options(mode: Mode) -> Options {
        Options {
            protocol: Protocol::Hls { container: Container::FragmentedMp4 },
            mode,
            kind: TimestampKind::Producer,
            discontinuities: DiscontinuityMode::OnDiscontinuity,
            timestamps: false,
            most: 2,
            expires_s: 300,
        }
    }

    /// First and last time that a playlist shows, and whether it has ended.
    fn shown(session: &Session, archive: &Archive, now_ms: u64) -> (u64, u64, bool) {
        let view = session.view(archive, now_ms).unwrap();
        let times: Vec<u64> = view.shown.iter().map(|entry| entry.start_ms).collect();
        (times[0], times[times.len() - 1], view.complete)
    }

    #[test]
    fn live_replay_goes_on_at_the_pace_of_the_media_and_ends_with_its_range() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path());
        [10_000, 12_000, 14_000, 16_000, 18_000].into_iter().for_each(|at| store(&archive, at));
        let mode = Mode::LiveReplay { from_ms: 11_000, to_ms: 17_000 };
        let now = 1_000_000;
        let session = Session::open(&archive, stream(), options(mode), now).unwrap();
        assert_eq!(shown(&session, &archive, now), (12_000, 14_000, false));
        assert_eq!(shown(&session, &archive, now + 1_999), (12_000, 14_000, false));
        assert_eq!(shown(&session, &archive, now + 2_000), (14_000, 16_000, true));
        assert_eq!(shown(&session, &archive, now + 60_000), (14_000, 16_000, true));
    }

    #[test]
    fn live_replay_waits_for_what_has_not_come_yet() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path());
        [10_000, 12_000].into_iter().for_each(|at| store(&archive, at));
        let mode = Mode::LiveReplay { from_ms: 10_000, to_ms: u64::MAX };
        let now = 20_000;
        let session = Session::open(&archive, stream(), options(mode), now).unwrap();
        assert_eq!(shown(&session, &archive, now + 30_000), (10_000, 12_000, false));
        [14_000, 16_000].into_iter().for_each(|at| store(&archive, at));
        assert_eq!(shown(&session, &archive, now + 31_000), (12_000, 14_000, false));
        assert_eq!(shown(&session, &archive, now + 32_999), (12_000, 14_000, false));
        assert_eq!(shown(&session, &archive, now + 33_000), (14_000, 16_000, false));
    }

    #[test]
    fn live_begins_with_media_of_the_last_half_minute_alone() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(folder.path());
        store(&archive, 10_000);
        let persisted = archive.newest(&stream().folder(), TimestampKind::Producer, 1)[0].persisted_ms;
        let open = |now| Session::open(&archive, stream(), options(Mode::Live), now);
        assert_eq!(open(persisted + 30_001).unwrap_err().kind, ErrorKind::ResourceNotFound);
        let session = open(persisted + 30_000).unwrap();
        let view = session.view(&archive, persisted + 30_000).unwrap();
        assert_eq!(view.zero_ms, persisted - 2_000, "its last moment is there when it was persisted");
    }
}
