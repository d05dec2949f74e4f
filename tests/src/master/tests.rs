//! The master against a viewer that is str0m as well, without signaling between them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use kvs_media::{AudioOutput, MediaConfig, MediaOutput, MediaReceiver, RtpPacket, SenderReport, VideoOutput};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaData, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::clip::{GROUP, Picture, Sound, VideoClip, opus_packets};
use super::network::Network;
use super::session::{Command, Media, Session};
use super::{Answering, Sent, Settings};
use crate::impair::Impairment;
use crate::nal::{frame_number, is_idr, nal_type, slice_hash, split_annex_b, split_avcc};

/// A picture as the viewer got it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    number: u64,
    idr: bool,
    hash: String,
    parameter_sets: bool,
}

#[derive(Default)]
struct Got {
    frames: Vec<Seen>,
    audio: Vec<Vec<u8>>,
    reports: bool,
    /// Of the agent's own media stack: capture times beside `frames` and `audio`, and the packet's number.
    frame_times: Vec<SystemTime>,
    audio_times: Vec<(u64, SystemTime)>,
}

struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    video: Mid,
    /// Asks for a key frame so often.
    ask_every: Option<Duration>,
    /// The agent's own media stack; str0m gives it packets, repaired but as they come, and makes no frames then.
    stack: Option<MediaReceiver>,
    /// The newest sender report of each track, video first.
    reported: [Option<SystemTime>; 2],
    got: Got,
}

impl Viewer {
    async fn new(stack: Option<MediaReceiver>) -> (Self, String, SdpPendingOffer) {
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(str0m_ring::provider())
            .set_rtp_mode(stack.is_some())
            .build(Instant::now());
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = socket.local_addr().unwrap();
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let video = changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().unwrap();
        let viewer = Self {
            rtc,
            socket,
            local,
            video,
            ask_every: None,
            stack,
            reported: [None; 2],
            got: Got::default(),
        };
        (viewer, offer.to_sdp_string(), pending)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::MediaData(data) => self.data(data),
            Event::RtpPacket(packet) => self.packet(packet),
            _ => {}
        }
    }

    fn packet(&mut self, packet: str0m::rtp::RtpPacket) {
        let Some(stack) = &mut self.stack else { return };
        let ssrc = *packet.header.ssrc;
        let of_video = self
            .rtc
            .direct_api()
            .stream_rx_by_mid(self.video, None)
            .is_some_and(|stream| *stream.ssrc() == ssrc);
        if let Some(info) = packet.last_sender_info
            && self.reported[usize::from(!of_video)].replace(info.ntp_time) != Some(info.ntp_time)
        {
            let since_1900 = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH).unwrap()
                + Duration::from_secs(2_208_988_800);
            let fraction = (u64::from(since_1900.subsec_nanos()) << 32) / 1_000_000_000;
            let ntp = (since_1900.as_secs() << 32) + fraction;
            let rtp_timestamp = info.rtp_time.numer() as u32;
            self.got.reports = true;
            stack.handle_sender_report(SenderReport { ssrc, ntp, rtp_timestamp }, Instant::now());
        }
        let kind = if of_video { kvs_media::MediaKind::Video } else { kvs_media::MediaKind::Audio };
        let packet = RtpPacket {
            ssrc,
            payload_type: *packet.header.payload_type,
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            padding: 0,
            payload: packet.payload.to_vec().into(),
        };
        let now = Instant::now();
        stack.handle_rtp(kind, packet, now, SystemTime::now());
        stack.handle_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.stack.as_mut().and_then(MediaReceiver::poll_output) {
            match output {
                MediaOutput::Video(VideoOutput::AccessUnit(unit)) => {
                    self.got.frame_times.push(unit.capture_time);
                    let units = split_avcc(&unit.data).expect("lengths add up");
                    self.frame(&units, unit.is_idr());
                }
                MediaOutput::Video(VideoOutput::RequestKeyFrame(_)) => {
                    if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(self.video, None) {
                        stream.request_keyframe(KeyframeRequestKind::Pli);
                    }
                }
                MediaOutput::Audio(AudioOutput::Packet(packet)) => {
                    self.got.audio_times.push((packet.rtp_timestamp / 960, packet.capture_time));
                    self.got.audio.push(packet.data.to_vec());
                }
                _ => {}
            }
        }
    }

    fn data(&mut self, data: MediaData) {
        self.got.reports |= data.last_sender_info.is_some();
        if data.mid != self.video {
            self.got.audio.push(data.data.to_vec());
            return;
        }
        let units = split_annex_b(&data.data);
        let parameter_sets = units.iter().any(|unit| nal_type(unit) == 7);
        self.frame(&units, parameter_sets);
    }

    fn frame(&mut self, units: &[&[u8]], parameter_sets: bool) {
        self.got.frames.push(Seen {
            number: frame_number(units).unwrap_or_else(|| {
                let types: Vec<_> = units.iter().map(|unit| (nal_type(unit), unit.len())).collect();
                panic!("a picture without its number after {:?}: {types:?}", self.got.frames.last())
            }),
            idr: is_idr(units),
            hash: slice_hash(units),
            parameter_sets,
        });
    }

    fn received(&mut self, datagram: &[u8], source: SocketAddr) {
        if let Ok(contents) = datagram.try_into() {
            let receive = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
            self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
        }
    }

    /// Receives for so long.
    async fn run(mut self, length: Duration) -> Got {
        let end = Instant::now() + length;
        let mut ask = self.ask_every.map(|every| Instant::now() + every);
        let mut buffer = vec![0; 2000];
        loop {
            let timeout = match self.rtc.poll_output().unwrap() {
                Output::Transmit(transmit) => {
                    let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                    continue;
                }
                Output::Event(event) => {
                    self.event(event);
                    continue;
                }
                Output::Timeout(timeout) => timeout,
            };
            let now = Instant::now();
            if now >= end {
                return self.got;
            }
            if let Some((due, every)) = ask.zip(self.ask_every)
                && due <= now
            {
                ask = Some(now + every);
                if let Some(mut writer) = self.rtc.writer(self.video) {
                    // Before the first packet there is no stream to ask.
                    let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
                }
                continue;
            }
            // What has come is read before it is given up.
            if let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) {
                self.received(&buffer[..length], source);
                continue;
            }
            let due = self.stack.as_ref().and_then(MediaReceiver::poll_timeout);
            if let Some(stack) = &mut self.stack
                && due.is_some_and(|due| due <= now)
            {
                stack.handle_timeout(now);
                self.drain();
                continue;
            }
            if timeout <= now {
                self.rtc.handle_input(Input::Timeout(now)).unwrap();
                continue;
            }
            let wake = timeout.min(end).min(ask.unwrap_or(end)).min(due.unwrap_or(end));
            tokio::select! {
                () = sleep_until(TokioInstant::from_std(wake)) => {}
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, source) = received.unwrap();
                    self.received(&buffer[..length], source);
                }
            }
        }
    }
}

/// Plays for `length` to a viewer; what was sent and what came.
async fn play(settings: Settings, length: Duration, ask_every: Option<Duration>) -> (Sent, Got) {
    play_to(None, settings, length, ask_every).await
}

async fn play_to(
    stack: Option<MediaReceiver>,
    settings: Settings,
    length: Duration,
    ask_every: Option<Duration>,
) -> (Sent, Got) {
    let mut clips = Vec::new();
    for &(width, height) in &settings.sizes {
        clips.push(VideoClip::made(width, height, settings.picture).await.unwrap());
    }
    let media = Arc::new(Media::new(clips, opus_packets(settings.sound).await.unwrap()));
    let sent = Arc::new(Mutex::new(Sent::default()));
    let (mut viewer, offer, pending) = Viewer::new(stack).await;
    let session = Session::accept(&offer, &settings, 0, media, sent.clone()).await.unwrap();
    viewer.ask_every = ask_every;
    let answer = SdpAnswer::from_sdp_string(&session.answer).unwrap();
    viewer.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    viewer.rtc.add_remote_candidate(Candidate::from_sdp_string(&session.candidate).unwrap());
    let (commands, receiver) = mpsc::channel(4);
    let candidate = Candidate::host(viewer.local, "udp").unwrap();
    commands.send(Command::Candidate(candidate.to_sdp_string())).await.unwrap();
    let playing = tokio::spawn(session.run(receiver));
    let got = viewer.run(length).await;
    drop(commands);
    playing.await.unwrap().unwrap();
    let sent = sent.lock().unwrap().clone();
    (sent, got)
}

/// All that came is what was sent, from the first frame that came and without holes.
fn assert_same(sent: &Sent, got: &Got, at_least: usize) {
    let first = got.frames.first().expect("frames came").number;
    for (seen, sent) in got.frames.iter().zip(&sent.frames[first as usize..]) {
        let expected = Seen {
            number: sent.number,
            idr: sent.idr,
            hash: sent.hash.clone(),
            // In front of every IDR.
            parameter_sets: sent.idr,
        };
        assert_eq!(*seen, expected);
    }
    let (came, played) = (got.frames.len(), sent.frames.len());
    assert!(came >= at_least && came + first as usize + 60 > played, "{came} of {played} from {first}");
}

#[tokio::test]
async fn every_frame_arrives_and_packets_of_sound_with_them() {
    let (sent, got) = play(Settings::default(), Duration::from_secs(4), None).await;
    assert!(sent.connected);
    assert_same(&sent, &got, 60);
    assert!(got.frames[0].idr);
    assert!(got.audio.len() > 100 && got.audio.len() as u64 <= sent.audio_packets);
    assert!(got.reports, "sender reports came");
    // Numbers count, and times increase with them.
    assert!(sent.frames.iter().enumerate().all(|(at, frame)| frame.number == at as u64));
    assert!(sent.frames.is_sorted_by(|a, b| a.at <= b.at));
    assert!(sent.frames.iter().all(|frame| frame.at <= SystemTime::now()));
}

#[tokio::test]
async fn a_key_frame_comes_when_it_is_asked_for() {
    let ask = Some(Duration::from_millis(700));
    let (sent, got) = play(Settings::default(), Duration::from_secs(5), ask).await;
    assert_same(&sent, &got, 60);
    assert!(sent.key_frame_requests >= 4, "{} requests", sent.key_frame_requests);
    let idrs: Vec<u64> = got.frames.iter().filter(|frame| frame.idr).map(|frame| frame.number).collect();
    let unasked = got.frames.len() / GROUP + 1;
    assert!(idrs.len() > unasked + 1, "IDR at {idrs:?}");
}

#[tokio::test]
async fn nothing_is_missing_behind_a_bad_network() {
    let impairment = Impairment {
        drop: 0.03,
        duplicate: 0.02,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(3),
        ..Impairment::default()
    };
    let settings =
        Settings { network: Network::new(impairment), seed: 7, notes_packets: true, ..Settings::default() };
    let (sent, got) = play(settings, Duration::from_secs(8), Some(Duration::from_secs(2))).await;
    assert!(sent.datagrams_dropped > 10, "{} dropped", sent.datagrams_dropped);
    assert_same(&sent, &got, 150);
    let lost_sound = sent.audio_packets - got.audio.len() as u64;
    assert!(lost_sound > 0 && lost_sound < sent.audio_packets / 5, "sound is not repeated: {lost_sound}");
    // Of whatever came it is known when it went out; of no frame of which nothing was sent.
    assert!(got.frames.iter().all(|seen| sent.packets.contains_key(&seen.number)));
    assert!(sent.packets.keys().all(|number| *number < sent.frames.len() as u64));
}

#[tokio::test]
async fn the_size_changes_with_the_clip() {
    let settings = Settings { sizes: vec![(640, 360), (320, 240)], clip_seconds: 1, ..Settings::default() };
    let (sent, got) = play(settings, Duration::from_secs(4), None).await;
    assert_same(&sent, &got, 60);
    let changes = sent.frames.windows(2).filter(|pair| pair[0].width != pair[1].width).count();
    assert!(changes >= 2, "{changes} changes");
    for pair in sent.frames.windows(2) {
        assert!(pair[0].width == pair[1].width || pair[1].idr, "a new size starts with an IDR");
    }
}

#[tokio::test]
async fn answers_only_what_it_has() {
    for (answering, video, audio) in [
        (Answering::AudioOnly, false, true),
        (Answering::VideoOnly, true, false),
        (Answering::Vp8Only, false, true),
    ] {
        let settings = Settings { answering, ..Settings::default() };
        let (sent, got) = play(settings, Duration::from_secs(2), None).await;
        assert_eq!(!got.frames.is_empty(), video, "{answering:?}");
        assert_eq!(!got.audio.is_empty(), audio, "{answering:?}");
        assert_eq!((!sent.frames.is_empty(), sent.audio_packets > 0), (video, audio), "{answering:?}");
    }
}

#[tokio::test]
async fn a_master_without_h264_answers_vp8_or_nothing() {
    let (_, offer, _) = Viewer::new(None).await;
    let clip = VideoClip::made(640, 360, Picture::Plain).await.unwrap();
    let media = Arc::new(Media::new(vec![clip], opus_packets(Sound::Tone).await.unwrap()));
    let settings = Settings { answering: Answering::Vp8Only, ..Settings::default() };
    let session = Session::accept(&offer, &settings, 0, media, Arc::default()).await.unwrap();
    assert!(!session.answer.contains("H264"), "{}", session.answer);
    assert!(session.answer.contains("VP8"), "{}", session.answer);
}

#[tokio::test]
async fn the_media_stack_of_the_agent_gets_the_same_at_the_right_time() {
    let impairment = Impairment { drop: 0.03, jitter: Duration::from_millis(5), ..Impairment::default() };
    let settings = Settings {
        network: Network::new(impairment),
        sizes: vec![(640, 360), (320, 240)],
        clip_seconds: 2,
        ..Settings::default()
    };
    let mut config = MediaConfig::default();
    // It is str0m that asks again, in its own time.
    for reorder in [&mut config.video.as_mut().unwrap().reorder, &mut config.audio.as_mut().unwrap().reorder]
    {
        reorder.nack = false;
        reorder.wait_min = reorder.wait_max;
    }
    let stack = MediaReceiver::new(config);
    let (sent, got) = play_to(Some(stack), settings, Duration::from_secs(8), None).await;
    assert!(sent.datagrams_dropped > 10 && got.reports);
    assert_same(&sent, &got, 150);
    let ms = |a: SystemTime, b: SystemTime| {
        a.duration_since(b).map_or_else(|error| -error.duration().as_secs_f64(), |it| it.as_secs_f64()) * 1e3
    };
    // A busy machine writes a frame late, but never early.
    let since_start = |number: u64| Duration::from_micros(number * 1_000_000 / 30);
    let start = sent.frames.iter().map(|frame| frame.at - since_start(frame.number)).min().unwrap();
    for (seen, time) in got.frames.iter().zip(&got.frame_times) {
        let off = ms(*time, start + since_start(seen.number));
        assert!((-5.0..60.0).contains(&off), "frame {} is captured {off} ms after its time", seen.number);
    }
    // Frame and packet 0 were captured at the same moment.
    let video = got.frame_times[0] - since_start(got.frames[0].number);
    let numbers: Vec<u64> = got.audio_times.iter().map(|(number, _)| *number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    let (number, time) = got.audio_times[got.audio_times.len() / 2];
    // str0m does not start its timestamps at random; the first is one wrap above zero.
    let number = number - (1u64 << 32) / 960;
    let skew = ms(time - Duration::from_millis(number * 20), video);
    assert!(skew.abs() < 100.0, "{skew} ms between audio and video");
}
