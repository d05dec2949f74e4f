//! [`Encoder`]: Opus to AAC, by ffmpeg in a process of its own.

use std::{io::Cursor, time::Duration};

use bytes::Bytes;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    adts::{AacFrame, Adts},
    opus::samples,
};
use crate::ffmpeg;

/// Packets on their way to the process: 80 s of 20 ms, for a hole of a minute is filled at once, and a busy machine is late.
/// Full: the process does not keep up, and the recording goes on with another one.
const PACKETS: usize = 4096;
/// Memory that it may take, in MiB. It needs a tenth.
const MEMORY_MIB: u64 = 256;
/// Seconds of a processor. An hour of sound takes one or two minutes of one.
const SECONDS: u64 = 900;
/// How long it may take for what is left when its input ends. It takes a twentieth of a second unless the machine is busy, and
/// without it the last fragment has no sound.
pub(in crate::storage) const GRACE: Duration = Duration::from_secs(20);
/// A name for the one stream of the file.
const SERIAL: u32 = 1;
/// Samples that a decoder of Opus leaves out at the start (RFC 7845 section 4.2): the encoder's look-ahead.
const PRE_SKIP: u16 = 312;

/// What comes of it.
#[derive(Debug)]
pub(in crate::storage) enum Encoded {
    /// The next frame.
    Frame(AacFrame),
    /// It has ended, and why.
    Ended(String),
}

/// A process that encodes. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::storage) struct Encoder(mpsc::Sender<Bytes>);

impl Encoder {
    /// Starts one. What it encodes comes with its number.
    pub(in crate::storage) fn start(
        number: u64,
        encoded: mpsc::Sender<(u64, Encoded)>,
        tasks: &TaskTracker,
    ) -> Self {
        let (packets, waiting) = mpsc::channel(PACKETS);
        tasks.spawn(async move {
            let why = run(number, waiting, &encoded).await.unwrap_or_else(|error| error);
            // Nobody waits for it when the session has ended.
            let _ = encoded.send((number, Encoded::Ended(why))).await;
        });
        Self(packets)
    }

    /// `false`: it does not keep up, or has ended.
    pub(in crate::storage) fn push(&self, packet: Bytes) -> bool {
        self.0.try_send(packet).is_ok()
    }
}

/// Runs one until its input ends; says why it ended.
async fn run(
    number: u64,
    mut packets: mpsc::Receiver<Bytes>,
    encoded: &mpsc::Sender<(u64, Encoded)>,
) -> Result<String, String> {
    let mut command = ffmpeg::limited(MEMORY_MIB, SECONDS);
    // Nothing is looked ahead and nothing held back: a frame comes as soon as it is complete.
    command.args(["-v", "error", "-nostdin", "-threads", "1", "-fflags", "nobuffer", "-probesize", "32"]);
    command.args(["-analyzeduration", "0", "-c:a", "libopus", "-f", "ogg", "-i", "pipe:0"]);
    command.args(["-c:a", "aac", "-b:a", "96k", "-ar", "48000", "-ac", "2", "-threads", "1"]);
    command.args(["-f", "adts", "-flush_packets", "1", "pipe:1"]);
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let (Some(mut input), Some(mut output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("a process without pipes".to_owned());
    };
    let feed = async move {
        let mut pages = Pages::new()?;
        let mut first = true;
        while let Some(packet) = packets.recv().await {
            let page = pages.page(&packet)?;
            if input.write_all(&page).await.is_err() {
                // The process says why.
                return Ok(false);
            }
            if std::mem::take(&mut first) {
                tracing::debug!(encoder = number, "sound is being encoded");
            }
        }
        Ok::<_, std::io::Error>(true)
    };
    let read = async {
        let mut adts = Adts::default();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = output.read(&mut buffer).await.map_err(|error| error.to_string())?;
            if length == 0 {
                return Ok::<_, String>(());
            }
            for frame in adts.push(&buffer[..length])? {
                if encoded.send((number, Encoded::Frame(frame))).await.is_err() {
                    return Ok(());
                }
            }
        }
    };
    let mut said = Vec::new();
    let mut errors = errors.take(4_096);
    tokio::pin!(read);
    let listen = async { errors.read_to_end(&mut said).await };
    tokio::pin!(listen);
    tokio::select! {
        fed = feed => {
            if !fed.map_err(|error| error.to_string())? {
                let _ = timeout(GRACE, listen).await;
                return Err(format!("it reads no more: {}", String::from_utf8_lossy(&said).trim()));
            }
            // What is left of the sound.
            let _ = timeout(GRACE, read).await;
            Ok("its input ended".to_owned())
        }
        done = &mut read => {
            done?;
            let _ = timeout(GRACE, listen).await;
            Err(format!("it ended: {}", String::from_utf8_lossy(&said).trim()))
        }
    }
}

/// Ogg Opus (RFC 7845), a page for each packet.
struct Pages {
    writer: PacketWriter<'static, Cursor<Vec<u8>>>,
    samples: u64,
}

impl Pages {
    fn new() -> std::io::Result<Self> {
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend(PRE_SKIP.to_le_bytes());
        head.extend(48_000_u32.to_le_bytes());
        head.extend([0, 0, 0]);
        let mut writer = PacketWriter::new(Cursor::new(Vec::new()));
        writer.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        let tags = b"OpusTags\x09\0\0\0kvs-local\0\0\0\0".to_vec();
        writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { writer, samples: 0 })
    }

    /// The bytes up to the end of this packet.
    fn page(&mut self, packet: &Bytes) -> std::io::Result<Vec<u8>> {
        self.samples += u64::from(samples(packet).unwrap_or(0));
        self.writer.write_packet(packet.to_vec(), SERIAL, PacketWriteEndInfo::EndPage, self.samples)?;
        let written = self.writer.inner_mut();
        written.set_position(0);
        Ok(std::mem::take(written.get_mut()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::sound::{adts::SAMPLES, grid::Grid};

    /// 20 ms of silence in stereo, as libopus encodes it.
    const SILENCE: Bytes = Bytes::from_static(&[31 << 3 | 1 << 2, 0xFF, 0xFE]);

    /// What is concealed, and what a stranger made up, comes out as long as it went in: no frame is off because of it.
    #[tokio::test(flavor = "multi_thread")]
    async fn sound_is_as_long_as_it_was() {
        if !ffmpeg::is_there() {
            return;
        }
        let tasks = TaskTracker::new();
        let (sender, mut encoded) = mpsc::channel(16);
        let encoder = Encoder::start(7, sender, &tasks);
        let mut grid = Grid::default();
        let made_up = Bytes::from((0..120).map(|i: u32| (i * 89 % 251) as u8 | 0x80).collect::<Vec<_>>());
        let mut at = 0;
        for step in 0..100 {
            let packet = match step % 10 {
                3 => [&[31 << 3][..], &made_up].concat().into(),
                6 => [&[9 << 3][..], &made_up].concat().into(),
                _ => SILENCE,
            };
            let length = i64::from(samples(&packet).unwrap());
            if step % 7 != 5 {
                for packet in grid.push(at, &packet) {
                    assert!(encoder.push(packet));
                }
            }
            at += length;
        }
        let wanted = grid.end().div_ceil(SAMPLES.into());
        drop(encoder);
        let mut frames = 0;
        loop {
            let next = timeout(Duration::from_secs(60), encoded.recv()).await.unwrap();
            let Some((number, Encoded::Frame(frame))) = next else {
                assert!(matches!(next, Some((7, Encoded::Ended(why))) if why == "its input ended"));
                break;
            };
            assert_eq!((number, frame.config), (7, [0x11, 0x90]));
            frames += 1;
        }
        // one more in front, and the one at the end may be of samples that Opus leaves out
        assert!((wanted..=wanted + 2).contains(&frames), "{frames} frames of {wanted}");
    }
}
