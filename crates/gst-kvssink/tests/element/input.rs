//! What comes in: sources that loop, that lose data, that say what their times are; each block's time as it is stored.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use kvs_local::mkv::{Item, Parser};

use super::{ALAW, Feed, H264, Local, frame, now_ms};

/// Times of the blocks of a track, in the order of storage, and how many sessions they are in.
fn stored(local: &Local, number: u64) -> (Vec<u64>, usize) {
    let (key, app) = (local.key().unwrap(), local.server().app());
    let fragments = app.archive.fragments(&key);
    let mut headers: Vec<_> = fragments.iter().map(|info| info.header.clone()).collect();
    headers.dedup();
    let of = |info| {
        let (header, raw) = app.archive.read(&key, info).unwrap();
        let (mut parser, mut items) = (Parser::new(1 << 20), Vec::new());
        parser.push(&[header, raw].concat(), &mut items).unwrap();
        let time = |item| match item {
            Item::Frame { track, time_ms, .. } if track == number => u64::try_from(time_ms).ok(),
            _ => None,
        };
        items.into_iter().filter_map(time).collect::<Vec<_>>()
    };
    (fragments.iter().flat_map(|info| of(info)).collect(), headers.len())
}

fn spacing(times: &[u64]) -> Vec<i64> {
    times.windows(2).map(|pair| pair[1] as i64 - pair[0] as i64).collect()
}

/// What upstream is asked for.
fn asked(feed: &Feed) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    feed.pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(gst::EventView::CustomUpstream(event)) = info.event().map(|event| event.view()) {
            heard.lock().unwrap().push(event.structure().unwrap().name().to_string());
        }
        gst::PadProbeReturn::Ok
    });
    asked
}

fn flagged(ms: u64, flags: gst::BufferFlags) -> gst::Buffer {
    let mut buffer = frame(ms, false);
    let known = buffer.get_mut().unwrap();
    known.set_flags(known.flags() | flags);
    buffer
}

#[test]
fn a_source_that_begins_at_zero_again_goes_on_in_a_new_round() {
    let local = Local::new();
    let sink = local.sink();
    let (video, audio) = (Feed::new(&sink, "video_%u"), Feed::new(&sink, "audio_%u"));
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264) && audio.begin(ALAW));
    // Three rounds of 2 s, all at once; audio of 20 ms, which ends with video.
    for _ in 0..3 {
        for n in 0..20 {
            video.push(n * 100, n == 0).unwrap();
            for m in 0..5 {
                let mut buffer = frame(n * 100 + m * 20, false);
                buffer.get_mut().unwrap().set_duration(gst::ClockTime::from_mseconds(20));
                audio.pad.push(buffer).unwrap();
            }
        }
    }
    video.end();
    audio.end();
    sink.set_state(gst::State::Null).unwrap();
    let ((video, sessions), (audio, _)) = (stored(&local, 1), stored(&local, 2));
    assert_eq!((video.len(), audio.len(), sessions), (60, 300, 1));
    assert!(spacing(&video).iter().all(|step| *step == 100), "{:?}", spacing(&video));
    assert!(spacing(&audio).iter().all(|step| *step == 20), "{:?}", spacing(&audio));
    assert_eq!(video[0], audio[0]);
}

#[test]
fn after_a_loss_a_key_frame_is_asked_for_and_waited_for() {
    for gap in [false, true] {
        let local = Local::new();
        let sink = local.sink();
        let (video, audio) = (Feed::new(&sink, "video_%u"), Feed::new(&sink, "audio_%u"));
        let asked = asked(&video);
        sink.set_state(gst::State::Playing).unwrap();
        assert!(video.begin(H264) && audio.begin(ALAW));
        for n in 0..40 {
            audio.push(n * 100, true).unwrap();
            // The first is always flagged: it follows nothing.
            let lost = n == 0 || (n == 15 && !gap);
            if n == 15 && gap {
                let event = gst::event::Gap::builder(gst::ClockTime::from_mseconds(1500));
                assert!(video.pad.push_event(event.gap_flags(gst::GapFlags::DATA).build()));
            }
            match lost {
                true if n > 0 => video.pad.push(flagged(n * 100, gst::BufferFlags::DISCONT)).unwrap(),
                // Key frames at 0 and 2 s.
                _ => video.push(n * 100, n.is_multiple_of(20)).unwrap(),
            };
        }
        video.end();
        audio.end();
        let statistics: gst::Structure = sink.property("statistics");
        sink.set_state(gst::State::Null).unwrap();
        assert_eq!(*asked.lock().unwrap(), ["GstForceKeyUnit"]);
        assert_eq!(stored(&local, 1).0.len(), 35, "five could not be decoded");
        assert_eq!(stored(&local, 2).0.len(), 40);
        assert_eq!(statistics.get::<u64>("video-frames-dropped").unwrap(), 5);
    }
}

#[test]
fn frames_that_are_rare_are_no_loss() {
    let local = Local::new();
    let sink = local.sink();
    let video = Feed::new(&sink, "video_%u");
    let asked = asked(&video);
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..4 {
        video.push(n * 15_000, n == 0).unwrap();
    }
    // What is only flagged as another thing, too.
    video.pad.push(flagged(60_100, gst::BufferFlags::MARKER)).unwrap();
    video.end();
    sink.set_state(gst::State::Null).unwrap();
    assert_eq!(stored(&local, 1).0.len(), 5);
    assert!(asked.lock().unwrap().iter().all(|name| name == "GstForceKeyUnit"));
}

/// A frame of presentation time and decoding time, in milliseconds.
fn timed(pts: u64, dts: u64, key: bool) -> gst::Buffer {
    let mut buffer = frame(pts, key);
    buffer.get_mut().unwrap().set_dts(gst::ClockTime::from_mseconds(dts));
    buffer
}

#[test]
fn original_times_are_those_of_presentation_and_of_running_time_unless_told_otherwise() {
    const BASE: u64 = 1_600_000_000_000;
    for raw in [false, true] {
        let local = Local::new();
        let sink = local.sink();
        sink.set_property("use-original-pts", true);
        sink.set_property("disable-buffer-clipping", raw);
        let video = Feed::new(&sink, "video_%u");
        sink.set_state(gst::State::Playing).unwrap();
        // As x264enc has it: its segment begins at 1000 h.
        let ahead = if raw { 0 } else { 3_600_000_000 };
        assert!(video.begin(H264));
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::from_mseconds(ahead));
        assert!(video.pad.push_event(gst::event::Segment::new(&segment)));
        // I P B B P B B, in decoding order.
        for (n, pts) in (0..).zip([0, 120, 40, 80, 240, 160, 200]) {
            video.pad.push(timed(ahead + BASE + pts, ahead + BASE + n * 40, pts == 0)).unwrap();
        }
        video.end();
        sink.set_state(gst::State::Null).unwrap();
        let times: Vec<_> = stored(&local, 1).0.iter().map(|time| time - BASE).collect();
        assert_eq!(times, [0, 120, 40, 80, 240, 160, 200]);
    }
}

#[test]
fn metadata_after_a_key_frame_is_on_the_next_fragment_with_sound_too() {
    let local = Local::new();
    let sink = local.sink();
    let (video, audio) = (Feed::new(&sink, "video_%u"), Feed::new(&sink, "audio_%u"));
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264) && audio.begin(ALAW));
    for n in 0..30 {
        video.push(n * 100, n.is_multiple_of(10)).unwrap();
        if n.is_multiple_of(10) {
            let structure = format!("kvs-add-metadata,name=n{n},value=x,persist=false");
            let event = gst::event::CustomDownstream::new(structure.parse::<gst::Structure>().unwrap());
            assert!(video.pad.push_event(event));
        }
        // The key frame waits for it.
        audio.push(n * 100, true).unwrap();
    }
    video.end();
    audio.end();
    sink.set_state(gst::State::Null).unwrap();
    let names: Vec<Vec<String>> = super::signals::tags(&local)
        .into_iter()
        .map(|(_, tags)| tags.into_iter().map(|(name, _)| name).collect())
        .collect();
    assert_eq!(names, [vec![], vec!["n0".to_owned()], vec!["n10".to_owned()]]);
}

/// Upstream says that its buffers may come three seconds late: tracks wait for each other so long.
#[test]
fn upstream_s_latency_is_waited_for() {
    let local = Local::new();
    let sink = local.sink();
    let (video, audio) = (Feed::new(&sink, "video_%u"), Feed::new(&sink, "audio_%u"));
    audio.pad.add_probe(gst::PadProbeType::QUERY_UPSTREAM, |_, info| {
        let Some(gst::QueryViewMut::Latency(query)) = info.query_mut().map(|query| query.view_mut()) else {
            return gst::PadProbeReturn::Ok;
        };
        query.set(true, gst::ClockTime::from_seconds(3), None);
        gst::PadProbeReturn::Handled
    });
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264) && audio.begin(ALAW));
    audio.push(0, true).unwrap();
    for n in 0..30 {
        video.push(n * 100, n.is_multiple_of(10)).unwrap();
    }
    // More than a second, less than what was said.
    std::thread::sleep(Duration::from_millis(2500));
    for n in 1..30 {
        audio.push(n * 100, true).unwrap();
    }
    video.end();
    audio.end();
    let statistics: gst::Structure = sink.property("statistics");
    sink.set_state(gst::State::Null).unwrap();
    assert_eq!(stored(&local, 2).0.len(), 30);
    assert_eq!(stored(&local, 1).1, 1, "one session");
    assert_eq!(statistics.get::<u64>("audio-frames-late").unwrap(), 0);
    assert!(statistics.get::<u64>("audio-distance").unwrap() > 2_700_000_000);
}

/// What is known of AWS's clock when the element starts holds until it stops, whatever is learnt of it meanwhile.
#[test]
fn times_follow_aws_s_clock() {
    let local = Local::new();
    let context = kvs_aws::AwsContext::builder()
        .region("us-east-1")
        .endpoint_url(local.server().url())
        .static_credentials("AKIDTEST", "secret", None);
    let context = local.runtime.block_on(context.build()).unwrap();
    let date = gst::glib::DateTime::from_unix_utc(now_ms() as i64 / 1000 + 3600).unwrap();
    context.observe_date(&date.format("%a, %d %b %Y %H:%M:%S GMT").unwrap());
    assert!(context.skew_ms().abs_diff(3_600_000) < 2_000);
    let sink = local.sink().downcast::<gstkvssink::KvsSink>().unwrap();
    sink.set_aws_context(context);
    let video = Feed::new(sink.upcast_ref(), "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..20 {
        video.push(n * 100, n.is_multiple_of(10)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    video.end();
    sink.set_state(gst::State::Null).unwrap();
    let times = stored(&local, 1).0;
    assert!(times[0].abs_diff(now_ms() + 3_600_000) < 20_000, "an hour ahead of this machine");
    assert!(spacing(&times).iter().all(|step| *step == 100), "{times:?}");
    assert_eq!(times.len(), 20);
}
