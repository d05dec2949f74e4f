//! Pads, ends, flushes and state changes in any order.

use std::sync::mpsc;
use std::time::Duration;

use gst::prelude::*;
use kvs_local::faults::{Call, Fault, Order};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{ALAW, Feed, H264, Local, wait_for};

/// Runs `work` on a thread of its own, and fails when it hangs.
fn within<T: Send + 'static>(limit: Duration, what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it sent nothing"))
        }
    }
}

/// One of everything that can happen to an element.
fn shake(seed: u64, sink: &gst::Element) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut feeds: Vec<Feed> = Vec::new();
    let mut clock = 0;
    for _ in 0..80 {
        match random.random_range(0..20) {
            0 | 1 => {
                let (template, caps) = if random.random() { ("video_%u", H264) } else { ("audio_%u", ALAW) };
                if !feeds.iter().any(|feed| feed.sink.name().starts_with(&template[..5])) {
                    let feed = Feed::new(sink, template);
                    if random.random_range(0..4) > 0 {
                        feed.begin(caps);
                    }
                    feeds.push(feed);
                }
                assert!(feeds.len() <= 2);
            }
            2 => {
                if !feeds.is_empty() {
                    let feed = feeds.swap_remove(random.random_range(0..feeds.len()));
                    sink.release_request_pad(&feed.sink);
                }
            }
            3..=5 => {
                let states = [gst::State::Null, gst::State::Ready, gst::State::Paused, gst::State::Playing];
                sink.set_state(states[random.random_range(0..4)]).unwrap();
            }
            6 => {
                sink.set_state(gst::State::Playing).unwrap();
            }
            7 => {
                if let Some(feed) = feeds.first() {
                    feed.end();
                }
            }
            8 => {
                if let Some(feed) = feeds.last() {
                    feed.pad.push_event(gst::event::FlushStart::new());
                    let _ = feed.push(clock, true);
                    feed.pad.push_event(gst::event::FlushStop::new(random.random()));
                }
            }
            9 => {
                if let Some(feed) = feeds.last() {
                    // Another picture size, or nonsense.
                    let caps =
                        if random.random() { H264.replace("320", "640") } else { "video/x-vp8".to_owned() };
                    let caps: gst::Caps = caps.parse().unwrap();
                    feed.pad.push_event(gst::event::Caps::new(&caps));
                }
            }
            10 => {
                if let Some(feed) = feeds.last() {
                    let _ = feed.pad.push(gst::Buffer::new());
                    let structure = gst::Structure::new_empty("kvs-add-metadata");
                    feed.pad.push_event(gst::event::CustomDownstream::new(structure));
                }
            }
            _ => {
                for _ in 0..10 {
                    clock += random.random_range(0..150);
                    for feed in &feeds {
                        let _ = feed.push(clock, random.random_range(0..10) == 0);
                    }
                }
            }
        }
        assert!(sink.num_sink_pads() as usize == feeds.len());
    }
    sink.set_state(gst::State::Null).unwrap();
    for feed in feeds {
        sink.release_request_pad(&feed.sink);
    }
}

#[test]
fn any_order_of_things_neither_crashes_nor_hangs() {
    for streaming_type in ["realtime", "offline"] {
        let local = Local::new();
        for seed in 0..12 {
            let sink = local.sink();
            sink.set_property("stop-stream-timeout", 2_u32);
            sink.set_property_from_str("streaming-type", streaming_type);
            within(Duration::from_secs(120), &format!("{streaming_type} {seed}"), move || shake(seed, &sink));
        }
        let counters = local.server().app().put_media.view(&local.key().unwrap()).1;
        assert!(counters.persisted > 0, "the shaking stored nothing");
        assert!(counters.errors.is_empty(), "the service refused something: {counters:?}");
    }
}

#[test]
fn an_end_is_posted_when_every_pad_has_it_or_is_released() {
    let local = Local::new();
    for release in [false, true] {
        let sink = local.sink();
        let bus = gst::Bus::new();
        sink.set_bus(Some(&bus));
        let (video, audio) = (Feed::new(&sink, "video_%u"), Feed::new(&sink, "audio_%u"));
        sink.set_state(gst::State::Playing).unwrap();
        assert!(video.begin(H264) && audio.begin(ALAW));
        for n in 0..30 {
            video.push(n * 100, n % 10 == 0).unwrap();
            audio.push(n * 100, true).unwrap();
        }
        video.end();
        // The other track goes on alone.
        for n in 30..60 {
            audio.push(n * 100, true).unwrap();
        }
        assert!(bus.pop_filtered(&[gst::MessageType::Eos]).is_none());
        if release {
            sink.release_request_pad(&audio.sink);
        } else {
            audio.end();
        }
        wait_for("the end of stream", || bus.pop_filtered(&[gst::MessageType::Eos]));
        let audio_frames: u64 = local.fragments().iter().map(|fragment| fragment.audio_frames).sum();
        assert_eq!(audio_frames, if release { 120 } else { 60 }, "none is lost with its pad");
        sink.set_state(gst::State::Null).unwrap();
        sink.set_bus(None);
    }
}

#[test]
fn after_an_end_a_flush_begins_anew() {
    let local = Local::new();
    let sink = local.sink();
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    for _ in 0..2 {
        assert!(video.begin(H264));
        for n in 0..20 {
            video.push(n * 100, n == 0).unwrap();
        }
        video.end();
        wait_for("the end of stream", || bus.pop_filtered(&[gst::MessageType::Eos]));
        video.pad.push_event(gst::event::FlushStart::new());
        video.pad.push_event(gst::event::FlushStop::new(true));
    }
    sink.set_state(gst::State::Null).unwrap();
    sink.set_bus(None);
    assert_eq!(local.fragments().iter().map(|fragment| fragment.video_frames).sum::<u64>(), 40);
}

#[test]
fn an_end_that_was_flushed_away_is_not_told() {
    let local = Local::new();
    let sink = local.sink();
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    video.push(0, true).unwrap();
    let key = wait_for("the stream", || local.key());
    let fault = Fault::DelayPersisted(Duration::from_millis(300));
    local.server().app().faults.order(&key, Order { fault, call: Call::PutMedia, after: 0, times: None });
    for round in 1..=3 {
        if round > 1 {
            video.pad.push_event(gst::event::FlushStart::new());
            video.pad.push_event(gst::event::FlushStop::new(true));
            assert!(video.begin(H264));
        }
        video.push(round * 100, true).unwrap();
        // It is not acknowledged when the next flush comes.
        video.end();
    }
    wait_for("the end of stream", || bus.pop_filtered(&[gst::MessageType::Eos]));
    within(Duration::from_secs(30), "the stop", {
        let sink = sink.clone();
        move || sink.set_state(gst::State::Null).unwrap()
    });
    assert!(bus.pop_filtered(&[gst::MessageType::Eos]).is_none(), "one end, told once");
    sink.set_bus(None);
}

/// With the buffer full and a service that does not read, a file's thread waits; a flush and a stop end that.
#[test]
fn a_wait_for_room_ends_with_a_flush_and_with_a_stop() {
    let local = Local::new();
    let sink = local.sink();
    sink.set_property_from_str("streaming-type", "offline");
    sink.set_property("buffer-duration", 20_u32);
    sink.set_property("stop-stream-timeout", 1_u32);
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    video.push(0, true).unwrap();
    let key = wait_for("the stream", || local.key());
    let fault = Fault::NoPersisted { store: false };
    local.server().app().faults.order(&key, Order { fault, call: Call::PutMedia, after: 0, times: None });
    let blocked = |video: &Feed| {
        let (sender, receiver) = mpsc::channel();
        let pad = video.pad.clone();
        std::thread::spawn(move || {
            // More than the buffer takes.
            let result = (1..100).find_map(|n| pad.push(super::frame(n * 1000, true)).err());
            sender.send(result)
        });
        let waits = receiver.recv_timeout(Duration::from_millis(500)).is_err();
        assert!(waits, "a full buffer does not hold the source back");
        receiver
    };
    let waiting = blocked(&video);
    video.pad.push_event(gst::event::FlushStart::new());
    let result = waiting.recv_timeout(Duration::from_secs(5)).expect("the flush ends the wait");
    assert_eq!(result, Some(gst::FlowError::Flushing));
    video.pad.push_event(gst::event::FlushStop::new(true));
    let waiting = blocked(&{
        assert!(video.begin(H264));
        video
    });
    within(Duration::from_secs(10), "the stop", {
        let sink = sink.clone();
        move || sink.set_state(gst::State::Null).unwrap()
    });
    let result = waiting.recv_timeout(Duration::from_secs(5)).expect("the stop ends the wait");
    assert_eq!(result, Some(gst::FlowError::Flushing));
}

/// Nothing came, or nothing can be delivered: stopping is quick, or takes as long as it may.
#[test]
fn stopping_is_bounded() {
    let local = Local::new();
    let idle = local.sink();
    let _video = Feed::new(&idle, "video_%u");
    idle.set_state(gst::State::Playing).unwrap();
    within(Duration::from_secs(5), "a stop without media", move || idle.set_state(gst::State::Null).unwrap());
    let unreachable = local.sink();
    unreachable.set_property("endpoint", "http://127.0.0.1:9");
    unreachable.set_property("stop-stream-timeout", 1_u32);
    let bus = gst::Bus::new();
    unreachable.set_bus(Some(&bus));
    let video = Feed::new(&unreachable, "video_%u");
    unreachable.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..50 {
        video.push(n * 100, n % 10 == 0).unwrap();
    }
    let sink = unreachable.clone();
    within(Duration::from_secs(10), "a stop without a service", move || {
        sink.set_state(gst::State::Null).unwrap()
    });
    // And what is lost is not lost in silence.
    let statistics = unreachable.property::<gst::Structure>("statistics");
    for (field, lost) in [("fragments-dropped", 5_u64), ("video-frames-dropped", 50)] {
        assert_eq!(statistics.get::<u64>(field).unwrap(), lost, "{field}");
    }
    let mut told = 0;
    while let Some(message) = bus.pop_filtered(&[gst::MessageType::Element]) {
        let structure = message.structure().filter(|structure| structure.name() == "kvs-dropped");
        told += structure.map_or(0, |structure| structure.get::<u64>("video-frames").unwrap());
        if told == 50 {
            break;
        }
    }
    assert_eq!(told, 50);
    let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    let text = error.debug().unwrap_or_default();
    assert!(text.contains("50 video") && text.contains("stop-stream-timeout"), "{text}");
    unreachable.set_bus(None);
}
