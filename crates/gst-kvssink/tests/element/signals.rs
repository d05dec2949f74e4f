//! Signals, messages and events, as applications see them.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstkvssink::{KvsSink, SinkEvent, abi};
use kvs_local::faults::{Call, Fault, Order};
use kvs_local::mkv::{Item, Parser};
use kvs_local::model::ErrorId;

use super::{ALAW, Feed, H264, Local, wait_for};

/// What is behind a signal's pointer.
#[allow(unsafe_code, reason = "as a C application reads it")]
fn behind<T: Copy>(values: &[glib::Value]) -> T {
    let pointer = values[1].get::<glib::Pointer>().unwrap();
    assert!(!pointer.is_null() && pointer.cast::<T>().is_aligned());
    // SAFETY: the signal's argument is a T by its documentation, and lives while it is emitted.
    unsafe { *pointer.cast::<T>() }
}

use gst::glib;

/// Collects what `read` makes of a signal's arguments.
fn collect<T: Send + 'static>(
    sink: &gst::Element,
    signal: &str,
    read: impl Fn(&[glib::Value]) -> T + Send + Sync + 'static,
) -> Arc<Mutex<Vec<T>>> {
    let found = Arc::new(Mutex::new(Vec::new()));
    sink.connect(signal, false, {
        let found = found.clone();
        move |values| {
            found.lock().unwrap().push(read(values));
            None
        }
    });
    found
}

/// The application hears of events on the upload task: what it does wrong there must not end in silence.
#[test]
fn an_upload_that_panics_is_an_error_of_the_element() {
    let local = Local::new();
    let sink = local.sink();
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    sink.downcast_ref::<KvsSink>().unwrap().set_event_handler(|event| {
        assert!(!matches!(event, SinkEvent::StreamReady { .. }), "a mistake of the application's");
    });
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..20 {
        // Once the upload has ended nothing more is taken.
        if video.push(n * 100, n % 20 == 0).is_err() {
            break;
        }
    }
    let message = wait_for("an error", || bus.pop_filtered(&[gst::MessageType::Error]));
    let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
    let text = error.debug().unwrap();
    assert!(text.contains("panicked") && text.contains("a mistake of the application's"), "{text}");
    let stopping = std::time::Instant::now();
    sink.set_state(gst::State::Null).unwrap();
    assert!(stopping.elapsed().as_secs() < 15, "nobody acknowledges anything any more: it is not waited for");
}

#[test]
fn acknowledgements_and_metrics_are_told_in_both_forms() {
    let local = Local::new();
    let sink = local.sink();
    sink.set_property("get-kvs-metrics", true);
    sink.set_property("post-messages", true);
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    let acks = collect(&sink, "fragment-ack", behind::<abi::FragmentAck>);
    let structures =
        collect(&sink, "fragment-acknowledged", |values| values[1].get::<gst::Structure>().unwrap());
    let metrics = collect(&sink, "stream-client-metric", behind::<abi::KvsSinkMetric>);
    let figures = collect(&sink, "stream-metrics", |values| values[1].get::<gst::Structure>().unwrap());
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    for n in 0..40 {
        video.push(n * 100, n % 20 == 0).unwrap();
    }
    video.end();
    wait_for("the last acknowledgement", || {
        (acks.lock().unwrap().iter().filter(|ack| ack.ack_type == 3).count() == 2).then_some(())
    });
    sink.set_state(gst::State::Null).unwrap();

    let acks = acks.lock().unwrap();
    let first: Vec<i32> =
        acks.iter().filter(|ack| ack.timestamp == acks[0].timestamp).map(|ack| ack.ack_type).collect();
    assert_eq!(first, [1, 2, 3], "BUFFERING, RECEIVED, PERSISTED");
    for (ack, structure) in acks.iter().zip(structures.lock().unwrap().iter()) {
        let end = ack.sequence_number.iter().position(|byte| *byte == 0).unwrap();
        let number = std::str::from_utf8(&ack.sequence_number[..end]).unwrap();
        assert_eq!((number.len(), ack.version, ack.result), (47, 0, 200));
        assert_eq!(structure.get::<String>("fragment-number").unwrap(), number);
        assert_eq!(structure.get::<u64>("timecode").unwrap(), ack.timestamp);
    }
    let metrics = metrics.lock().unwrap();
    assert_eq!(metrics.len(), 2, "one for each key frame");
    assert_eq!(metrics[1].stream_metrics.version, 3);
    assert_eq!(metrics[1].client_metrics.content_store_size, 128 << 20);
    assert!(metrics[1].stream_metrics.overall_view_size > 0);
    assert_eq!((metrics[1].frame_pts - metrics[0].frame_pts) / 10_000, 2000, "two seconds of 100 ns");
    let figures = figures.lock().unwrap();
    assert_eq!(figures[1].get::<u64>("video-frames-in").unwrap(), 21);

    let posted: Vec<String> = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Element]))
        .filter_map(|message| message.structure().map(|structure| structure.name().to_string()))
        .collect();
    let count = |name: &str| posted.iter().filter(|posted| *posted == name).count();
    assert_eq!((count("kvs-fragment-ack"), count("kvs-stream-metrics")), (acks.len(), 2));
    sink.set_bus(None);
}

#[test]
fn an_error_that_ends_it_is_the_sdk_s_status_and_an_error_on_the_bus() {
    let local = Local::new();
    let sink = local.sink();
    sink.set_property("restart-on-error", false);
    let errors = collect(&sink, "stream-error", |values| values[1].get::<u64>().unwrap());
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    video.push(0, true).unwrap();
    let key = wait_for("the stream", || local.key());
    let fault = Fault::Error(ErrorId::KmsKeyAccessDenied);
    local.server().app().faults.order(&key, Order { fault, call: Call::PutMedia, after: 0, times: Some(1) });
    let error = wait_for("the error", || bus.pop_filtered(&[gst::MessageType::Error]));
    let gst::MessageView::Error(error) = error.view() else { unreachable!("it was asked for") };
    assert!(error.debug().unwrap().contains("4500 KMS_KEY_ACCESS_DENIED"), "{error:?}");
    assert_eq!(*errors.lock().unwrap(), [0x5200_0065]);
    let refused = wait_for("the end of the flow", || video.push(100, false).err());
    assert_eq!(refused, gst::FlowError::Error);
    sink.set_state(gst::State::Null).unwrap();
    sink.set_bus(None);
}

/// Names and values of the tags of each fragment, and how many elements they came in.
pub fn tags(local: &Local) -> Vec<(usize, Vec<(String, String)>)> {
    let (key, app) = (local.key().unwrap(), local.server().app());
    let fragments = app.archive.fragments(&key);
    let of = |info| {
        let (header, raw) = app.archive.read(&key, info).unwrap();
        let (mut parser, mut items) = (Parser::new(1 << 20), Vec::new());
        parser.push(&[header, raw].concat(), &mut items).unwrap();
        let tags: Vec<_> = items
            .into_iter()
            .filter_map(|item| match item {
                Item::Tags { tags, .. } => Some(tags),
                _ => None,
            })
            .collect();
        (tags.len(), tags.concat())
    };
    fragments.iter().map(|info| of(info)).collect()
}

#[test]
fn metadata_and_events_reach_their_fragments() {
    let local = Local::new();
    let sink = local.sink();
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    let event = |text: &str| {
        let structure: gst::Structure = text.parse().unwrap();
        video.pad.push_event(gst::event::CustomDownstream::new(structure))
    };
    for n in 0..40 {
        if n == 10 {
            assert!(event("kvs-add-metadata,name=color,value=red,persist=true"));
            assert!(event("kvs-add-metadata,name=door,value=open,persist=false"));
            let detail = "metadata=(structure)[motion,score=high;]";
            assert!(event(&format!(
                "kvs-add-event,image-generation=true,notification=true,image-prefix=front,{detail}"
            )));
            assert!(!event("kvs-add-metadata,name=AWS_X,value=x,persist=false"), "a name of the service");
            assert!(!event("kvs-add-metadata,name=color,value=red"), "persist is missing");
            assert!(!event("kvs-add-event,image-prefix=front"), "no event");
        }
        video.push(n * 100, n % 10 == 0).unwrap();
    }
    video.end();
    sink.set_state(gst::State::Null).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let color = pair("color", "red");
    let event = [
        color.clone(),
        pair("door", "open"),
        pair("AWS_KINESISVIDEO_IMAGE_GENERATION", ""),
        pair("AWS_KINESISVIDEO_NOTIFICATION", ""),
        pair("AWS_KINESISVIDEO_IMAGE_PREFIX", "front"),
        pair("score", "high"),
    ];
    let want = [(0, vec![]), (3, event.to_vec()), (1, vec![color.clone()]), (1, vec![color])];
    assert_eq!(tags(&local), want);
}

#[test]
fn what_the_caps_say_is_what_the_properties_say() {
    let local = Local::new();
    let sink = local.sink();
    let (video, audio) = (Feed::new(&sink, "video_%u"), Feed::new(&sink, "audio_%u"));
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264) && audio.begin(ALAW));
    assert_eq!(sink.property::<String>("content-type"), "video/h264,audio/alaw");
    assert_eq!(sink.property::<String>("codec-id"), "V_MPEG4/ISO/AVC");
    sink.set_state(gst::State::Null).unwrap();
}

#[test]
fn without_restart_on_error_the_first_loss_is_the_end() {
    let local = Local::new();
    let sink = local.sink();
    sink.set_property("restart-on-error", false);
    let errors = collect(&sink, "stream-error", |values| values[1].get::<u64>().unwrap());
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    let video = Feed::new(&sink, "video_%u");
    sink.set_state(gst::State::Playing).unwrap();
    assert!(video.begin(H264));
    video.push(0, true).unwrap();
    let key = wait_for("the stream", || local.key());
    local
        .server()
        .app()
        .faults
        .order(&key, Order { fault: Fault::Reset, call: Call::PutMedia, after: 0, times: Some(1) });
    let error = wait_for("the error", || bus.pop_filtered(&[gst::MessageType::Error]));
    let gst::MessageView::Error(error) = error.view() else { unreachable!("it was asked for") };
    assert!(error.debug().unwrap().contains("restart-on-error"), "{error:?}");
    assert_eq!(*errors.lock().unwrap(), [0x5200_002d]);
    assert!(video.push(100, false).is_err());
    sink.set_state(gst::State::Null).unwrap();
    sink.set_bus(None);
}

#[test]
fn every_property_and_signal_is_documented() {
    let local = Local::new();
    let sink = local.sink();
    let text = include_str!("../../../../docs/kvssink.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let documented = |name: &str| rows.iter().any(|row| row.contains(&format!("`{name}`")));
    for property in sink.list_properties().iter().filter(|property| property.owner_type() == sink.type_()) {
        assert!(documented(property.name()), "no {}", property.name());
    }
    for signal in
        ["stream-error", "fragment-ack", "stream-client-metric", "fragment-acknowledged", "stream-metrics"]
    {
        assert!(glib::subclass::SignalId::lookup(signal, sink.type_()).is_some() && documented(signal));
    }
}

#[test]
fn secrets_are_not_read_back() {
    let local = Local::new();
    let sink = local.sink();
    assert_eq!(sink.property::<Option<String>>("secret-key"), None);
    assert_eq!(sink.property::<String>("access-key"), "AKIDTEST");
}
