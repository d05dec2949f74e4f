//! What a stranger may send as sound goes through the real decoder and encoder.
#![allow(clippy::unwrap_used)]

use super::audio::{Front, RetimeFigures};
use super::graph::{Graph, GraphEvent};
use super::sound::SoundFigures;
use super::tests::encode;
use crate::concealed::Concealed;
use crate::elements::PipelineError;
use crate::outputs::{Delivery, Inlets, NotReady, Output, Outputs, Words};
use crate::tracks::Tracks;
use async_trait::async_trait;
use bytes::Bytes;
use gst::prelude::*;
use kvs_ingest_api::AgentStatus;
use kvs_media::{AudioCodec, AudioPacket, opus_duration};
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

const MS: Duration = Duration::from_millis(1);
/// A pipeline that has not ended by then is stuck.
const DEADLINE: Duration = Duration::from_secs(120);

/// Keeps from when to when each frame of AAC is.
struct Sink {
    frames: Arc<Mutex<Vec<[Duration; 2]>>>,
    /// Those of them that were not received.
    concealed: Arc<Mutex<Vec<[Duration; 2]>>>,
    delivery: Delivery,
}

#[async_trait]
impl Output for Sink {
    async fn prepare(&self) -> Result<(), NotReady> {
        Ok(())
    }

    fn attach(&self, pipeline: &gst::Pipeline, _: Tracks) -> Result<Inlets, PipelineError> {
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        let (frames, concealed) = (Arc::clone(&self.frames), Arc::clone(&self.concealed));
        let gaps = Arc::new(Mutex::new(Concealed::default()));
        let told = Arc::clone(&gaps);
        let keep = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
            let begin = Duration::from(buffer.pts().ok_or(gst::FlowError::Error)?);
            let length = Duration::from(buffer.duration().ok_or(gst::FlowError::Error)?);
            frames.lock().push([begin, begin + length]);
            if gaps.lock().covers(begin.as_nanos() as u64, length) {
                concealed.lock().push([begin, begin + length]);
            }
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(keep).build());
        pipeline.add(&sink)?;
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            info.event().into_iter().for_each(|event| told.lock().note(event));
            gst::PadProbeReturn::Ok
        });
        Ok(Inlets { video: None, audio: Some(pad) })
    }

    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn describe(&self, _: &mut AgentStatus) {}

    fn encode_metrics(&self, _: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// Packets of each of Opus' three modes, as libopus makes them: CELT with its shortest frames, SILK with its longest, and what
/// browsers send.
static REAL: LazyLock<[Vec<Bytes>; 3]> = LazyLock::new(|| {
    gst::init().unwrap();
    [
        "channels=1 ! opusenc frame-size=2.5 audio-type=restricted-lowdelay",
        "channels=1 ! opusenc frame-size=60 audio-type=voice bandwidth=wideband bitrate=12000",
        "channels=2 ! opusenc frame-size=20 dtx=true inband-fec=true",
    ]
    .map(|encoder| {
        let source = "audiotestsrc wave=ticks num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000";
        encode(&format!("{source},{encoder}")).into_iter().map(|(data, _)| data).collect()
    })
});

#[derive(Clone, Debug)]
enum Step {
    /// As it was encoded: so many packets of one of [`REAL`], from one of them on.
    Real { of: usize, from: usize, count: usize },
    /// One with bytes that are others, cut off or with something behind it.
    Mutated { of: usize, at: usize, changes: Vec<(usize, u8)>, length: Option<usize> },
    /// Anything.
    Random(Vec<u8>),
    /// Frames of random bytes in a packet that keeps the rules: a table-of-contents byte of any mode, and the frames.
    Framed(u8, Vec<u8>),
    /// Nothing came for so many milliseconds.
    Gap(u64),
    /// The capture times jump by so many milliseconds.
    Jump(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = |length| prop::collection::vec(any::<u8>(), length);
    let real = (0..3usize, 0..1000usize);
    prop_oneof![
        3 => (real.clone(), 1..10usize).prop_map(|((of, from), count)| Step::Real { of, from, count }),
        4 => (real, prop::collection::vec((0..1275usize, any::<u8>()), 1..8), prop::option::of(0..200usize))
            .prop_map(|((of, at), changes, length)| Step::Mutated { of, at, changes, length }),
        2 => bytes(0..1300).prop_map(Step::Random),
        4 => (any::<u8>(), bytes(0..1275)).prop_map(|(toc, frame)| Step::Framed(toc, frame)),
        1 => (1..20u64).prop_map(|count| Step::Gap(count * 20)),
        1 => prop_oneof![-8_000..8_000i64, -120..120i64].prop_map(Step::Jump),
    ]
}

impl Step {
    /// The payloads that this puts in, whether Opus or not.
    fn payloads(&self) -> Vec<Bytes> {
        match self {
            Self::Real { of, from, count } => {
                let all = &REAL[*of];
                (0..*count).map(|index| all[(from + index) % all.len()].clone()).collect()
            }
            Self::Mutated { of, at, changes, length } => {
                let all = &REAL[*of];
                let mut packet = all[at % all.len()].to_vec();
                packet.resize(length.unwrap_or(packet.len()), 0x55);
                for (at, value) in changes {
                    let length = packet.len().max(1);
                    if let Some(byte) = packet.get_mut(at % length) {
                        *byte ^= value;
                    }
                }
                vec![packet.into()]
            }
            Self::Random(packet) => vec![packet.clone().into()],
            Self::Framed(toc, frame) => vec![[&[toc & !3][..], frame].concat().into()],
            Self::Gap(_) | Self::Jump(_) => Vec::new(),
        }
    }
}

/// What became of it.
struct Heard {
    frames: Vec<[Duration; 2]>,
    concealed: Vec<[Duration; 2]>,
    figures: SoundFigures,
}

/// Where the sound that went in began and ended and how much was missing.
#[derive(Clone, Copy, Debug)]
struct Sent {
    begin: Duration,
    end: Duration,
    missing: Duration,
    jumped: bool,
}

/// Puts the steps in as kvs-media would, and two seconds later a second of good sound.
fn send(graph: &mut Graph, start: SystemTime, steps: &[Step]) -> Sent {
    let mut at = start;
    let mut latest = start;
    let (mut missing, mut jumped) = (Duration::ZERO, false);
    let put = |graph: &mut Graph, at: &mut SystemTime, data: Bytes| {
        // Nothing else gets past kvs-media.
        let Some(duration) = opus_duration(&data) else { return };
        let stereo = data[0] & 4 != 0;
        let packet = AudioPacket { data, capture_time: *at, rtp_timestamp: 0, duration, stereo };
        assert!(graph.audio_packet(&packet));
        *at += duration;
    };
    for step in steps {
        for payload in step.payloads() {
            put(graph, &mut at, payload);
        }
        match step {
            Step::Gap(millis) => {
                graph.audio_gap(at, MS * *millis as u32);
                at += MS * *millis as u32;
                missing += MS * *millis as u32;
            }
            Step::Jump(millis) => {
                jumped = true;
                let by = MS * millis.unsigned_abs() as u32;
                at = if *millis < 0 { at - by } else { at + by };
            }
            _ => {}
        }
        latest = latest.max(at);
    }
    if jumped {
        at = latest + 2_000 * MS;
    }
    for packet in REAL[2].iter().take(50) {
        put(graph, &mut at, packet.clone());
    }
    let since = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Sent { begin: since(start), end: since(at), missing, jumped }
}

/// Stopped whatever happens, also a failure of the test.
struct Running(Graph);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn play(stereo: bool, steps: &[Step]) -> (Sent, Heard) {
    gst::init().unwrap();
    let words = Words {
        interrupted: "SinkInterrupted",
        refused: "SinkRefused",
        missing: "SinkMissing",
        receiver: "the test",
    };
    let (frames, concealed) = (Arc::default(), Arc::default());
    let (ours, theirs) = (Arc::clone(&frames), Arc::clone(&concealed));
    let sink = Sink { frames: ours, concealed: theirs, delivery: Delivery::new(words) };
    let outputs: Outputs = [Arc::new(sink) as Arc<dyn Output>].into_iter().collect();
    let tracks = Tracks { video: None, audio: Some(AudioCodec::Opus), stereo };
    let (graph, mut events) = Graph::start(tracks, &outputs, 64_000).unwrap();
    let mut graph = Running(graph);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let sent = send(&mut graph.0, start, steps);
    graph.0.finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ended = runtime.block_on(async {
        let end = async {
            loop {
                match events.recv().await {
                    Some(GraphEvent::EndOfStream) => return Ok(()),
                    Some(GraphEvent::Error { element, message }) => {
                        return Err(format!("{element}: {message}"));
                    }
                    Some(GraphEvent::Warning { .. } | GraphEvent::KeyFrameWanted) => {}
                    None => return Err("the bus is gone".to_owned()),
                }
            }
        };
        tokio::time::timeout(DEADLINE, end).await
    });
    let figures = graph.0.sound_figures();
    drop(graph);
    assert_eq!(ended.expect("the pipeline is stuck"), Ok(()), "the pipeline broke");
    let (frames, concealed) = (std::mem::take(&mut *frames.lock()), std::mem::take(&mut *concealed.lock()));
    (sent, Heard { frames, concealed, figures })
}

/// A frame of AAC that was not filled at the end does not come, nor what is still in the decoder: 1023 and 312 samples.
const FRAME: Duration = Duration::from_micros(27_813);
/// A frame of AAC, and what the delays leave, or a gap or jump of which not all was made up for in a second.
const EDGE: Duration = Duration::from_millis(70);

/// What libopus makes of packets: samples, interleaved.
fn by_libopus(packets: &[Bytes], channels: usize) -> Vec<i16> {
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=in format=time caps=audio/x-opus,channel-mapping-family=0,rate=48000,channels={channels} \
         ! opusdec ! audio/x-raw,format=S16LE,rate=48000,channels={channels} ! appsink name=out sync=false"
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for packet in packets {
        source.push_buffer(gst::Buffer::from_slice(packet.clone())).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut samples = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        samples.extend(map.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]])));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}

/// In every mode of Opus, and through changes of it. What follows a pause (DTX) is left out: since 1.4, which the decoder here
/// follows, libopus is more careful with what is predicted across one.
#[test]
fn sound_is_decoded_as_libopus_decodes_it() {
    let [celt, silk, _] = &*REAL;
    let source =
        "audiotestsrc wave=ticks num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2";
    let stereo =
        encode(&format!("{source} ! opusenc frame-size=20")).into_iter().map(|(data, _)| data).collect();
    let mixed =
        (0..3).flat_map(|part| [celt, silk, &stereo].map(|all: &Vec<Bytes>| all[part * 5..][..5].to_vec()));
    let mixed = mixed.flatten().collect();
    for (number, packets) in [celt, silk, &stereo, &mixed].into_iter().enumerate() {
        // `opusdec` makes one channel of two in a way of its own.
        let all = if number < 2 { &[1, 2][..] } else { &[2] };
        for channels in all.iter().copied() {
            let mut front = Front::new(AudioCodec::Opus, channels).unwrap();
            let mut at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
            for packet in packets {
                let duration = opus_duration(packet).unwrap();
                front.packet(at, packet, duration);
                at += duration;
            }
            let ours: Vec<_> = front.take().flat_map(|pcm| pcm.samples).collect();
            let theirs = by_libopus(packets, channels);
            assert!(
                ours.len() <= theirs.len() && ours.len() + 960 > theirs.len(),
                "{} {}",
                ours.len(),
                theirs.len()
            );
            let (mut signal, mut noise) = (0.0, 0.0);
            for (ours, theirs) in ours.iter().zip(&theirs) {
                signal += f64::from(*theirs).powi(2);
                noise += (f64::from(*ours) - f64::from(*theirs)).powi(2);
            }
            let decibels = 10.0 * (signal / noise.max(1.0)).log10();
            assert!(decibels > 40.0, "{number} to {channels} channels: {decibels} dB");
            assert_eq!(front.figures(), RetimeFigures::default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_the_sound_goes_on_behind_it(
        stereo: bool,
        steps in prop::collection::vec(step(), 0..16),
    ) {
        // A pipeline may begin with a gap, but see below.
        let first = Step::Real { of: 2, from: 0, count: 1 };
        let steps: Vec<_> = std::iter::once(first).chain(steps).collect();
        let (sent, heard) = play(stereo, &steps);
        let (first, last) = (heard.frames[0][0], heard.frames.last().unwrap()[1]);
        // The last second was good, and is there to its end.
        let off = sent.jumped || heard.figures != SoundFigures::default();
        let late = if off { EDGE } else { FRAME + MS };
        prop_assert!(last + late >= sent.end && last <= sent.end + EDGE, "{:?} {:?}", last, sent);
        if sent.jumped {
            return Ok(());
        }
        prop_assert!(first <= sent.begin && first + EDGE >= sent.begin, "{:?} {:?}", first, sent);
        for pair in heard.frames.windows(2) {
            let apart = pair[1][0].abs_diff(pair[0][1]);
            prop_assert!(apart < MS, "a hole of {apart:?}");
        }
        // What kvs-media lets pass the decoder takes: each packet gave the sound that it said, and nothing else was filled
        // than the gaps, which are counted.
        prop_assert_eq!(heard.figures.silence, sent.missing);
        prop_assert_eq!(heard.figures.late, Duration::ZERO);
    }
}

/// What comes before any sound was decoded: no state of the decoder may be taken for granted. (With the first buffer
/// `appsrc` begins its segment once more, and so the encoder, which leaves out up to a frame of this silence.)
#[test]
fn a_gap_before_the_first_packet_is_silence() {
    gst::init().unwrap();
    let (sent, heard) = play(false, &[Step::Gap(400), Step::Framed(0xfc, Vec::new()), Step::Gap(20)]);
    assert_eq!(heard.figures.silence, sent.missing);
    let (first, last) = (heard.frames[0][0], heard.frames.last().unwrap()[1]);
    assert!(first <= sent.begin && last + FRAME >= sent.end, "{first:?} {last:?} {sent:?}");
}

/// A live output is told so, through decoder and encoder.
#[test]
fn what_conceals_a_gap_is_told_from_what_was_received() {
    let real = |from| Step::Real { of: 2, from, count: 25 };
    let (sent, heard) = play(false, &[real(0), Step::Gap(400)]);
    let gap = sent.begin + 500 * MS..sent.begin + 900 * MS;
    let (first, last) = (heard.concealed[0][0], heard.concealed.last().unwrap()[1]);
    assert!(
        first.abs_diff(gap.start) < FRAME && last.abs_diff(gap.end) < FRAME,
        "{first:?} {last:?} {gap:?}"
    );
    assert!((17..=20).contains(&heard.concealed.len()), "{}", heard.concealed.len());
    let (_, heard) = play(false, &[real(0), real(25)]);
    assert_eq!(heard.concealed, Vec::<[Duration; 2]>::new());
}
