//! The parts of the work that nobody can leave out, each alone: what an agent would cost that did nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvs_ingest_tests::certificate;
use kvs_ingest_tests::master::clip::{OPUS_PACKET_MS, Picture, VideoClip, repeated_sound};
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::figures::{Meter, median};
use super::plan::{Part, USUAL};

/// Set in the process that does one part: its name and where it finds the other side.
pub const VARIABLE: &str = "KVS_INGEST_BENCH_FLOOR";
/// Bytes of an RTP packet of video, as the master makes them.
const PACKET: usize = 1_200;
/// Bytes that SRTP adds, and the header.
const AROUND: usize = 28;
/// AAC: 1024 samples at 48 kHz.
const AAC: Duration = Duration::from_nanos(21_333_333);
/// Until what is measured is in step.
const WARM: Duration = Duration::from_millis(500);
/// How often the sound of eight seconds is played to codecs, in a short and in a long run: the difference has no start.
const REPEATED: [u64; 2] = [2, 17];
const SOUND_SECONDS: u64 = 8;
/// Runs of what takes no longer than a second; their median counts.
const TRIES: usize = 3;

/// CPU seconds for each minute of [`USUAL`].
pub async fn cost(part: Part, seconds: u64) -> f64 {
    match part {
        Part::Udp => udp(seconds).await,
        Part::Srtp => srtp().await,
        Part::Decode => codecs(&DECODE).await - codecs(&PARSE).await,
        Part::Encode => codecs(&ENCODE).await - codecs(&DECODE).await,
        Part::Tls => tls(seconds).await,
    }
}

/// Bytes of the pictures of the clip, over and over.
async fn pictures() -> Vec<usize> {
    let (width, height) = USUAL.picture.size();
    let clip = VideoClip::made(width, height, Picture::Noise(USUAL.picture.clip_bitrate())).await.unwrap();
    let size = |units: &[Vec<u8>]| units.iter().map(|unit| unit.len() + 4).sum();
    clip.groups.iter().flatten().map(|frame| size(&frame.units)).collect()
}

/// Calls `send` with the size of each picture at its time, until `ended`.
fn paced(pictures: &[usize], ended: &AtomicBool, mut send: impl FnMut(usize)) {
    let (began, every) = (Instant::now(), Duration::from_secs(1) / USUAL.picture.rate());
    for (number, size) in (0..).zip(pictures.iter().cycle()) {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep((began + every * number).saturating_duration_since(Instant::now()));
        send(*size);
    }
}

/// This program again, doing one part.
fn worker(what: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(VARIABLE, what)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What the process costs while it is at work, which it is from now on.
async fn watch(mut child: Child, seconds: u64) -> f64 {
    sleep(WARM).await;
    let meter = Meter::start(&[child.id().unwrap()]);
    sleep(Duration::from_secs(seconds)).await;
    let cost = meter.read().figures.cpu;
    child.kill().await.unwrap();
    cost
}

async fn udp(seconds: u64) -> f64 {
    let pictures = pictures().await;
    let mut child = worker("udp");
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let video = {
        let (socket, ended) = (socket.try_clone().unwrap(), ended.clone());
        thread::spawn(move || {
            paced(&pictures, &ended, |size| {
                for packet in (0..size).step_by(PACKET) {
                    // Nobody is there any more at the end.
                    let _ = socket.send(&[0; PACKET + AROUND][..(size - packet).min(PACKET) + AROUND]);
                }
            });
        })
    };
    let audio = {
        let ended = ended.clone();
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(OPUS_PACKET_MS));
                let _ = socket.send(&[0; 120 + AROUND]);
            }
        })
    };
    let cost = watch(child, seconds).await;
    ended.store(true, Ordering::Relaxed);
    video.join().unwrap();
    audio.join().unwrap();
    cost
}

/// As fast as it goes, for so many packets as there are in a minute.
async fn srtp() -> f64 {
    let pictures = pictures().await;
    let packets: usize = pictures.iter().map(|size| size.div_ceil(PACKET)).sum();
    let seconds = pictures.len() as f64 / f64::from(USUAL.picture.rate());
    // The packets of sound are small: they count as a tenth each.
    let a_minute = packets as f64 * 60.0 / seconds + 60_000.0 / OPUS_PACKET_MS as f64 / 10.0;
    let size = PACKET.to_string();
    let output = Command::new("openssl")
        .args(["speed", "-mr", "-seconds", "1", "-bytes", &size, "-decrypt", "-evp", "aes-128-gcm"])
        .stderr(Stdio::null())
        .output()
        .await
        .expect("openssl: cargo xtask packages");
    let text = String::from_utf8_lossy(&output.stdout);
    // `+F:0:AES-128-GCM:BYTES A SECOND`
    let line = text.lines().find(|line| line.starts_with("+F:"));
    let rate = line.and_then(|line| line.rsplit(':').next()?.parse::<f64>().ok());
    a_minute * PACKET as f64 / rate.unwrap_or_else(|| panic!("openssl speed said {text:?}"))
}

const PARSE: [&str; 1] = ["fakesink"];
const DECODE: [&str; 2] = ["opusdec", "fakesink"];
const ENCODE: [&str; 3] = ["opusdec", "voaacenc", "fakesink"];

/// CPU seconds for a minute of sound through these elements, without what it takes to start.
async fn codecs(elements: &[&str]) -> f64 {
    let mut files = Vec::new();
    for times in REPEATED {
        files.push(repeated_sound(USUAL.audio.sound(), times).await.unwrap());
    }
    let mut costs = Vec::new();
    for file in &files {
        let mut tries = Vec::new();
        for _ in 0..TRIES {
            tries.push(through(file, elements).await);
        }
        costs.push(median(tries));
    }
    (costs[1] - costs[0]) * 60.0 / ((REPEATED[1] - REPEATED[0]) * SOUND_SECONDS) as f64
}

/// CPU seconds that it takes to play a file of sound into these elements.
async fn through(file: &Path, elements: &[&str]) -> f64 {
    let pipeline = format!("filesrc location={} ! oggdemux ! {}", file.display(), elements.join(" ! "));
    // bash counts in milliseconds what a child took.
    let output = Command::new("bash")
        .args(["-c", "TIMEFORMAT='%U %S'; time gst-launch-1.0 -q \"$@\" > /dev/null 2>&1", "bash"])
        .args(pipeline.split_whitespace())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{pipeline}: {text}");
    text.split_whitespace().map(|word| word.parse::<f64>().unwrap()).sum()
}

async fn tls(seconds: u64) -> f64 {
    let sizes: Vec<_> = pictures().await.iter().map(usize::to_string).collect();
    let folder = tempfile::tempdir().unwrap();
    let issued = certificate::issue(vec!["127.0.0.1".to_owned()]).unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, issued.authority).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).map(Result::unwrap).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let child = worker(&format!("tls {port} {} {}", authority.display(), sizes.join(",")));
    let reader = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
        // Until the other side is killed.
        while matches!(stream.read(&mut [0; 65_536]), Ok(1..)) {}
    });
    let cost = watch(child, seconds).await;
    reader.join().unwrap();
    cost
}

/// One part, until it is killed.
pub fn work(what: &str) {
    let words: Vec<_> = what.split(' ').collect();
    match words[..] {
        ["udp"] => {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            println!("{}", socket.local_addr().unwrap().port());
            let mut buffer = [0; 2048];
            while socket.recv(&mut buffer).is_ok() {}
        }
        ["tls", port, authority, sizes] => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let socket = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
            socket.set_nodelay(true).unwrap();
            let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
            let sizes: Vec<usize> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
            // Frames of sound go out with the picture that follows them.
            let sound = 170 * (Duration::from_secs(1) / USUAL.picture.rate()).as_micros() / AAC.as_micros();
            let frame = vec![0; sizes.iter().max().unwrap() + sound as usize];
            paced(&sizes, &AtomicBool::new(false), |size| {
                stream.write_all(&frame[..size + sound as usize]).unwrap();
                stream.flush().unwrap();
            });
        }
        _ => panic!("no part of the floor: {what}"),
    }
}
