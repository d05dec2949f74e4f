//! What comes in through the pads: buffers and events.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gst::prelude::*;
use gst::subclass::prelude::*;
use kvs_putmedia::{Frame, MediaTime, TrackFormat, TrackKind, is_random_access};

use super::category::CAT;
use super::element::{Imp, KvsSink};
use super::hevc::ByteStream;
use super::rounds::Stamp;
use super::shared::{Shared, Stage};
use super::timeline::{Now, Source};
use super::track::{Track, index, kind_of};
use super::{caps, metadata, statistics};

/// A live buffer may come this much later than upstream says that it does.
const LIVE_MARGIN: gst::ClockTime = gst::ClockTime::SECOND;
/// More is no latency.
const MOST_LATENCY: gst::ClockTime = gst::ClockTime::from_seconds(3600);

/// Two readings of the clock that are no further apart are one.
const SAME_MOMENT: Duration = Duration::from_micros(200);
/// How often that is tried.
const TRIES: usize = 5;

impl Imp {
    pub(super) fn event(&self, kind: TrackKind, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Caps(event) => return self.set_caps(kind, event.caps()),
            // A stream that begins where one had ended.
            gst::EventView::StreamStart(_) => self.begin(kind),
            gst::EventView::FlushStart(_) => {
                self.tracks[index(kind)].lock().flushing = true;
                if let Some(shared) = self.shared() {
                    shared.notify_progress();
                }
            }
            gst::EventView::FlushStop(_) => {
                if let Some(shared) = self.shared() {
                    shared.lock().producer.flush(Instant::now());
                    shared.wake();
                }
                self.timeline.lock().restart();
                self.begin(kind);
            }
            gst::EventView::Eos(event) => {
                self.end_of_stream(kind, event.seqnum());
                return true;
            }
            gst::EventView::CustomDownstream(event) => return self.custom_event(event),
            gst::EventView::Gap(event) => {
                if kind == TrackKind::Video && event.gap_flags().contains(gst::GapFlags::DATA) {
                    self.missing(pad);
                }
                return true;
            }
            // Sinks keep their events to themselves.
            gst::EventView::Tag(_) => return true,
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    /// Frames of this track are expected, from now on.
    fn begin(&self, kind: TrackKind) {
        self.tracks[index(kind)].lock().begin();
        self.ask_latency.store(true, Ordering::Relaxed);
        self.beginnings.fetch_add(1, Ordering::Relaxed);
        if let Some(shared) = self.shared() {
            let mut inner = shared.lock();
            inner.begin();
            inner.producer.add_track(kind);
        }
    }

    fn custom_event(&self, event: &gst::event::CustomDownstream) -> bool {
        let Some(structure) = event.structure() else { return true };
        let Some(parsed) = metadata::parse(structure) else { return true };
        let Some(shared) = self.shared() else { return false };
        let result = parsed.and_then(|metadata| metadata.put(&mut shared.lock().producer));
        if let Err(message) = &result {
            gst::warning!(CAT, imp = self, "{message}: {structure}");
        }
        result.is_ok()
    }

    pub(super) fn set_caps(&self, kind: TrackKind, caps: &gst::CapsRef) -> bool {
        let byte_stream = caps::is_byte_stream(caps);
        self.tracks[index(kind)].lock().byte_stream =
            byte_stream.then(|| (caps.to_owned(), ByteStream::default()));
        byte_stream || self.set_format(kind, caps, caps::format(caps, &self.track_name()))
    }

    pub(super) fn track_name(&self) -> String {
        self.properties.lock().track_name.clone().unwrap_or_default()
    }

    pub(super) fn set_format(
        &self,
        kind: TrackKind,
        caps: &gst::CapsRef,
        format: Result<TrackFormat, String>,
    ) -> bool {
        let framerate = self.properties.lock().framerate;
        let format = match format {
            Ok(format) => format,
            Err(message) => {
                gst::element_imp_error!(self, gst::StreamError::Format, ["{message}"]);
                return false;
            }
        };
        self.tracks[index(kind)].lock().set_format(format.clone(), caps::frame_duration(caps, framerate));
        if let Some(shared) = self.shared() {
            let mut inner = shared.lock();
            inner.producer.set_format(format);
            let formats = TrackKind::ALL.map(|kind| inner.producer.format(kind).map(|format| format.codec));
            drop(inner);
            // As in the C++ element: what the caps say is what the properties say.
            let mut properties = self.properties.lock();
            if let Some(first) = formats.iter().flatten().next() {
                properties.codec_id = Some(first.codec_id().to_owned());
            }
            let types: Vec<_> = formats.iter().flatten().map(|codec| codec.media_type()).collect();
            properties.content_type = Some(types.join(","));
        }
        true
    }

    /// The track has ended. Posts EOS when all pads have it, as soon as everything is acknowledged.
    fn end_of_stream(&self, kind: TrackKind, seqnum: gst::Seqnum) {
        self.byte_stream_ended(kind);
        let Some(shared) = self.shared() else { return };
        self.tracks[index(kind)].lock().ended = true;
        shared.lock().producer.end_track(kind, Instant::now());
        shared.wake();
        self.finish_if_ended(&shared, Some(seqnum));
    }

    /// Posts EOS if every pad has it, as soon as everything is acknowledged.
    pub(super) fn finish_if_ended(&self, shared: &Arc<Shared>, seqnum: Option<gst::Seqnum>) {
        let pads = self.obj().sink_pads();
        let ended = |pad: &gst::Pad| self.tracks[index(kind_of(&pad.name()))].lock().ended;
        if pads.is_empty() || !pads.iter().all(ended) {
            return;
        }
        shared.lock().end();
        shared.wake();
        let Ok(runtime) = self.runtime() else { return };
        let patience = self.stop_timeout();
        let (weak, shared) = (self.obj().downgrade(), shared.clone());
        let beginnings = self.beginnings.load(Ordering::Relaxed);
        let finish = {
            let shared = shared.clone();
            move |drained: bool| {
                let unchanged = |sink: &KvsSink| sink.imp().beginnings.load(Ordering::Relaxed) == beginnings;
                let Some(sink) = weak.upgrade().filter(unchanged) else { return };
                let lost = if drained { None } else { sink.imp().give_up(&shared) };
                // Who only reads the bus has no other way to the figures.
                sink.imp().post(statistics::structure(&sink.imp().statistics()));
                if let Some(lost) = lost {
                    gst::element_error!(sink, gst::ResourceError::Write, ["{lost}"]);
                }
                let message = gst::message::Eos::builder().src(&sink);
                let message = match seqnum {
                    Some(seqnum) => message.seqnum(seqnum).build(),
                    None => message.build(),
                };
                let _ = sink.post_message(message);
            }
        };
        // Not on the streaming thread: it must stay free for a state change. Nor on the upload's, which a state change made
        // by whoever hears of the end would wait for.
        runtime.spawn(async move {
            let drained = shared.drained(patience).await;
            if !shared.is_over() {
                let _ = tokio::task::spawn_blocking(move || finish(drained)).await;
            }
        });
    }

    pub(super) fn chain(
        &self,
        kind: TrackKind,
        pad: &gst::Pad,
        buffer: &gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let shared = self.shared().ok_or(gst::FlowError::Flushing)?;
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
        if self.is_skipped(kind, buffer, segment) {
            return Ok(gst::FlowSuccess::Ok);
        }
        let data = {
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            Bytes::copy_from_slice(&map)
        };
        let data = self.convert(kind, data)?;
        if self.ask_latency.swap(false, Ordering::Relaxed) {
            self.latency(&shared);
        }
        let bytes = data.len();
        let nal = self.tracks[index(kind)].lock().nal();
        let random_access = nal.is_none_or(|(codec, length)| is_random_access(codec, length, &data));
        if kind == TrackKind::Video {
            self.watch(pad, &shared, random_access, buffer.flags());
        }
        let time = {
            let mut track = self.tracks[index(kind)].lock();
            let duration = track.duration(bytes, buffer.duration().map(Duration::from));
            let time = self.time(kind, buffer, segment, (random_access, duration), &track);
            track.record(time, duration);
            time
        };
        let frame = Frame { track: kind, time, random_access, data };
        // Only in offline mode is there ever no room: elsewhere the oldest fragment makes it.
        let flushing = || self.tracks[index(kind)].lock().flushing;
        let time = shared.push(frame, flushing)?;
        shared.arrived(bytes, random_access && kind == TrackKind::Video);
        // At key frames of video; of audio alone, which has nothing else, every second.
        let every_second = kind == TrackKind::Audio && self.obj().static_pad("video_0").is_none();
        let due = match self.metrics.lock().since_last(Instant::now()) {
            Some(ago) if every_second => ago >= Duration::from_secs(1),
            Some(_) => random_access && kind == TrackKind::Video,
            None => true,
        };
        if due {
            self.measure(&shared, time);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// What is not stored: broken data, what lies behind the segment's end, and audio that is not to be heard. Video
    /// before the segment's begin is stored, because what follows is decoded from it.
    fn is_skipped(
        &self,
        kind: TrackKind,
        buffer: &gst::BufferRef,
        segment: Option<&gst::FormattedSegment<gst::ClockTime>>,
    ) -> bool {
        let flags = buffer.flags();
        let unheard = kind == TrackKind::Audio && flags.contains(gst::BufferFlags::DECODE_ONLY);
        if flags.contains(gst::BufferFlags::CORRUPTED) || unheard || buffer.size() == 0 {
            gst::debug!(CAT, imp = self, "skipping a buffer that is not to be shown: {buffer:?}");
            return true;
        }
        let stop = segment.and_then(gst::FormattedSegment::stop);
        let behind = stop.zip(buffer.pts()).is_some_and(|(stop, pts)| pts >= stop);
        if behind && !self.properties.lock().disable_buffer_clipping {
            gst::debug!(CAT, imp = self, "skipping a buffer behind the segment's end: {buffer:?}");
            return true;
        }
        false
    }

    /// When a buffer was captured. What has no time comes when the last one ended.
    fn time(
        &self,
        kind: TrackKind,
        buffer: &gst::BufferRef,
        segment: Option<&gst::FormattedSegment<gst::ClockTime>>,
        (key, duration): (bool, Duration),
        track: &Track,
    ) -> MediaTime {
        let mut timeline = self.timeline.lock();
        // The time of presentation: that is what a block's is.
        let stamp = buffer.pts().or(buffer.dts());
        let raw = timeline.source() == Source::Original && self.properties.lock().disable_buffer_clipping;
        let stamp = stamp.map(|time| {
            // As in the C++ element, which clips to running time unless it is told not to.
            if raw { i128::from(time.nseconds()) } else { running_time(segment, time) }
        });
        let (wall, clock, exact) = self.clocks(timeline.is_fresh());
        match (stamp, track.next_time(), timeline.source()) {
            (None, Some(next), _) => next,
            (None, None, Source::Original) => wall,
            (stamp, _, source) => {
                let running = clock.filter(|_| self.obj().current_state() == gst::State::Playing);
                let unstamped = if source == Source::WallClock { running } else { None };
                let stamp = Stamp {
                    track: index(kind),
                    running: stamp.or(unstamped).unwrap_or(0),
                    key: key || kind == TrackKind::Audio,
                    duration: i128::try_from(duration.as_nanos()).unwrap_or(0),
                };
                timeline.place(stamp, Now { wall, running, exact, live_latency: track.live_latency })
            }
        }
    }

    /// The wall clock and the pipeline's running time of the same moment, which is not known if that cannot be had:
    /// where the thread is put aside between the two readings, they would look like drift. Unless it is `needed`; then this
    /// says at last whether it is exact.
    fn clocks(&self, needed: bool) -> (MediaTime, Option<i128>, bool) {
        for _ in 0..TRIES {
            let before = self.clock.lock().now();
            let running = self.obj().current_running_time().map(|time| i128::from(time.nseconds()));
            let wall = self.clock.lock().now();
            if wall.since(before) < SAME_MOMENT {
                return (wall, running, true);
            }
        }
        let running = self.obj().current_running_time().filter(|_| needed);
        (self.clock.lock().now(), running.map(|time| i128::from(time.nseconds())), false)
    }

    /// Asks upstream how late its buffers may come: the tracks wait for each other so long.
    fn latency(&self, shared: &Shared) {
        let mut latest = gst::ClockTime::ZERO;
        for pad in self.obj().sink_pads() {
            let mut query = gst::query::Latency::new();
            // Without a lock, since upstream may take its time.
            if !pad.peer_query(&mut query) {
                continue;
            }
            // Not `result()`, which panics where upstream answers that it does not know.
            let structure = query.structure();
            let live = structure.is_some_and(|answer| answer.get::<bool>("live").unwrap_or(false));
            let least = structure.and_then(|answer| answer.get::<u64>("min-latency").ok());
            let latency = least.filter(|nanos| *nanos != u64::MAX).map_or(gst::ClockTime::ZERO, |nanos| {
                gst::ClockTime::from_nseconds(nanos.min(MOST_LATENCY.nseconds()))
            });
            latest = latest.max(latency);
            let late = live.then(|| i128::from((latency + LIVE_MARGIN).nseconds()));
            self.tracks[index(kind_of(&pad.name()))].lock().live_latency = late;
        }
        gst::debug!(CAT, imp = self, "upstream's latency is {latest}");
        shared.lock().producer.set_latency(latest.into());
    }

    /// Looks at a frame of video for what was lost before it, and for a key frame that is wanted.
    fn watch(&self, pad: &gst::Pad, shared: &Shared, key: bool, flags: gst::BufferFlags) {
        let wanted = self.key_wanted.swap(false, Ordering::Relaxed);
        let ask = {
            let mut track = self.tracks[index(TrackKind::Video)].lock();
            let lost = track.has_lost(key, flags.contains(gst::BufferFlags::DISCONT));
            if lost {
                gst::info!(CAT, imp = self, "video was lost: it goes on with the next key frame");
                shared.lock().producer.await_key();
            }
            if key {
                track.key_arrived();
            }
            !key && (lost || wanted || track.awaits_key()) && track.should_ask(Instant::now())
        };
        if ask {
            force_key_unit(pad);
        }
    }

    /// Upstream knows that video is missing.
    fn missing(&self, pad: &gst::Pad) {
        let ask = {
            let mut track = self.tracks[index(TrackKind::Video)].lock();
            // Before the first frame nothing was there that anything could refer to.
            let begun = track.next_time().is_some();
            track.missing |= begun;
            begun && track.should_ask(Instant::now())
        };
        if ask {
            force_key_unit(pad);
        }
    }
}

/// Asks upstream for a key frame, as soon as it can: the event of `gst_video_event_new_upstream_force_key_unit`.
fn force_key_unit(pad: &gst::Pad) {
    let structure = gst::Structure::builder("GstForceKeyUnit")
        .field("running-time", gst::ClockTime::NONE)
        .field("all-headers", true)
        .field("count", 0_u32)
        .build();
    let _ = pad.push_event(gst::event::CustomUpstream::new(structure));
}

/// Running time, negative before the segment's begin.
fn running_time(segment: Option<&gst::FormattedSegment<gst::ClockTime>>, time: gst::ClockTime) -> i128 {
    let running = segment.and_then(|segment| segment.to_running_time_full(time));
    match running {
        Some(gst::Signed::Positive(time)) => i128::from(time.nseconds()),
        Some(gst::Signed::Negative(time)) => -i128::from(time.nseconds()),
        None => i128::from(time.nseconds()),
    }
}

impl Shared {
    /// Hands a frame to the producer, when it has room. Returns its time by AWS's clock, if that tells it.
    fn push(&self, mut frame: Frame, flushing: impl Fn() -> bool) -> Result<MediaTime, gst::FlowError> {
        let mut inner = self.lock();
        loop {
            match inner.stage {
                Stage::Stopping { .. } | Stage::Over => return Err(gst::FlowError::Flushing),
                _ if flushing() => return Err(gst::FlowError::Flushing),
                Stage::Failed => return Err(gst::FlowError::Error),
                Stage::Recording | Stage::Ended(_) => {}
            }
            if !inner.waits || inner.producer.has_room() {
                break;
            }
            self.wait(&mut inner);
        }
        let time = frame.time.shifted(inner.skew_ms());
        frame.time = time;
        inner.producer.push_frame(frame, Instant::now());
        Ok(time)
    }
}
