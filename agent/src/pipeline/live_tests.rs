//! The pipelines with a live broadcast for output, read back with ffprobe from what a server of another's making received.
#![allow(clippy::unwrap_used)]

use super::tests::{BOTH, Bench, frames, pictures, sounds};
use super::*;
use crate::outputs::Output;
use crate::outputs::rtmp::{Rtmp, Settings};
use crate::tracks::Tracks;
use kvs_aws::AwsContext;
use kvs_ingest_api::{AgentStatus, OutputConfig, OutputState, OutputStatus, RtmpConfig};
use kvs_media::{VideoCodec, VideoParameters};
use parking_lot::Mutex;
use rtmp_runtime::server::{ServerConfig, ServerEvent, ServerSession};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Whatever is waited for comes within so long.
const SOON: Duration = Duration::from_secs(20);

/// A server that is back receives within so long, if there is something to begin with.
const BACK: Duration = Duration::from_secs(2);
/// It is away for so long: attempts are as far apart as they ever are by then.
const AWAY: Duration = Duration::from_millis(2_500);

/// What one connection brought.
#[derive(Default)]
struct Received {
    flv: Vec<u8>,
    keys: Vec<String>,
    /// When the first message of media came.
    begun: Option<Instant>,
}

/// A server that takes one connection after the other. It hangs up `at` bytes of the first, and is away for a while then.
struct Server {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    /// When it came back.
    back: Arc<Mutex<Option<Instant>>>,
}

impl Server {
    async fn start(hangs_up_at: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let back: Arc<Mutex<Option<Instant>>> = Arc::default();
        let (all, returned) = (Arc::clone(&received), Arc::clone(&back));
        tokio::spawn(async move {
            let (mut limit, mut listener) = (hangs_up_at, listener);
            while let Ok((stream, _)) = listener.accept().await {
                all.lock().push(Received::default());
                let limit = limit.take();
                serve(stream, &all, limit).await;
                if limit.is_some() {
                    drop(listener);
                    tokio::time::sleep(AWAY).await;
                    listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                    *returned.lock() = Some(Instant::now());
                }
            }
        });
        Self { port, received, back }
    }

    /// Pictures in what connection `number` brought so far.
    fn pictures(&self, number: usize) -> usize {
        self.received.lock().get(number).map_or(0, |it| video_tags(&it.flv))
    }

    /// So many key frames and pictures are in what connection `number` brought.
    async fn has(&self, number: usize, pictures: usize) {
        let begun = Instant::now();
        loop {
            let count = self.pictures(number);
            if count >= pictures {
                return;
            }
            assert!(begun.elapsed() < SOON, "{count} of {pictures} pictures");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, all: &Mutex<Vec<Received>>, limit: Option<usize>) {
    let mut session = ServerSession::new(ServerConfig::default());
    let (mut buffer, mut count) = (vec![0; 1 << 16], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        count += read;
        let (answer, events) = session.handle_data(&buffer[..read]).unwrap();
        for event in events {
            let mut all = all.lock();
            let last = all.last_mut().unwrap();
            match event {
                ServerEvent::Media { flv } => {
                    last.begun.get_or_insert_with(Instant::now);
                    last.flv.extend_from_slice(&flv);
                }
                ServerEvent::Publish { stream_key, .. } => last.keys.push(stream_key),
                _ => {}
            }
        }
        if limit.is_some_and(|limit| count >= limit) || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Pictures in FLV: of its tags, those with AVC NAL units.
fn video_tags(flv: &[u8]) -> usize {
    let (mut rest, mut count) = (flv.get(13..).unwrap_or_default(), 0);
    while let [kind, a, b, c, ..] = *rest {
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let Some(body) = rest.get(11..11 + length) else { break };
        count += usize::from(kind == 9 && body.get(1) == Some(&1));
        rest = rest.get(11 + length + 4..).unwrap_or_default();
    }
    count
}

async fn output(port: u16) -> Arc<Rtmp> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let context = AwsContext::builder().region("eu-central-1").static_credentials("a", "b", None);
    let rtmp = RtmpConfig {
        url: Some(format!("rtmp://127.0.0.1:{port}/live/TOPSECRET")),
        url_file: None,
        stream_key_file: None,
        ca_bundle: None,
        silence: true,
    };
    let settings = Settings::new(OutputConfig { name: "live".to_owned(), required: false, rtmp });
    let output = Rtmp::new(settings, &context.build().await.unwrap(), &Arc::default()).unwrap();
    output.prepare().await.unwrap();
    Arc::new(output)
}

fn pipelines(output: &Arc<Rtmp>) -> Pipelines {
    let outputs = [Arc::clone(output) as Arc<dyn Output>].into_iter().collect();
    Pipelines::new(BOTH, outputs, 64_000, Duration::from_secs(10))
}

fn status(output: &Rtmp) -> OutputStatus {
    let mut status = AgentStatus::default();
    output.describe(&mut status);
    status.outputs.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_receives_every_frame_through_a_change_of_format_and_of_pipelines() {
    let (bench, server) = (Bench::new(), Server::start(None).await);
    let output = output(server.port).await;
    assert_eq!(status(&output).state, OutputState::Waiting);
    let mut first = pipelines(&output);
    let (video, audio) = (pictures(320), sounds(1));
    // Faster than it is captured: it has to be connected before there is a second group of pictures.
    bench.feed(&mut first, 0, &video[..10], &audio[..17]);
    server.has(0, 10).await;
    bench.feed(&mut first, 350, &video, &audio);
    bench.feed(&mut first, 1350, &pictures(640), &audio);
    server.has(0, 70).await;
    let said = status(&output);
    assert_eq!((said.state, said.reason.as_str()), (OutputState::Receiving, "Receiving"), "{}", said.message);
    assert!(said.message.contains(&format!("rtmp://127.0.0.1:{}/live/…", server.port)), "{}", said.message);
    first.finish().await;
    // Another peer connection: the broadcast goes on.
    let mut second = pipelines(&output);
    bench.feed(&mut second, 2500, &video, &audio);
    server.has(0, 100).await;
    second.finish().await;
    output.finish().await;
    let received = server.received.lock();
    assert_eq!((received.len(), &received[0].keys[..]), (1, &["TOPSECRET".to_owned()][..]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("received.flv");
    std::fs::write(&file, &received[0].flv).unwrap();
    assert_eq!(frames(&file, "v:0"), 100);
    assert!(frames(&file, "a:0") > 130);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_made_anew_from_the_next_key_frame_on() {
    let (bench, server) = (Bench::new(), Server::start(Some(20_000)).await);
    let output = output(server.port).await;
    let mut pipelines = pipelines(&output);
    let video = pictures(320);
    bench.feed(&mut pipelines, 0, &video, &sounds(1));
    let begun = Instant::now();
    let failed = loop {
        let said = status(&output);
        if matches!(said.state, OutputState::Interrupted | OutputState::Failed) {
            break said;
        }
        assert!(begun.elapsed() < SOON, "{said:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!format!("{failed:?}").contains("TOPSECRET"), "{failed:?}");
    // The master goes on all the while: there is always something to begin with.
    let sound = sounds(1);
    for second in 1.. {
        bench.feed(&mut pipelines, second * 1000, &video, &sound);
        if server.pictures(1) >= 15 {
            break;
        }
        assert!(begun.elapsed() < SOON, "{:?}", status(&output));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    pipelines.finish().await;
    output.finish().await;
    assert_eq!(status(&output).state, OutputState::Receiving);
    let received = server.received.lock();
    let after = received[1].begun.unwrap() - server.back.lock().unwrap();
    assert!(after < BACK, "it receives {after:?} after its return");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("received.flv");
    std::fs::write(&file, &received[1].flv).unwrap();
    assert!(frames(&file, "v:0") >= 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_do_not_go_out_by_rtmp_are_refused_by_name() {
    let (bench, server) = (Bench::new(), Server::start(None).await);
    let output = output(server.port).await;
    let video = pictures(320).into_iter().map(|(data, parameters)| {
        let parameters = parameters.map(|it| {
            let format = kvs_media::VideoFormat { codec: VideoCodec::H265, ..it.format };
            VideoParameters { format, ..it }
        });
        (data, parameters)
    });
    let outputs = [Arc::clone(&output) as Arc<dyn Output>].into_iter().collect();
    let expected = Tracks { video: Some(VideoCodec::H265), audio: None, ..BOTH };
    let mut pipelines = Pipelines::new(expected, outputs, 64_000, Duration::from_secs(10));
    bench.feed(&mut pipelines, 0, &video.collect::<Vec<_>>(), &[]);
    pipelines.finish().await;
    let said = status(&output);
    assert_eq!((said.state, said.reason.as_str()), (OutputState::Failed, "CodecNotSupported"));
    assert!(said.message.contains("the master sends H265"), "{}", said.message);
    output.finish().await;
    assert!(server.received.lock().is_empty());
}
