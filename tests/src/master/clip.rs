//! What the synthetic master plays: H.264 and Opus made by ffmpeg once and kept under the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::agent::target;
use crate::nal::{nal_type, split_annex_b};

/// Frames a second of every clip.
pub const FRAME_RATE: u32 = 30;
/// Frames from one IDR to the next, unless a key frame is asked for.
pub const GROUP: usize = 60;
/// Groups in a clip.
const GROUPS: usize = 6;

/// One access unit: NAL units without start codes, parameter sets in front of an IDR.
#[derive(Clone, Debug)]
pub struct Frame {
    pub units: Vec<Vec<u8>>,
    pub idr: bool,
    /// It is shown so many frames later than it is decoded; earlier when negative.
    pub lead: i32,
}

/// What the pictures are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Picture {
    /// Cheap to make and to send.
    #[default]
    Plain,
    /// Main profile with two B pictures between others.
    BFrames,
    /// [`Picture::BFrames`] in open groups: each but the first begins with an I picture that is no IDR, with a recovery point SEI,
    /// and the two B pictures behind it refer to the group before.
    OpenGroups,
    /// One IDR; from then on a column of intra blocks that wanders, and a recovery point SEI where it begins anew.
    IntraRefresh,
    /// So much noise that it has this bitrate, in kbit/s.
    Noise(u32),
    /// Noise that stands still: key frames of more than a megabyte at 1920x1080, and next to nothing between them.
    LargeKeyFrames,
}

/// Groups of pictures, each starting with an IDR or a recovery point.
#[derive(Clone, Debug)]
pub struct VideoClip {
    pub width: u32,
    pub height: u32,
    pub groups: Vec<Vec<Frame>>,
    /// Each can be decoded on its own, so that an encoder that is asked for a key frame could have gone on with it.
    pub closed: bool,
    /// Frames that the encoder waits for before it gives away the first.
    pub reorder: u32,
}

/// A folder of made clips, shared by all tests of this target folder.
pub fn cache() -> Result<PathBuf> {
    let folder = target()?.join("test-clips");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A file in the cache that `make` writes, unless an earlier run or another test did. Tests run side by side: each writes a
/// part of its own, and the rename is atomic, so that nobody ever reads half of a file.
pub(crate) async fn cached(name: &str, make: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    static PARTS: AtomicU32 = AtomicU32::new(0);
    let path = cache()?.join(name);
    if !path.exists() {
        let part = PARTS.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{}-{part}.part", std::process::id()));
        make(&part).await?;
        fs::rename(&part, &path)?;
    }
    Ok(path)
}

/// A file of H.264 that moves and has so much noise that it has its bitrate.
pub struct Noisy<'a> {
    /// In the cache, `.mp4`.
    pub name: &'a str,
    /// `1280x720`.
    pub size: &'a str,
    /// Frames a second.
    pub rate: u64,
    pub seconds: u64,
    /// ffmpeg's filter.
    pub noise: &'a str,
    /// From one IDR to the next, in frames.
    pub group: u64,
    /// `2M`, say, in bit/s.
    pub bits: &'a str,
}

impl Noisy<'_> {
    /// Makes it, unless an earlier run did.
    pub async fn file(&self) -> Result<PathBuf> {
        let Self { name, size, rate, seconds, noise, group, bits } = self;
        let source = format!("testsrc2=size={size}:rate={rate}:duration={seconds}");
        let group = group.to_string();
        let mut arguments = vec!["-f", "lavfi", "-i", &source, "-vf", noise];
        arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0"]);
        arguments.extend(["-g", &group, "-keyint_min", &group, "-sc_threshold", "0"]);
        arguments.extend(["-b:v", bits, "-minrate", bits, "-maxrate", bits, "-bufsize", bits, "-f", "mp4"]);
        made(name, &arguments).await
    }
}

/// Runs ffmpeg with `arguments` into `name`, unless an earlier run made it.
async fn made(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    cached(name, async |part| {
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y"])
            .args(arguments)
            .arg(part)
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run ffmpeg")?;
        if !output.status.success() {
            bail!("ffmpeg could not make {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    })
    .await
}

impl VideoClip {
    /// A moving test picture of this size.
    pub async fn made(width: u32, height: u32, picture: Picture) -> Result<Self> {
        let mut source = format!("testsrc2=size={width}x{height}:rate={FRAME_RATE}");
        let mut x264 = "sliced-threads=0:slices=1:aud=1:repeat-headers=1:annexb=1".to_owned();
        let baseline = ["-preset", "ultrafast", "-profile:v", "baseline", "-tune", "zerolatency"];
        let (kind, encoder, reorder) = match picture {
            Picture::Plain => (String::new(), baseline, 0),
            Picture::BFrames => {
                x264.push_str(":bframes=2:b-adapt=0:b-pyramid=none:open-gop=0:weightp=0");
                ("-b-frames".to_owned(), MAIN, 2)
            }
            Picture::OpenGroups => {
                x264.push_str(":bframes=2:b-adapt=0:b-pyramid=none:open-gop=1:weightp=0");
                ("-open".to_owned(), MAIN, 2)
            }
            Picture::IntraRefresh => {
                x264.push_str(":bframes=0:intra-refresh=1:weightp=0");
                ("-refresh".to_owned(), MAIN, 0)
            }
            Picture::LargeKeyFrames => {
                source = format!("color=gray:size={width}x{height}:rate={FRAME_RATE},noise=alls=60");
                x264.push_str(":qp=34");
                ("-still".to_owned(), baseline, 0)
            }
            Picture::Noise(kilobits) => {
                source.push_str(",noise=alls=60:allf=t");
                x264.push_str(&format!(":bitrate={kilobits}:vbv-maxrate={kilobits}:vbv-bufsize={kilobits}"));
                (format!("-{kilobits}k"), baseline, 0)
            }
        };
        let frames = (GROUP * GROUPS).to_string();
        let group = GROUP.to_string();
        let name = format!("video-{width}x{height}-{GROUP}x{GROUPS}{kind}-one-slice.h264");
        let mut arguments = vec!["-f", "lavfi", "-i", &source, "-frames:v", &frames, "-c:v", "libx264"];
        arguments.extend(encoder);
        arguments.extend(["-pix_fmt", "yuv420p", "-g", &group, "-keyint_min", &group]);
        arguments.extend(["-sc_threshold", "0", "-x264-params", &x264, "-f", "h264"]);
        let path = made(&name, &arguments).await?;
        let groups = groups(&fs::read(&path)?)?;
        ensure!(groups.len() == GROUPS, "{} holds {} groups, not {GROUPS}", path.display(), groups.len());
        let closed = !matches!(picture, Picture::OpenGroups | Picture::IntraRefresh);
        Ok(Self { width, height, groups, closed, reorder })
    }
}

/// Of an encoder that takes a little time.
const MAIN: [&str; 6] = ["-preset", "veryfast", "-profile:v", "main", "-tune", "grain"];

/// A moving test picture of 320 by 240 in H.265 as a byte stream: [`GROUP`] pictures of one slice from one IDR to the next,
/// parameter sets in front of each.
pub async fn h265() -> Result<Vec<u8>> {
    let source = format!("testsrc2=size=320x240:rate={FRAME_RATE}");
    let frames = (GROUP * GROUPS).to_string();
    let x265 = format!(
        "keyint={GROUP}:min-keyint={GROUP}:scenecut=0:open-gop=0:bframes=0:repeat-headers=1:aud=0:info=0:slices=1:\
         pools=1:frame-threads=1:log-level=error"
    );
    let mut arguments = vec!["-f", "lavfi", "-i", &source, "-frames:v", &frames, "-c:v", "libx265"];
    arguments.extend(["-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x265-params", &x265, "-f", "hevc"]);
    Ok(fs::read(made(&format!("video-320x240-{GROUP}x{GROUPS}.h265"), &arguments).await?)?)
}

/// [`Sound::Beeps`] in G.711 with the µ-law (`mulaw`) or the A-law (`alaw`), as ffmpeg calls them, 8000 bytes a second. The
/// highest tone is as high as fits.
pub async fn g711(law: &str) -> Result<Vec<u8>> {
    let source = beeps(false).replace("300*pow(1.45\\,floor(t))", "min(3700\\,300*pow(1.45\\,floor(t)))");
    ensure!(source.contains("3700"), "{source} has no tones to limit");
    let name = format!("beeps.{law}");
    Ok(fs::read(made(&name, &["-f", "lavfi", "-i", &source, "-ar", "8000", "-f", law]).await?)?)
}

/// Splits a byte stream with access unit delimiters into groups of frames; the delimiters are left out.
fn groups(stream: &[u8]) -> Result<Vec<Vec<Frame>>> {
    let mut groups: Vec<Vec<Frame>> = Vec::new();
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut finish = |units: &mut Vec<Vec<u8>>| -> Result<()> {
        if units.is_empty() {
            return Ok(());
        }
        let idr = units.iter().any(|unit| nal_type(unit) == 5);
        let frame = Frame { units: std::mem::take(units), idr, lead: 0 };
        if idr || frame.recovers() {
            groups.push(Vec::new());
        }
        groups.last_mut().context("a clip starts with an IDR")?.push(frame);
        Ok(())
    };
    for unit in split_annex_b(stream) {
        match nal_type(unit) {
            9 => finish(&mut units)?,
            // x264's own name says nothing here.
            6 if !is_recovery_point(unit) => {}
            _ => units.push(unit.to_vec()),
        }
    }
    finish(&mut units)?;
    groups.iter_mut().for_each(|group| lead(group));
    Ok(groups)
}

impl Frame {
    /// A decoder that begins here is right, at once or later, as the frame says (recovery point SEI, ITU-T H.264 D.1.8).
    pub fn recovers(&self) -> bool {
        self.units.iter().any(|unit| is_recovery_point(unit))
    }

    /// No other picture refers to it (`nal_ref_idc`): a B picture of these clips.
    pub fn disposable(&self) -> bool {
        self.units.iter().any(|unit| nal_type(unit) == 1 && unit[0] & 0x60 == 0)
    }
}

/// x264 gives the message a unit of its own.
fn is_recovery_point(unit: &[u8]) -> bool {
    matches!(unit, [sei, 6, ..] if nal_type(&[*sei]) == 6)
}

/// B pictures follow the picture that is shown after them.
fn lead(group: &mut [Frame]) {
    let mut behind = 0;
    for frame in group.iter_mut().rev() {
        if frame.disposable() {
            frame.lead = -1;
            behind += 1;
        } else {
            frame.lead = behind;
            behind = 0;
        }
    }
}

/// Milliseconds of one Opus packet of [`opus_packets`].
pub const OPUS_PACKET_MS: u64 = 20;

/// What is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sound {
    /// A stereo tone without end.
    #[default]
    Tone,
    /// Half a second after each full second a beep of 100 ms that begins with a packet, each of [`TONES`] in turn, on a
    /// floor of quiet noise; mono or, twice as quiet on the right, stereo.
    Beeps { stereo: bool },
}

/// Frequencies of the beeps, in Hz: so far apart that a sound that is played 18 % too fast or too slow is known.
pub const TONES: [f64; 8] = [300.0, 435.0, 631.0, 915.0, 1326.0, 1923.0, 2788.0, 4043.0];
/// Packets from one beep to the next, and from a full second to its beep.
const PACKETS_A_BEEP: u64 = 1000 / OPUS_PACKET_MS;
const PACKETS_BEFORE: u64 = 500 / OPUS_PACKET_MS;

/// The tone that begins with the first sample of this packet of [`Sound::Beeps`].
pub fn beep(packet: u64) -> Option<usize> {
    (packet % PACKETS_A_BEEP == PACKETS_BEFORE).then_some((packet / PACKETS_A_BEEP) as usize % TONES.len())
}

/// The filter that makes [`Sound::Beeps`].
pub(crate) fn beeps(stereo: bool) -> String {
    let frequency = format!("{}*pow(1.45\\,floor(t))", TONES[0]);
    let phase = "(t-floor(t)-0.5)";
    let left = format!("0.5*between({phase}\\,0\\,0.1)*sin(2*PI*{frequency}*{phase})+0.0005*(2*random(0)-1)");
    match stereo {
        false => format!("aevalsrc={left}:s=48000:d={}:c=mono", TONES.len()),
        true => format!("aevalsrc={left}|0.5*({left}):s=48000:d={}:c=stereo", TONES.len()),
    }
}

/// Opus packets of 20 ms, played again from the start after 8 or 10 seconds.
pub async fn opus_packets(sound: Sound) -> Result<Vec<Vec<u8>>> {
    let (name, source, channels) = match sound {
        Sound::Tone => ("tone.ogg", "sine=frequency=440:sample_rate=48000:duration=10".to_owned(), "2"),
        Sound::Beeps { stereo: false } => ("beeps-mono.ogg", beeps(false), "1"),
        Sound::Beeps { stereo: true } => ("beeps-stereo.ogg", beeps(true), "2"),
    };
    let opus = ["-c:a", "libopus", "-b:a", "48k", "-frame_duration", "20", "-vbr", "off", "-f", "ogg"];
    let arguments: Vec<_> = ["-f", "lavfi", "-i", &source, "-ac", channels].into_iter().chain(opus).collect();
    let path = made(name, &arguments).await?;
    let mut reader = ogg::PacketReader::new(std::io::Cursor::new(fs::read(path)?));
    let mut packets = Vec::new();
    while let Some(packet) = reader.read_packet()? {
        // The first two packets are OpusHead and OpusTags (RFC 7845 section 3).
        if !packet.data.starts_with(b"Opus") {
            packets.push(packet.data);
        }
    }
    ensure!(packets.len() >= 400, "the sound has only {} packets", packets.len());
    if sound != Sound::Tone {
        // Behind them is only what the encoder held back.
        packets.truncate(TONES.len() * PACKETS_A_BEEP as usize);
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clip_is_groups_that_start_with_an_idr_and_its_parameter_sets() {
        let clip = VideoClip::made(320, 240, Picture::Plain).await.unwrap();
        for group in &clip.groups {
            assert_eq!(group.len(), GROUP);
            assert!(group[0].idr && group[1..].iter().all(|frame| !frame.idr));
            let types: Vec<_> = group[0].units.iter().map(|unit| nal_type(unit)).collect();
            assert_eq!(types, [7, 8, 5]);
        }
    }

    #[tokio::test]
    async fn the_tone_is_packets_of_20_ms() {
        // Configuration number and frame count code of the TOC byte (RFC 6716 section 3.1).
        for sound in [Sound::Tone, Sound::Beeps { stereo: false }, Sound::Beeps { stereo: true }] {
            for packet in opus_packets(sound).await.unwrap() {
                assert_eq!(packet[0] & 3, 0, "one frame a packet");
                assert_eq!(packet[0] & 4 != 0, sound != Sound::Beeps { stereo: false }, "stereo");
            }
        }
        assert_eq!(
            [beep(0), beep(25), beep(26), beep(75), beep(425)],
            [None, Some(0), None, Some(1), Some(0)]
        );
    }

    #[tokio::test]
    async fn groups_without_an_idr_begin_with_a_recovery_point() {
        for picture in [Picture::OpenGroups, Picture::IntraRefresh] {
            let clip = VideoClip::made(320, 240, picture).await.unwrap();
            assert!(!clip.closed);
            for (number, group) in clip.groups.iter().enumerate() {
                assert_eq!((group[0].idr, group[0].recovers()), (number == 0, number > 0), "{picture:?}");
                assert!(group[1..].iter().all(|frame| !frame.idr && !frame.recovers()), "{picture:?}");
                let led = number > 0 && picture == Picture::OpenGroups;
                assert_eq!(group[1].lead < 0 && group[2].lead < 0, led, "{picture:?}");
            }
        }
    }

    #[tokio::test]
    async fn two_b_pictures_lie_between_others() {
        let clip = VideoClip::made(320, 240, Picture::BFrames).await.unwrap();
        for group in &clip.groups {
            let mut shown: Vec<_> = (0i32..).zip(group).map(|(index, frame)| index + frame.lead).collect();
            assert_eq!(shown[..7], [0, 3, 1, 2, 6, 4, 5]);
            shown.sort_unstable();
            assert_eq!(shown, Vec::from_iter(0..GROUP as i32));
        }
        assert_eq!(clip.reorder, 2);
    }
}
