//! `cargo xtask demo --rtmp`: a real RTMP server on this machine, and what arrived there.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::state::Stored;
use crate::process::{Running, output};
use crate::rtmp_server;
use crate::say;

/// What the suite `rtmp` starts it with, too.
const CONFIGURATION: &str = include_str!("../../../tests/rtmp/nginx.conf");
/// The usual port; another one is taken when it is in use.
const PORT: u16 = 1935;
/// The name of the output in `examples/live.yaml`.
const OUTPUT: &str = "live";
/// What a broadcast may be shorter than the stream: the server has it when it is connected, and no frame before a key frame.
const BEGINNING: Duration = Duration::from_secs(6);

/// A running nginx with its RTMP module, which records what it receives; ends when dropped.
pub struct RtmpServer {
    running: Running,
    folder: PathBuf,
    /// With the stream key: `rtmp://127.0.0.1:PORT/live/KEY`.
    url: String,
}

impl RtmpServer {
    /// With its files in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let files = rtmp_server::ensure()?;
        let folder = folder.join("rtmp");
        for below in ["received", "temp"] {
            fs::create_dir_all(folder.join(below))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let port = if TcpListener::bind(("127.0.0.1", PORT)).is_ok() { PORT } else { free_port()? };
        // For this run only. Whoever sends with another is refused.
        let key = format!("front-door-{}", process::id());
        let mut text = CONFIGURATION.to_owned();
        for (word, value) in [
            ("module", files.module.display().to_string()),
            ("folder", folder.display().to_string()),
            ("rtmp", format!("127.0.0.1:{port}")),
            ("http", format!("127.0.0.1:{}", free_port()?)),
            ("key", key.clone()),
        ] {
            text = text.replace(&format!("@{word}@"), &value);
        }
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, text)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let mut command = Command::new(files.server);
        command.arg("-p").arg(&folder).arg("-c").arg(&configuration).args(["-e", "stderr"]);
        let running = Running::start("nginx", &mut command, &folder.join("nginx.log"))?;
        let mut server = Self { running, folder, url: format!("rtmp://127.0.0.1:{port}/live/{key}") };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            server.check()?;
            ensure!(Instant::now() < deadline, "nginx does not listen\n{}", server.running.log_tail());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub fn check(&mut self) -> Result<()> {
        self.running.check()
    }

    /// Where to play what it receives.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The arguments that send the agent's output here: what is a Secret in a cluster is a file on a laptop.
    pub fn arguments(&self) -> Result<[String; 2]> {
        let file = self.folder.join("url");
        fs::write(&file, &self.url).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(["--output-url-file".to_owned(), format!("{OUTPUT}={}", file.display())])
    }

    /// Looks at what arrived beside what was stored, and prints it.
    ///
    /// # Errors
    /// Less arrived than there was, or what a decoder complains about.
    pub fn summarize(&self, stored: &Stored) -> Result<()> {
        let folder = self.folder.join("received");
        let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files = files.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.sort();
        let [file] = &files[..] else {
            bail!(
                "{} broadcasts arrived at the RTMP server, not one\n{}",
                files.len(),
                self.running.log_tail()
            );
        };
        let broadcast = Broadcast::read(file)?;
        say!("");
        say!("Received by the RTMP server:");
        say!("  frames      {}", broadcast.frames());
        say!("  duration    {:.1} s", broadcast.duration().as_secs_f64());
        say!("  resolution  {}", broadcast.resolution());
        say!("  codecs      {}", broadcast.codecs());
        say!("  file        {}", file.display());
        // All of it, and no word against it.
        let decode = output(Command::new("ffmpeg").args(["-v", "error", "-xerror", "-i"]).arg(file).args([
            "-fps_mode",
            "passthrough",
            "-f",
            "null",
            "-",
        ]));
        decode.context("what arrived at the RTMP server cannot be decoded")?;
        let codecs = broadcast.codecs();
        ensure!(
            codecs.contains("h264") && codecs.contains("aac"),
            "the broadcast has {codecs}, not h264 and aac"
        );
        let (is, was) = (broadcast.duration(), stored.duration());
        ensure!(is + BEGINNING >= was, "{is:?} arrived at the RTMP server of {was:?} that are stored");
        Ok(())
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What ffprobe finds in a recording of the server's.
#[derive(Debug, Deserialize)]
struct Broadcast {
    streams: Vec<Stream>,
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Stream {
    codec_name: String,
    codec_type: String,
    nb_read_packets: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Format {
    /// Seconds.
    duration: Option<String>,
}

impl Broadcast {
    fn read(file: &Path) -> Result<Self> {
        let entries = "stream=codec_name,codec_type,nb_read_packets,width,height:format=duration";
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-count_packets", "-show_entries", entries, "-of", "json"]).arg(file);
        serde_json::from_str(&output(&mut ffprobe)?).context("ffprobe says something else")
    }

    fn video(&self) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.codec_type == "video")
    }

    fn frames(&self) -> u64 {
        self.video().and_then(|video| video.nb_read_packets.as_ref()?.parse().ok()).unwrap_or(0)
    }

    fn duration(&self) -> Duration {
        let seconds = self.format.duration.as_ref().and_then(|text| text.parse::<f64>().ok());
        Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default()
    }

    fn resolution(&self) -> String {
        let size = self.video().and_then(|video| video.width.zip(video.height));
        size.map_or_else(|| "none".to_owned(), |(width, height)| format!("{width}x{height}"))
    }

    fn codecs(&self) -> String {
        let names: Vec<_> = self.streams.iter().map(|stream| stream.codec_name.as_str()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffprobe_says_is_read() {
        let text = r#"{"programs": [], "streams": [
            {"codec_name": "aac", "codec_type": "audio", "nb_read_packets": "600"},
            {"codec_name": "h264", "codec_type": "video", "width": 640, "height": 480, "nb_read_packets": "301"}],
            "format": {"duration": "10.048000"}}"#;
        let broadcast: Broadcast = serde_json::from_str(text).unwrap();
        assert_eq!((broadcast.frames(), broadcast.resolution().as_str()), (301, "640x480"));
        assert_eq!(
            (broadcast.duration(), broadcast.codecs().as_str()),
            (Duration::from_millis(10_048), "aac, h264")
        );
    }
}
