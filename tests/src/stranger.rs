//! Masters that nobody here wrote (tests/masters): a WebRTC stack of others in a process of its own, which plays what it is
//! given and says on its standard output what it sent, one JSON object a line.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::master::channel::{Access, ensure_channel};
use crate::master::clip::{self, FRAME_RATE, OPUS_PACKET_MS, Picture, Sound, VideoClip, opus_packets};
use crate::nal::{Nal, split_annex_b};

/// Seconds of video; a case takes less.
const SECONDS: u64 = 60;
/// An access unit delimiter (ITU-T H.264 section 7.3.2.4) that allows for all slice types.
const DELIMITER: [u8; 2] = [9, 0xf0];
/// The same (ITU-T H.265 section 7.3.2.5).
const H265_DELIMITER: [u8; 3] = [35 << 1, 1, 0x50];
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A picture of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub idr: bool,
    /// As [`slice_hash`].
    pub hash: String,
}

/// What a stranger plays.
pub struct Files {
    /// An Annex B byte stream in which each access unit begins with a delimiter and carries its place in a SEI: `.h264` or
    /// `.h265`.
    pub video: PathBuf,
    /// Ogg Opus with one packet of 20 ms a page.
    pub audio: PathBuf,
    pub pictures: Vec<Shown>,
}

impl Files {
    pub async fn make(folder: &Path) -> Result<Self> {
        let clip = VideoClip::made(320, 240, Picture::Plain).await?;
        let frames: Vec<_> = clip.groups.into_iter().flatten().map(|frame| frame.units).collect();
        let (stream, pictures) = numbered(Nal::H264, &frames)?;
        let (video, audio) = (folder.join("stranger.h264"), folder.join("stranger.ogg"));
        fs::write(&video, stream)?;
        ogg_opus(&audio, opus_packets(Sound::Beeps { stereo: false }).await?)?;
        Ok(Self { video, audio, pictures })
    }

    /// H.265, and G.711 with this law, without any container, which ends in `.mulaw` or `.alaw`.
    pub async fn make_h265_and_g711(folder: &Path, law: &str) -> Result<Self> {
        let stream = clip::h265().await?;
        let mut frames: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
        for unit in split_annex_b(&stream) {
            let frame = frames.last_mut().filter(|frame| !frame.iter().any(|unit| Nal::H265.is_slice(unit)));
            match frame {
                Some(frame) => frame.push(unit.to_vec()),
                None => frames.push(vec![unit.to_vec()]),
            }
        }
        let (stream, pictures) = numbered(Nal::H265, &frames)?;
        let (video, audio) = (folder.join("stranger.h265"), folder.join(format!("stranger.{law}")));
        fs::write(&video, stream)?;
        let sound = clip::g711(law).await?;
        fs::write(&audio, sound.repeat(SECONDS as usize * 8_000 / sound.len().max(1)))?;
        Ok(Self { video, audio, pictures })
    }
}

/// A byte stream of frames, played again from the start, each of which begins with a delimiter and carries its place; and what
/// it shows.
fn numbered(nal: Nal, frames: &[Vec<Vec<u8>>]) -> Result<(Vec<u8>, Vec<Shown>)> {
    let delimiter: &[u8] = match nal {
        Nal::H264 => &DELIMITER,
        Nal::H265 => &H265_DELIMITER,
    };
    let frames = frames.iter().cycle().take((SECONDS * u64::from(FRAME_RATE)) as usize);
    let (mut stream, mut pictures) = (Vec::new(), Vec::new());
    for (number, frame) in (0..).zip(frames) {
        let sei = nal.number_sei(number);
        let slice = frame.iter().position(|unit| nal.is_slice(unit));
        let (sets, slices) = frame.split_at(slice.context("a frame without a slice")?);
        let sets = sets.iter().map(Vec::as_slice);
        let slices: Vec<_> = slices.iter().map(Vec::as_slice).collect();
        for unit in [delimiter].into_iter().chain(sets).chain([&sei[..]]).chain(slices.iter().copied()) {
            stream.extend_from_slice(&START_CODE);
            stream.extend_from_slice(unit);
        }
        let idr = slices.iter().any(|unit| nal.is_key(unit));
        pictures.push(Shown { idr, hash: nal.slice_hash(&slices) });
    }
    Ok((stream, pictures))
}

/// RFC 7845 sections 3 and 5, mono.
fn ogg_opus(path: &Path, packets: Vec<Vec<u8>>) -> Result<()> {
    const SERIAL: u32 = 1;
    let mut writer = PacketWriter::new(BufWriter::new(File::create(path)?));
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(312u16.to_le_bytes());
    head.extend(48_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    writer.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    let tags = b"OpusTags\x05\0\0\0tests\0\0\0\0".to_vec();
    writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    let last = packets.len() - 1;
    for (index, packet) in packets.into_iter().enumerate() {
        let end = if index == last { PacketWriteEndInfo::EndStream } else { PacketWriteEndInfo::EndPage };
        writer.write_packet(packet, SERIAL, end, (index as u64 + 1) * OPUS_PACKET_MS * 48)?;
    }
    Ok(())
}

/// A line of a stranger.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Event {
    /// `ready` (it is the channel's master), `offer`, `connected`, `frame` (given to RTP), `closed`, `ended`, or a state of its
    /// peer connection.
    pub event: String,
    /// Which peer connection, from 1 on in the order of the offers.
    #[serde(default)]
    pub connection: u64,
    /// Of a frame: its place in the file.
    #[serde(default)]
    pub number: usize,
}

/// A running stranger; ends when dropped.
pub struct Stranger {
    child: Child,
    stdin: ChildStdin,
    events: watch::Receiver<Arc<Vec<Event>>>,
    log: PathBuf,
}

impl Stranger {
    /// Starts `command` as the master of `channel`, which is made when it is missing, and waits until it is its master.
    pub async fn start(
        mut command: Command,
        access: &Access,
        channel: &str,
        arguments: &[&str],
        log: PathBuf,
    ) -> Result<Self> {
        ensure_channel(access, channel).await?;
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["--channel", channel])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", &access.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &access.secret_key)
            .env("AWS_REGION", &access.region)
            .env("AWS_DEFAULT_REGION", &access.region)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_ENDPOINT_URL_KINESIS_VIDEO", &access.endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {:?}", command.as_std()))?;
        let stdin = child.stdin.take().context("standard input is piped")?;
        let mut lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        let (sender, events) = watch::channel(Arc::new(Vec::new()));
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(event) = serde_json::from_str(&line) else {
                    tracing::warn!("a stranger says {line:?}");
                    continue;
                };
                sender.send_modify(|events| Arc::make_mut(events).push(event));
            }
        });
        let mut stranger = Self { child, stdin, events, log };
        stranger
            .wait_for("the channel", Duration::from_secs(30), |events| {
                events.iter().any(|event| event.event == "ready")
            })
            .await?;
        Ok(stranger)
    }

    /// What it said so far.
    pub fn events(&self) -> Arc<Vec<Event>> {
        self.events.borrow().clone()
    }

    /// Waits until `condition` holds for what it said; the error shows its log.
    pub async fn wait_for(
        &mut self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&[Event]) -> bool,
    ) -> Result<()> {
        let ended = match timeout(deadline, self.events.wait_for(|events| condition(events))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) => format!("it ended: {:?}", self.child.wait().await?),
            Err(_) => format!("not within {deadline:?}"),
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let said: Vec<_> = self.events().iter().filter(|event| event.event != "frame").cloned().collect();
        bail!("the stranger has not {what}, {ended}; it said {said:?}\n{log}")
    }

    /// Ends the media and leaves the connections: what [`Self::events`] says of frames is final then.
    pub async fn end(&mut self) -> Result<()> {
        self.stdin.write_all(b"end\n").await?;
        self.wait_for("ended", Duration::from_secs(20), |events| {
            events.iter().any(|event| event.event == "ended")
        })
        .await
    }

    /// Lets it close its connections, and looks that it ended well.
    pub async fn close(mut self) -> Result<()> {
        drop(self.stdin);
        let status =
            timeout(Duration::from_secs(20), self.child.wait()).await.context("it does not end")??;
        ensure!(status.success(), "{status}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        Ok(())
    }
}
