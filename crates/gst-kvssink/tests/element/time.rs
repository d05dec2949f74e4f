//! Timecodes against the wall clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;

use super::{Feed, H264, Local, frame, now_ms, wait_for};

/// A live source of H.264 whose buffers carry the running time of their capture, as a camera's do.
struct Camera {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst::Element,
}

impl Camera {
    fn new(local: &Local) -> Self {
        let sink = local.sink();
        let source = gst_app::AppSrc::builder()
            .is_live(true)
            .format(gst::Format::Time)
            .caps(&H264.parse::<gst::Caps>().unwrap())
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([source.upcast_ref(), &sink]).unwrap();
        source.link_pads(Some("src"), &sink, Some("video_%u")).unwrap();
        Self { pipeline, source, sink }
    }

    /// Captures a key frame, and returns when that was.
    fn capture(&self) -> u64 {
        let running = self.pipeline.current_running_time().unwrap();
        let wall = now_ms();
        self.source.push_buffer(frame(running.mseconds(), true)).unwrap();
        wall
    }

    /// Until the running time is so many milliseconds.
    fn wait_until(&self, ms: u64) {
        wait_for("the time", || {
            (self.pipeline.current_running_time()? >= gst::ClockTime::from_mseconds(ms)).then_some(())
        });
    }

    fn set_state(&self, state: gst::State) {
        self.pipeline.set_state(state).unwrap();
        let (result, current, _) = self.pipeline.state(gst::ClockTime::from_seconds(10));
        result.unwrap();
        assert_eq!(current, state);
    }
}

#[test]
fn timecodes_are_the_time_of_capture_also_after_a_pause() {
    let local = Local::new();
    let camera = Camera::new(&local);
    camera.set_state(gst::State::Playing);
    let mut captured = Vec::new();
    for ms in [1000, 2500] {
        camera.wait_until(ms);
        captured.push(camera.capture());
    }
    camera.set_state(gst::State::Paused);
    // As long as it takes to tell the pause from what a busy machine does.
    std::thread::sleep(Duration::from_secs(2));
    camera.set_state(gst::State::Playing);
    for ms in [4000, 5500] {
        camera.wait_until(ms);
        captured.push(camera.capture());
    }
    camera.source.end_of_stream().unwrap();
    let bus = camera.pipeline.bus().unwrap();
    wait_for("the end of stream", || bus.pop_filtered(&[gst::MessageType::Eos]));
    camera.set_state(gst::State::Null);
    let stored: Vec<u64> = local.fragments().iter().map(|fragment| fragment.producer_ms).collect();
    assert_eq!(stored.len(), captured.len(), "{stored:?}");
    for (stored, captured) in stored.iter().zip(&captured) {
        assert!(stored.abs_diff(*captured) < 150, "{} ms off", stored.abs_diff(*captured));
    }
    assert!(stored[2] - stored[1] > 3000, "the pause shows");
    assert_eq!(camera.sink.current_state(), gst::State::Null);
}

/// Behind a tee another branch has the same buffers.
#[test]
fn buffers_are_left_as_they_are() {
    let local = Local::new();
    let sink = local.sink();
    let video = Feed::new(&sink, "video_%u");
    let seen = Arc::new(Mutex::new(Vec::new()));
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..5 {
        let buffer = frame(n * 1000, true);
        // A second owner: nobody may write any more.
        let copy = buffer.clone();
        video.pad.push(buffer).unwrap();
        seen.lock().unwrap().push((copy.pts(), copy.dts(), copy.flags(), copy.size()));
    }
    for ((pts, dts, flags, size), n) in seen.lock().unwrap().iter().zip(0..) {
        assert_eq!((*pts, *dts), (Some(gst::ClockTime::from_seconds(n)), None));
        assert_eq!((*flags, *size), (gst::BufferFlags::empty(), 6));
    }
    video.end();
    sink.set_state(gst::State::Null).unwrap();
    assert_eq!(local.fragments().len(), 5);
}

#[test]
fn frame_timecodes_off_takes_the_time_of_arrival() {
    let local = Local::new();
    let sink = local.sink();
    sink.set_property("frame-timecodes", false);
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    let before = now_ms();
    // Times of long ago, and all over the place.
    for ms in [9_000, 1_000, 5_000] {
        video.push(ms, true).unwrap();
    }
    let after = now_ms();
    video.end();
    sink.set_state(gst::State::Null).unwrap();
    let fragments = local.fragments();
    assert_eq!(fragments.iter().map(|fragment| fragment.video_frames).sum::<u64>(), 3);
    assert!((before..=after).contains(&fragments[0].producer_ms));
}

#[test]
fn original_times_are_those_of_the_buffers() {
    let local = Local::new();
    let sink = local.sink();
    sink.set_property("use-original-pts", true);
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..3 {
        video.push(1_600_000_000_000 + n * 1500, true).unwrap();
    }
    video.end();
    sink.set_state(gst::State::Null).unwrap();
    let times: Vec<u64> = local.fragments().iter().map(|fragment| fragment.producer_ms).collect();
    assert_eq!(times, [1_600_000_000_000, 1_600_000_001_500, 1_600_000_003_000]);
}
