//! [`Decoder`]: pictures out of a fragment, by ffmpeg in a process of its own. What a stranger recorded can bring down that one
//! alone: it has a time, a share of memory, and a pipe at each end; and when memory ends it is the first to go.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, sink},
    time::timeout,
};

use super::memory::memory;
use super::split::{Format, pictures};
use crate::{
    error::{ErrorKind, ServiceError},
    ffmpeg,
};

/// How long a fragment may take; with ten times real time one of 20 s takes two.
const WITHIN: Duration = Duration::from_secs(30);
/// The most memory that it may take, in MiB, and what it needs for a small picture. H.265 of 4K takes a third of the most.
const MOST_MIB: u64 = 3 * 1024;
const LEAST_MIB: u64 = 96;
/// Bytes of its pictures together: 100 MB is the service's limit of an answer.
const OUTPUT: u64 = 100_000_000;
/// Bytes of its complaints that are kept. What it says beyond is read and thrown away, for it would wait otherwise.
const SAID: u64 = 4_096;

/// What a picture is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoder {
    pub(crate) format: Format,
    /// 1 to 100.
    pub(crate) quality: u32,
    /// `None`: as it was recorded.
    pub(crate) size: Option<Size>,
}

/// Pixels of a picture. The side that is not given is in proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Both { width: u32, height: u32 },
    Width(u32),
    Height(u32),
}

impl Size {
    /// `WidthPixels` and `HeightPixels`.
    pub(crate) fn of(width: Option<u32>, height: Option<u32>) -> Option<Self> {
        match (width, height) {
            (None, None) => None,
            (Some(width), Some(height)) => Some(Self::Both { width, height }),
            (Some(width), None) => Some(Self::Width(width)),
            (None, Some(height)) => Some(Self::Height(height)),
        }
    }
}

impl Decoder {
    /// Of a JPEG whose quality nobody has asked for.
    pub(crate) const QUALITY: u32 = 80;

    /// The pictures that are shown at these times, in units of 90 kHz since the start of the file; as many as could be decoded.
    ///
    /// # Errors
    /// There is no decoder, or too little memory for it. One that fails gives fewer pictures.
    pub(super) async fn decode(&self, mp4: Bytes, times: &[i64]) -> Result<Vec<Bytes>, ServiceError> {
        let memory_mib = share(memory())?;
        let mut command = ffmpeg::limited(memory_mib, WITHIN.as_secs());
        let mut child = command.args(self.arguments(times)).spawn().map_err(ServiceError::internal)?;
        let (Some(mut input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(ServiceError::internal("a decoder without pipes"));
        };
        let (mut found, mut said) = (Vec::new(), Vec::new());
        let work = async {
            let feed = async move {
                // It may have seen enough before the end.
                let _ = input.write_all(&mp4).await;
            };
            // With the end of what may be read its pipe breaks, and it with that.
            let read = async { output.take(OUTPUT).read_to_end(&mut found).await };
            let listen = keep(&mut errors, SAID, &mut said);
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
                memory_mib,
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
            Some(Size::Both { width, height }) => filters.push(format!("scale={width}:{height}")),
            Some(Size::Width(width)) => filters.push(format!("scale={width}:-1")),
            Some(Size::Height(height)) => filters.push(format!("scale=-1:{height}")),
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

/// MiB that a decoder may take of these bytes: the half, for the server has to live as well.
///
/// # Errors
/// It is too little to decode anything.
fn share(memory: Option<u64>) -> Result<u64, ServiceError> {
    let half = memory.map_or(MOST_MIB, |bytes| (bytes >> 21).min(MOST_MIB));
    match half >= LEAST_MIB {
        true => Ok(half),
        false => Err(ServiceError::new(
            ErrorKind::UnknownOperation,
            format!(
                "GetImages decodes with ffmpeg, which gets half of the memory of kvs-local: {half} MiB, and it takes {LEAST_MIB} \
                 MiB at least. Raise the memory limit of the container to {} MiB or more.",
                2 * LEAST_MIB
            ),
        )),
    }
}

/// Reads to the end, and keeps so many bytes.
async fn keep(from: &mut (impl AsyncRead + Unpin), most: u64, kept: &mut Vec<u8>) {
    if from.take(most).read_to_end(kept).await.is_ok() {
        let _ = tokio::io::copy(from, &mut sink()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_gets_half_of_the_memory_or_says_what_it_lacks() {
        assert_eq!(share(None).unwrap(), MOST_MIB);
        assert_eq!(share(Some(64 << 30)).unwrap(), MOST_MIB);
        assert_eq!(share(Some(1 << 30)).unwrap(), 512);
        assert_eq!(share(Some(192 << 20)).unwrap(), 96);
        let error = share(Some(128 << 20)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnknownOperation);
        assert!(error.message.contains("64 MiB") && error.message.contains("192 MiB"), "{error:?}");
    }

    #[tokio::test]
    async fn a_decoder_that_says_a_lot_is_read_to_its_end() {
        let (mut decoder, mut errors) = tokio::io::duplex(64);
        let says = tokio::spawn(async move { decoder.write_all(&[b'x'; 100_000]).await });
        let mut kept = Vec::new();
        keep(&mut errors, 10, &mut kept).await;
        assert!(says.await.unwrap().is_ok(), "nothing stood in its way");
        assert_eq!(kept, [b'x'; 10]);
    }
}
