//! [`Decoder`]: pictures out of a fragment, by ffmpeg in a process of its own.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::split::{Format, pictures};
use crate::{error::ServiceError, ffmpeg};

/// How long a fragment may take; with ten times real time one of 20 s takes two.
const WITHIN: Duration = Duration::from_secs(30);
/// Its address space, in KiB. H.265 of 4K takes a third of it.
const MEMORY_KIB: u32 = 3 * 1024 * 1024;
/// Bytes of its pictures together: 100 MB is the service's limit of an answer.
const OUTPUT: u64 = 100_000_000;

/// What a picture is to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decoder {
    pub(super) format: Format,
    /// 1 to 100.
    pub(super) quality: u32,
    /// Pixels; `None`: as it was recorded.
    pub(super) size: Option<(Width, u32)>,
}

/// Width of a picture whose height is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    Pixels(u32),
    /// As the recorded picture has it to its height.
    InProportion,
}

impl Decoder {
    /// The pictures that are shown at these times, in units of 90 kHz since the start of the file; as many as could be decoded.
    ///
    /// # Errors
    /// There is no decoder. One that fails gives fewer pictures.
    pub(super) async fn decode(&self, mp4: Bytes, times: &[i64]) -> Result<Vec<Bytes>, ServiceError> {
        let mut command = ffmpeg::limited(MEMORY_KIB, WITHIN.as_secs());
        let mut child = command.args(self.arguments(times)).spawn().map_err(ServiceError::internal)?;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(ServiceError::internal("a decoder without pipes"));
        };
        let (mut found, mut said) = (Vec::new(), Vec::new());
        let mut output = output.take(OUTPUT);
        let mut errors = errors.take(4_096);
        let work = async {
            let feed = async move {
                // It may have seen enough before the end.
                let _ = input.write_all(&mp4).await;
            };
            let read = async { output.read_to_end(&mut found).await };
            let listen = async { errors.read_to_end(&mut said).await };
            let _ = tokio::join!(feed, read, listen);
            child.wait().await
        };
        let ended = timeout(WITHIN, work).await;
        let reason = match &ended {
            Err(_) => format!("it took more than {} s", WITHIN.as_secs()),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(status)) if status.code() == Some(ffmpeg::NOT_FOUND) => {
                return Err(ffmpeg::missing("GetImages decodes"));
            }
            Ok(Ok(status)) => status.to_string(),
        };
        let pictures = pictures(found.into(), self.format);
        if pictures.len() < times.len() {
            let said = String::from_utf8_lossy(&said);
            let (wanted, found) = (times.len(), pictures.len());
            tracing::warn!(
                wanted,
                found,
                reason,
                said = said.trim(),
                "a fragment could not be decoded to all its pictures"
            );
        }
        Ok(pictures)
    }

    fn arguments(&self, times: &[i64]) -> Vec<String> {
        let wanted: Vec<_> = times.iter().map(|time| format!("eq(pts,{time})")).collect();
        // Numbered anew at a constant rate, for otherwise pictures are repeated to fill the time between them.
        let mut filters = vec![format!("select='{}'", wanted.join("+")), "setpts=N/(25*TB)".to_owned()];
        match self.size {
            None => {}
            Some((Width::Pixels(width), height)) => filters.push(format!("scale={width}:{height}")),
            Some((Width::InProportion, height)) => filters.push(format!("scale=-1:{height}")),
        }
        let mut arguments =
            vec!["-v", "error", "-nostdin", "-threads", "1", "-f", "mp4", "-i", "pipe:0", "-an"];
        arguments.extend(match self.format {
            Format::Jpeg => ["-c:v", "mjpeg"],
            Format::Png => ["-c:v", "png"],
        });
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        if self.format == Format::Jpeg {
            filters.push("format=yuvj420p".to_owned());
            // 1 is the best, 31 the worst
            let scale = 1 + (100 - self.quality.min(100)) * 30 / 99;
            arguments.extend(["-q:v".to_owned(), scale.to_string(), "-qmin".to_owned(), "1".to_owned()]);
        }
        let rest = ["-r", "25", "-threads", "1", "-f", "image2pipe", "pipe:1"];
        arguments.extend(["-vf".to_owned(), filters.join(",")].into_iter().chain(rest.map(str::to_owned)));
        arguments
    }
}
