//! A producer between a camera, a disk and a service that all do what a test tells them, in virtual time.
#![allow(dead_code, reason = "each test uses its part")]

pub mod service;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_putmedia::spool::{FileName, Found, SpoolKey, SpooledFragment};
use kvs_putmedia::{
    CloseReason, Event, Frame, MediaTime, Output, Producer, ProducerConfig, Refusal, SessionId, Statistics,
    TrackFormat, TrackKind, Transmit,
};
use service::{Heard, Service};

pub const START_MS: u64 = 1_795_000_000_000;
pub const STEP: Duration = Duration::from_millis(100);
/// Frames of a fragment: two seconds.
pub const GOP: u64 = 20;

/// How the network and the service behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Good,
    /// Connections are refused.
    Absent,
    /// Connections stand and nothing is ever answered.
    Silent,
    /// Nothing is read.
    Stuck,
    /// So many bytes a step.
    Slow(usize),
    /// RECEIVED, and never PERSISTED.
    Forgetful,
    /// Each fragment is answered with this error, until it was said so many times.
    Error(u32, u32),
    /// The fragment that begins with this frame is always answered with this error.
    Hates(u64, u32),
    /// Requests are refused.
    Refuses(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    Good,
    Full,
    /// Operations take so many steps.
    Slow(u32),
}

enum Operation {
    Write(SpoolKey, SpooledFragment),
    Read(SpoolKey),
    Delete(SpoolKey),
}

pub struct Simulation {
    config: ProducerConfig,
    pub producer: Producer,
    pub now: Instant,
    pub network: Network,
    pub disk: Disk,
    pub service: Service,
    pub files: BTreeMap<FileName, SpooledFragment>,
    pub events: Vec<Event>,
    pub connects: u64,
    operations: VecDeque<(u32, Operation)>,
    session: Option<SessionId>,
    ended: bool,
    answers: Vec<(Instant, String)>,
    /// Bytes that the network takes before the next step.
    budget: i64,
    run: u64,
    pub frames: u64,
    pub frame_bytes: usize,
    /// Numbers of frames that went with a process, or never were.
    gone: BTreeSet<u64>,
    /// Frames that processes which were killed had dropped.
    pub dropped: u64,
    pub drained: bool,
}

impl Simulation {
    pub fn new(config: ProducerConfig) -> Self {
        let mut simulation = Self {
            producer: Producer::new(config.clone()),
            config,
            now: Instant::now(),
            network: Network::Good,
            disk: Disk::Good,
            service: Service::default(),
            files: BTreeMap::new(),
            events: Vec::new(),
            connects: 0,
            operations: VecDeque::new(),
            session: None,
            ended: false,
            answers: Vec::new(),
            budget: i64::MAX,
            run: 0,
            frames: 0,
            frame_bytes: 1000,
            gone: BTreeSet::new(),
            dropped: 0,
            drained: false,
        };
        simulation.start();
        simulation
    }

    fn start(&mut self) {
        self.producer =
            Producer::new(ProducerConfig { segment_uid: [self.run as u8; 16], ..self.config.clone() });
        self.producer.add_track(TrackKind::Video);
        let avcc = vec![1, 0x42, 0, 0x1e, 0xff, 0xe0, 1];
        self.producer.set_format(TrackFormat::h264(Bytes::from(avcc), 320, 240));
        if self.config.spool.is_some() {
            self.run = self.files.keys().map(|file| file.run).max().map_or(1, |last| last + 1);
            let found = |(file, record): (&FileName, &SpooledFragment)| Found {
                file: *file,
                head: record.head().clone(),
                bytes: record.file_len(),
            };
            let found = self.files.iter().map(found).collect();
            self.producer.spool_opened(self.run, found, self.now);
        }
        self.pump();
    }

    /// SIGKILL, and a new process. The frames that are lost with it.
    pub fn kill(&mut self) -> Vec<u64> {
        self.check();
        self.operations.clear();
        let numbers = |record: &SpooledFragment| {
            let start = (record.head().start_ms() - START_MS) / STEP.as_millis() as u64;
            start..start + record.head().frames()[0]
        };
        let on_disk: BTreeSet<u64> = self.files.values().flat_map(numbers).collect();
        let mut lost = self.missing();
        lost.retain(|number| !on_disk.contains(number));
        self.gone.extend(&lost);
        self.dropped += self.statistics().frames_dropped[0];
        self.session = None;
        self.answers.clear();
        // The first frame of the next run is an IDR.
        let next = self.frames.next_multiple_of(GOP);
        self.gone.extend(self.frames..next);
        self.frames = next;
        self.start();
        lost
    }

    pub fn statistics(&self) -> Statistics {
        self.producer.statistics()
    }

    /// Seconds with a camera.
    pub fn play(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            let mut data = vec![0x42; self.frame_bytes.max(8)];
            data[..8].copy_from_slice(&self.frames.to_be_bytes());
            let frame = Frame {
                track: TrackKind::Video,
                time: MediaTime::from_millis(START_MS + self.frames * STEP.as_millis() as u64),
                random_access: self.frames.is_multiple_of(GOP),
                data: data.into(),
            };
            self.producer.push_frame(frame, self.now);
            self.frames += 1;
            self.step();
        }
    }

    /// Time without a camera, until `done` or for so many seconds.
    pub fn wait(&mut self, seconds: u64, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..seconds * 10 {
            if done(self) {
                return true;
            }
            self.step();
        }
        done(self)
    }

    /// The end of the stream, with everything as it should be.
    pub fn finish(&mut self) {
        (self.network, self.disk) = (Network::Good, Disk::Good);
        self.producer.finish(self.now);
        assert!(self.wait(3000, |simulation| simulation.drained), "{:?}", self.statistics());
        assert!(self.wait(3000, |simulation| simulation.operations.is_empty()));
        assert_eq!(self.files.len(), 0, "nothing is left on disk");
    }

    fn step(&mut self) {
        self.pump();
        self.now += STEP;
        self.budget = match self.network {
            Network::Slow(bytes) => self.budget.min(0) + bytes as i64,
            _ => i64::MAX,
        };
        let mut times = 0;
        while self.producer.poll_timeout().is_some_and(|at| at <= self.now) {
            self.producer.handle_timeout(self.now);
            self.pump();
            times += 1;
            assert!(times < 20, "a timer that is never done: {:#?}", self.producer);
        }
        self.disk();
        self.answer();
        self.pump();
        self.check();
    }

    /// What must hold at any time.
    pub fn check(&self) {
        let statistics = self.statistics();
        let [frames_in, restored] = [statistics.frames_in[0], statistics.frames_restored[0]];
        let [persisted, dropped] = [statistics.frames_persisted[0], statistics.frames_dropped[0]];
        let kept = self.producer.statistics().buffered_frames[0];
        assert_eq!(
            frames_in + restored,
            persisted + dropped + kept,
            "every frame is somewhere: {statistics:?}"
        );
        if let Some(spool) = &self.config.spool {
            assert!(statistics.spooled_bytes <= spool.bytes, "{statistics:?}");
        }
        // What is being written, the fragment in transmission, one that was just read and an open one.
        let slack = 8 * GOP * (self.frame_bytes as u64 + 100);
        assert!(statistics.buffered_bytes <= self.config.storage_bytes as u64 + slack, "{statistics:?}");
    }

    fn pump(&mut self) {
        loop {
            while let Some(output) = self.producer.poll_output() {
                match output {
                    Output::Connect(start) => self.connect(start.id),
                    Output::Abort(id) => {
                        assert_eq!(self.session.take(), Some(id));
                        self.answers.clear();
                    }
                    Output::Spill(key, record) => self.operation(Operation::Write(key, record)),
                    Output::Load(key) => self.operation(Operation::Read(key)),
                    Output::Delete(key) => self.operation(Operation::Delete(key)),
                    Output::Event(event) => {
                        self.drained |= event == Event::Drained;
                        self.events.push(event);
                    }
                }
            }
            let open = !self.ended && self.network != Network::Stuck;
            let Some(id) = self.session.filter(|_| open && self.budget > 0) else { return };
            match self.producer.poll_transmit(id, self.now) {
                Transmit::Data(data) => {
                    let data = data.concat();
                    self.budget -= data.len() as i64;
                    self.receive(&data);
                }
                Transmit::Wait => return,
                Transmit::End => self.ended = true,
            }
        }
    }

    fn connect(&mut self, id: SessionId) {
        self.connects += 1;
        self.service.open();
        (self.session, self.ended) = (Some(id), false);
        match self.network {
            Network::Absent => self.close(CloseReason::Lost("refused".to_owned())),
            Network::Refuses(status) => {
                let message = String::new();
                let refusal = match status {
                    401 | 403 => Refusal::Denied,
                    404 => Refusal::NotFound,
                    _ => Refusal::Other,
                };
                self.close(CloseReason::Refused { status, error_type: None, message, refusal });
            }
            Network::Silent => {}
            _ => self.producer.handle_connected(id),
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.answers.clear();
        if let Some(id) = self.session.take() {
            self.producer.handle_closed(id, reason, self.now);
        }
    }

    /// The connection breaks.
    pub fn lose_connection(&mut self) {
        self.close(CloseReason::Lost("reset".to_owned()));
        self.pump();
    }

    pub fn expire_credentials_after(&mut self, left: Duration) {
        if let Some(id) = self.session {
            self.producer.handle_expiry(id, self.now + left, self.now);
        }
    }

    fn receive(&mut self, data: &[u8]) {
        for heard in self.service.read(data) {
            let line = |kind: &str, timecode: u64| {
                format!(
                    "{{\"EventType\":\"{kind}\",\"FragmentTimecode\":{timecode},\"FragmentNumber\":\"1\"}}"
                )
            };
            let mut say = |after: u32, line| self.answers.push((self.now + STEP * after, line));
            match heard {
                Heard::Begun(timecode) => {
                    let error = match &mut self.network {
                        Network::Error(error, times) if *times > 0 => {
                            *times -= 1;
                            Some(*error)
                        }
                        Network::Hates(frame, error) if timecode == START_MS + *frame * 100 => Some(*error),
                        _ => None,
                    };
                    if let Some(error) = error {
                        let text = format!(
                            "{{\"EventType\":\"ERROR\",\"ErrorId\":{error},\"FragmentTimecode\":{timecode}}}"
                        );
                        say(1, text);
                    }
                    say(1, line("BUFFERING", timecode));
                }
                Heard::Complete(timecode, frames) => {
                    say(1, line("RECEIVED", timecode));
                    if self.network != Network::Forgetful {
                        self.service.store(timecode, frames);
                        say(3, line("PERSISTED", timecode));
                    }
                }
            }
        }
    }

    fn answer(&mut self) {
        let due: Vec<_> = self.answers.extract_if(.., |(at, _)| *at <= self.now).collect();
        let silent = matches!(self.network, Network::Silent | Network::Absent);
        for (_, line) in due {
            if let (Some(id), false) = (self.session, silent) {
                self.producer.handle_acks(id, line.as_bytes(), self.now);
                if line.contains("ERROR") {
                    // The service ends the session with it.
                    self.answers.clear();
                    break;
                }
            }
        }
        if self.ended && self.answers.is_empty() {
            self.close(CloseReason::Lost("the service ended the session".to_owned()));
        }
    }

    fn operation(&mut self, operation: Operation) {
        let steps = if let Disk::Slow(steps) = self.disk { steps } else { 1 };
        self.operations.push_back((steps, operation));
    }

    fn disk(&mut self) {
        // One after the other, as a thread does it.
        while let Some((steps, _)) = self.operations.front_mut() {
            *steps = steps.saturating_sub(1);
            if *steps > 0 {
                return;
            }
            let Some((_, operation)) = self.operations.pop_front() else { return };
            match operation {
                Operation::Write(key, _) if self.disk == Disk::Full => {
                    self.producer.handle_spilled(key, Err("no space left".to_owned()), self.now);
                }
                Operation::Write(key, record) => {
                    self.files.insert(key.file(), record);
                    self.producer.handle_spilled(key, Ok(()), self.now);
                }
                Operation::Read(key) => {
                    let record =
                        self.files.get(&key.file()).cloned().ok_or_else(|| "no such file".to_owned());
                    self.producer.handle_loaded(key, record, self.now);
                }
                Operation::Delete(key) => drop(self.files.remove(&key.file())),
            }
            self.pump();
        }
    }

    /// Frames that are not stored, without those that went with a process.
    pub fn missing(&self) -> Vec<u64> {
        let stored: BTreeSet<u64> = self.service.stored.values().flatten().copied().collect();
        (0..self.frames).filter(|number| !stored.contains(number) && !self.gone.contains(number)).collect()
    }
}
