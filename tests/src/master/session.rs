//! One viewer of the synthetic master: str0m, a UDP socket behind an impaired network, and the clip that plays.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use str0m::change::SdpOffer;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{Frequency, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::clip::{FRAME_RATE, Frame, GROUP, Sound, VideoClip, beep};
use super::settings::{Answering, Defect, Settings};
use super::time::{Clock, Link, Moment};
use crate::impair::Impairer;
use crate::nal::{frame_number, nal_type, number_sei, slice_hash};

/// A video frame that was given to RTP.
#[derive(Clone, Debug, PartialEq)]
pub struct SentFrame {
    /// Without holes, for each viewer: from 0, or from where [`Settings::first_number`] lets it begin.
    pub number: u64,
    pub idr: bool,
    /// [`slice_hash`] of its coded slices.
    pub hash: String,
    pub width: u32,
    pub height: u32,
    /// It was captured then.
    pub at: SystemTime,
}

/// A beep that was given to RTP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beep {
    /// Its place in [`super::clip::TONES`].
    pub tone: usize,
    /// Its first sample was captured then.
    pub at: SystemTime,
}

/// What one viewer was sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub viewer: String,
    pub connected: bool,
    /// The first frame was captured then.
    pub started: Option<SystemTime>,
    pub ended: bool,
    pub frames: Vec<SentFrame>,
    pub audio_packets: u64,
    /// With [`Sound::Beeps`].
    pub beeps: Vec<Beep>,
    /// With [`Settings::notes_packets`]: by the number of a frame, when each of its packets went out, first and repeated; not
    /// those that the impaired network swallowed.
    pub packets: BTreeMap<u64, Vec<SystemTime>>,
    /// The most that a frame or packet was written later than it should have been: a busy machine.
    pub late: Duration,
    pub key_frame_requests: u64,
    /// Datagrams that the impaired network swallowed, both directions.
    pub datagrams_dropped: u64,
}

/// What the channel's loop tells a session.
#[derive(Debug)]
pub enum Command {
    Candidate(String),
    /// Ends the session, with these words or with none.
    Leave(Option<Farewell>),
}

/// How a viewer is told that the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// RTCP BYE (RFC 3550 section 6.6) of all sources and DTLS close_notify (RFC 5246 section 7.2.1), as a browser
    /// does.
    Both,
    Bye,
    CloseNotify,
}

impl Farewell {
    /// Whether the datagram is one that is left out, told by its first byte (RFC 7983).
    fn omits(self, datagram: &[u8]) -> bool {
        match datagram.first() {
            Some(20..=63) => self == Farewell::Bye,
            Some(128..=191) => self == Farewell::CloseNotify,
            _ => false,
        }
    }
}

/// What is played.
pub struct Media {
    pub clips: Vec<VideoClip>,
    pub opus: Vec<Vec<u8>>,
    /// Since when, with one encoder for all.
    started: (Instant, SystemTime),
}

impl Media {
    /// What one encoder makes begins now.
    pub fn new(clips: Vec<VideoClip>, opus: Vec<Vec<u8>>) -> Self {
        Self { clips, opus, started: (Instant::now(), SystemTime::now()) }
    }
}

type Datagram = (Vec<u8>, SocketAddr);

/// A session before its first packet: the answer and the candidate to signal, then [`Session::run`].
pub struct Session {
    pub answer: String,
    pub candidate: String,
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    settings: Settings,
    /// The number of its first frame.
    first: u64,
    media: Arc<Media>,
    sent: Arc<Mutex<Sent>>,
    link: Link<Datagram>,
    /// Of the video that was written last.
    video_type: Option<PayloadParams>,
    /// With [`Settings::notes_packets`]: the numbers of frames by their RTP timestamps.
    numbers: HashMap<u32, u64>,
}

impl Session {
    pub async fn accept(
        offer: &str,
        settings: &Settings,
        first: u64,
        media: Arc<Media>,
        sent: Arc<Mutex<Sent>>,
    ) -> Result<Self> {
        let offer =
            SdpOffer::from_sdp_string(&(settings.shape.offer)(offer)).context("the viewer's offer")?;
        let config = RtcConfig::new()
            .set_crypto_provider(str0m_ring::provider())
            .clear_codecs()
            .enable_opus(true, false);
        let config = match settings.answering {
            Answering::Vp8Only => config.enable_vp8(true),
            _ => config.enable_h264(true),
        };
        let config = match settings.time.reports_every {
            None => config,
            Some(every) => config.set_rtcp_report_interval_audio(every).set_rtcp_report_interval_video(every),
        };
        let start = Instant::now() + settings.time.clock_ahead;
        let mut rtc = config.set_send_buffer_video(2000).build(start);
        let socket = UdpSocket::bind((settings.address, 0)).await?;
        let local = socket.local_addr()?;
        let candidate = Candidate::host(local, "udp")?;
        rtc.add_local_candidate(candidate.clone());
        let answer = rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        let answer = match settings.answering {
            Answering::AudioOnly => inactive(&answer, "video"),
            Answering::VideoOnly => inactive(&answer, "audio"),
            Answering::Both | Answering::Vp8Only => answer,
        };
        let answer = match settings.defect {
            Defect::ParameterSetsInAnswer => with_parameter_sets(&answer, &media.clips[0]),
            _ => answer,
        };
        Ok(Self {
            answer: (settings.shape.answer)(&answer),
            candidate: candidate.to_sdp_string(),
            rtc,
            socket,
            local,
            settings: settings.clone(),
            first,
            media,
            sent,
            link: Link::new(settings.time.slow_key_frames),
            video_type: None,
            numbers: HashMap::new(),
        })
    }

    /// Plays until the viewer is gone or the command channel is closed.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<()> {
        let mut weather = self.settings.network.weather();
        let mut outward = Impairer::<Datagram>::new(weather.impairment, self.settings.seed);
        let mut inward = Impairer::<Datagram>::new(weather.impairment, self.settings.seed + 1);
        let mut player = Player::default();
        let mut buffer = vec![0; 2000];
        loop {
            let now = self.settings.network.weather();
            if now.rebound != weather.rebound {
                // str0m goes on believing in its own address, as one behind a NAT does.
                self.socket = UdpSocket::bind((self.settings.address, 0)).await?;
            }
            outward.set(now.impairment);
            inward.set(now.impairment);
            weather = now;
            let timeout = match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    let mut datagram = (transmit.contents.to_vec(), transmit.destination);
                    if self.settings.defect == Defect::Undecryptable && self.is_video(&datagram.0) {
                        datagram.0.last_mut().into_iter().for_each(|byte| *byte ^= 0xff);
                    }
                    if let Some(datagram) = self.link.enter(datagram) {
                        outward.enter(datagram, Instant::now());
                    }
                    continue;
                }
                Output::Event(event) => {
                    if !self.event(event, &mut player) {
                        return Ok(());
                    }
                    continue;
                }
                Output::Timeout(timeout) => timeout - self.settings.time.clock_ahead,
            };
            for (datagram, at) in self.link.leave(Instant::now()) {
                outward.enter(datagram, at);
            }
            while let Some((datagram, to)) = outward.leave(Instant::now()) {
                // A full socket buffer is loss like any other.
                let _ = self.socket.try_send_to(&datagram, to);
                self.note(&datagram);
            }
            self.sent.lock().expect("not poisoned").datagrams_dropped = outward.dropped() + inward.dropped();
            let now = Instant::now();
            // From here one mutation, then back to polling.
            if let Some((datagram, source)) = inward.leave(now) {
                self.receive(&datagram, source)?;
                continue;
            }
            if self.play(&mut player, now)? {
                // Each by itself: what waits together goes out in the order of its wall clock, which is not that of decoding;
                // and the link is to have the packets of one frame, and no others with them.
                self.rtc.handle_input(Input::Timeout(self.sender_time(now)))?;
                continue;
            }
            if timeout <= now {
                self.rtc.handle_input(Input::Timeout(self.sender_time(now)))?;
                continue;
            }
            let due =
                [Some(timeout), outward.next(), inward.next(), player.due()].into_iter().flatten().min();
            tokio::select! {
                () = sleep_until(TokioInstant::from_std(due.unwrap_or(timeout))) => {}
                received = self.socket.recv_from(&mut buffer) => if let Ok((length, source)) = received {
                    inward.enter((buffer[..length].to_vec(), source), Instant::now());
                },
                command = commands.recv() => match command {
                    Some(Command::Candidate(text)) => match Candidate::from_sdp_string(&text) {
                        Ok(candidate) => self.rtc.add_remote_candidate(candidate),
                        Err(error) => tracing::warn!("master: candidate {text:?}: {error}"),
                    },
                    Some(Command::Leave(Some(farewell))) => return self.leave(farewell),
                    Some(Command::Leave(None)) | None => return Ok(()),
                },
            }
        }
    }

    /// A packet of the payload type of video (RFC 7983 section 7, RFC 5761 section 4).
    fn is_video(&self, datagram: &[u8]) -> bool {
        self.video_type.is_some_and(|video| has_type(datagram, video.pt()))
    }

    /// That this went out, when it is asked for. A repeated packet has the timestamp of the first (RFC 4588 section 4).
    fn note(&self, datagram: &[u8]) {
        let repeated = self.video_type.and_then(|video| video.resend());
        if !self.settings.notes_packets
            || !self.is_video(datagram) && !repeated.is_some_and(|pt| has_type(datagram, pt))
        {
            return;
        }
        let timestamp = datagram.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        if let Some(number) = timestamp.and_then(|timestamp| self.numbers.get(&timestamp)) {
            let mut sent = self.sent.lock().expect("not poisoned");
            sent.packets.entry(*number).or_default().push(SystemTime::now());
        }
    }

    /// Sends what there is to say at the end. No network swallows it.
    fn leave(mut self, farewell: Farewell) -> Result<()> {
        let now = self.sender_time(Instant::now());
        self.rtc.close()?;
        // One round for each layer; the clock stands still meanwhile.
        for _ in 0..10 {
            self.rtc.handle_input(Input::Timeout(now))?;
            loop {
                match self.rtc.poll_output()? {
                    Output::Transmit(transmit) if farewell.omits(&transmit.contents) => {}
                    Output::Transmit(transmit) => {
                        let _ = self.socket.try_send_to(&transmit.contents, transmit.destination);
                    }
                    Output::Event(_) => {}
                    Output::Timeout(_) => break,
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, datagram: &[u8], source: SocketAddr) -> Result<()> {
        let Ok(contents) = datagram.try_into() else { return Ok(()) };
        let receive = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
        self.rtc.handle_input(Input::Receive(self.sender_time(Instant::now()), receive))?;
        Ok(())
    }

    /// What str0m is told: its reports show the time of day of that instant.
    fn sender_time(&self, now: Instant) -> Instant {
        now + self.settings.time.clock_ahead
    }

    /// False when the viewer is gone.
    fn event(&mut self, event: Event, player: &mut Player) -> bool {
        let mut sent = self.sent.lock().expect("not poisoned");
        match event {
            Event::Connected => {
                sent.connected = true;
                player.start(&self.settings, &self.media);
                sent.started = player.started.map(|(_, system)| system);
            }
            Event::MediaAdded(added) => match added.kind {
                MediaKind::Video => player.video = Some(added.mid),
                MediaKind::Audio => player.audio = Some(added.mid),
            },
            Event::KeyframeRequest(_) => {
                sent.key_frame_requests += 1;
                player.key_frame_wanted = !self.settings.one_encoder;
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                sent.ended = true;
                return false;
            }
            _ => {}
        }
        true
    }

    /// Writes the frame or packet that is due; false when none is.
    fn play(&mut self, player: &mut Player, now: Instant) -> Result<bool> {
        let video = self.settings.answering.has_video() && self.settings.sends_video;
        let audio = self.settings.answering.has_audio() && self.settings.sends_audio;
        if video && let Some(mid) = player.video.filter(|_| player.video_due().is_some_and(|due| due <= now))
        {
            self.late(player.video_due(), now);
            self.play_frame(player, mid)?;
            return Ok(true);
        }
        if audio && let Some(mid) = player.audio.filter(|_| player.audio_due().is_some_and(|due| due <= now))
        {
            self.late(player.audio_due(), now);
            self.play_packet(player, mid)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn late(&self, due: Option<Instant>, now: Instant) {
        let late = due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let mut sent = self.sent.lock().expect("not poisoned");
        sent.late = sent.late.max(late);
    }

    fn play_frame(&mut self, player: &mut Player, mid: Mid) -> Result<()> {
        let clip = match self.settings.clip_seconds {
            0 => 0,
            seconds => (player.frames / u64::from(FRAME_RATE) / seconds) as usize % self.media.clips.len(),
        };
        let media = self.media.clone();
        let Some((moment, frame, size)) = player.next(&media.clips, clip) else { return Ok(()) };
        let profile = if media.clips[clip].reorder > 0 { Some(MAIN) } else { None };
        self.video_type = self.payload(mid, Codec::H264, profile);
        if let Some(video) = self.video_type {
            let at = player.system(moment.at);
            self.write_frame(mid, video.pt(), (moment, at), player.frames, frame, size)?;
        }
        player.frames += 1;
        Ok(())
    }

    fn play_packet(&mut self, player: &mut Player, mid: Mid) -> Result<()> {
        let Some(moment) = player.audio_clock.as_mut().map(|clock| clock.take(0, 0)) else { return Ok(()) };
        if let Some(pt) = self.payload(mid, Codec::Opus, None).map(|params| params.pt()) {
            let packet = &self.media.opus[player.packets as usize % self.media.opus.len()];
            let time = MediaTime::new(moment.rtp, Frequency::FORTY_EIGHT_KHZ);
            let wallclock = self.sender_time(moment.wallclock);
            if let Some(writer) = self.rtc.writer(mid) {
                writer.write(pt, wallclock, time, packet.clone())?;
            }
            let mut sent = self.sent.lock().expect("not poisoned");
            sent.audio_packets += 1;
            let tone = beep(player.packets).filter(|_| self.settings.sound != Sound::Tone);
            sent.beeps.extend(tone.map(|tone| Beep { tone, at: player.system(moment.at) }));
        }
        player.packets += 1;
        Ok(())
    }

    /// The first of this codec, and of this H.264 profile if one is wanted.
    fn payload(&mut self, mid: Mid, codec: Codec, profile: Option<u32>) -> Option<PayloadParams> {
        let writer = self.rtc.writer(mid)?;
        let is_it = |params: &&PayloadParams| {
            let spec = params.spec();
            let has = spec.format.profile_level_id.map(|id| id >> 16);
            spec.codec == codec && (profile.is_none() || has == profile)
        };
        writer.payload_params().find(is_it).copied()
    }

    fn write_frame(
        &mut self,
        mid: Mid,
        pt: Pt,
        (moment, at): (Moment, SystemTime),
        position: u64,
        frame: &Frame,
        (width, height): (u32, u32),
    ) -> Result<()> {
        let number = self.first + position;
        let sei = number_sei(number);
        let mut units: Vec<&[u8]> = frame.units.iter().map(Vec::as_slice).collect();
        match self.settings.defect {
            Defect::NoKeyFrame if frame.idr => return Ok(()),
            Defect::NoFirstKeyFrame if position == 0 => return Ok(()),
            Defect::ParameterSetsOnce if position < u64::from(FRAME_RATE) => {}
            Defect::NoParameterSets | Defect::ParameterSetsInAnswer | Defect::ParameterSetsOnce => {
                units.retain(|unit| !is_parameter_set(unit));
            }
            Defect::None
            | Defect::NoKeyFrame
            | Defect::NoFirstKeyFrame
            | Defect::Vp8
            | Defect::Undecryptable => {}
        }
        // In front of the first slice, behind the parameter sets.
        let slice = units.iter().position(|unit| matches!(unit[0] & 0x1f, 1 | 5)).unwrap_or(units.len());
        units.insert(slice, &sei);
        debug_assert_eq!(frame_number(&units), Some(number));
        // str0m sends a short unit as it is: its first byte makes this packet a STAP-A.
        let stap_a: &[u8] = &[0x78, 0xff, 0xff, 0x41];
        let hash = slice_hash(&units);
        if self.settings.malformed_frame == Some(position) {
            units.push(stap_a);
        }
        // str0m sends a short unit as it is: the payload descriptor of VP8, begun (X, S) and continued.
        let vp8: [&[u8]; 2] = [&[0x90, 0x80, 0x11, 0x50, 0x02, 0x9d, 0x2a], &[0x80, 0x80, 0x11, 0x77]];
        if self.settings.defect == Defect::Vp8 {
            units = vp8.to_vec();
        }
        let mut data = Vec::new();
        for unit in &units {
            data.extend_from_slice(&[0, 0, 0, 1]);
            data.extend_from_slice(unit);
        }
        let sent = SentFrame { number, idr: frame.idr, hash, width, height, at };
        if self.sent.lock().expect("not poisoned").frames.is_empty()
            && let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None)
        {
            // Everything that NACK may ask for again: the default drops repeats beyond 15 % of the bitrate.
            stream.set_rtx_cache(4096, Duration::from_secs(10), None);
        }
        if self.settings.notes_packets {
            // Of 64 bits the wire has 32.
            self.numbers.insert(moment.rtp as u32, number);
        }
        let wallclock = self.sender_time(moment.wallclock);
        if let Some(writer) = self.rtc.writer(mid) {
            writer.write(pt, wallclock, MediaTime::from_90khz(moment.rtp), data)?;
            self.link.frame(frame.idr);
            self.sent.lock().expect("not poisoned").frames.push(sent);
        }
        Ok(())
    }
}

/// `profile_idc` of main profile (ITU-T H.264 A.2.2), which B pictures need.
const MAIN: u32 = 77;

/// Where the clips stand.
#[derive(Default)]
struct Player {
    /// The same moment twice.
    started: Option<(Instant, SystemTime)>,
    video: Option<Mid>,
    audio: Option<Mid>,
    video_clock: Option<Clock>,
    audio_clock: Option<Clock>,
    frames: u64,
    packets: u64,
    key_frame_wanted: bool,
    clip: usize,
    group: usize,
    frame: usize,
}

impl Player {
    fn start(&mut self, settings: &Settings, media: &Media) {
        let now = Instant::now();
        let started = if settings.one_encoder { media.started } else { (now, SystemTime::now()) };
        self.started = Some(started);
        let clock = |track, rate| Clock::new(track, rate, started.0).joined(now);
        let (video, audio) = (clock(settings.time.video, 90_000), clock(settings.time.audio, 48_000));
        (self.video_clock, self.frames) = (Some(video.0), video.1);
        (self.audio_clock, self.packets) = (Some(audio.0), audio.1);
        let frames = usize::try_from(self.frames).unwrap_or(usize::MAX);
        (self.group, self.frame) = (frames / GROUP, frames % GROUP);
    }

    fn system(&self, at: Instant) -> SystemTime {
        let Some((instant, system)) = self.started else { return SystemTime::now() };
        match at.checked_duration_since(instant) {
            Some(after) => system + after,
            None => system - (instant - at),
        }
    }

    /// The next frame: of the next group when a key frame is wanted or another clip is on.
    fn next<'a>(&mut self, clips: &'a [VideoClip], clip: usize) -> Option<(Moment, &'a Frame, (u32, u32))> {
        let playing = &clips[self.clip];
        // B pictures are never left out: they would be missing among the pictures that are shown. Nor is anything that the
        // next group refers to.
        let whole =
            playing.closed && !playing.groups[self.group % playing.groups.len()][self.frame].disposable();
        if clip != self.clip || whole && std::mem::take(&mut self.key_frame_wanted) && self.frame > 0 {
            self.clip = clip;
            self.group += 1;
            self.frame = 0;
        }
        let clip = &clips[self.clip];
        let group = &clip.groups[self.group % clip.groups.len()];
        let frame = &group[self.frame];
        let moment = self.video_clock.as_mut()?.take(frame.lead, clip.reorder);
        self.frame += 1;
        if self.frame == group.len() {
            self.group += 1;
            self.frame = 0;
        }
        Some((moment, frame, (clip.width, clip.height)))
    }

    fn video_due(&self) -> Option<Instant> {
        self.video_clock.as_ref().map(Clock::due)
    }

    fn audio_due(&self) -> Option<Instant> {
        self.audio_clock.as_ref().map(Clock::due)
    }

    fn due(&self) -> Option<Instant> {
        // A track that is not sent never advances: it must not make the loop spin.
        [self.video_due().filter(|_| self.video.is_some()), self.audio_due().filter(|_| self.audio.is_some())]
            .into_iter()
            .flatten()
            .filter(|due| *due > Instant::now())
            .min()
    }
}

/// RFC 3550 section 5.1.
fn has_type(datagram: &[u8], pt: Pt) -> bool {
    matches!(datagram, [128..=191, second, ..] if second & 0x7f == *pt)
}

fn is_parameter_set(unit: &[u8]) -> bool {
    matches!(nal_type(unit), 7 | 8)
}

/// The answer with the clip's SPS and PPS in each line of H.264 (RFC 6184 section 8.1).
fn with_parameter_sets(sdp: &str, clip: &VideoClip) -> String {
    let units =
        clip.groups.iter().flatten().flat_map(|frame| &frame.units).filter(|unit| is_parameter_set(unit));
    let sets: Vec<_> = units.take(2).map(|unit| STANDARD.encode(unit)).collect();
    let line = |line: &str| match line.contains("profile-level-id=") {
        true => format!("{line};sprop-parameter-sets={}\r\n", sets.join(",")),
        false => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

/// The answer with `a=inactive` in the section of this kind: what a browser without that track says.
fn inactive(sdp: &str, kind: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            inside = media.starts_with(kind);
        }
        out.push_str(if inside && line == "a=sendonly" { "a=inactive" } else { line });
        out.push_str("\r\n");
    }
    out
}
