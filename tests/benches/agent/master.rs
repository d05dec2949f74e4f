//! The master: this program again, in a process of its own, so that its cost is nobody's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use kvs_ingest_tests::impair::Impairment;
use kvs_ingest_tests::local;
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::clip::Picture;
use kvs_ingest_tests::master::network::Network;
use kvs_ingest_tests::master::time::{Time, Track};
use kvs_ingest_tests::master::{Master, Settings};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::plan::Media;

/// Set in the process that is the master: [`Played`] as JSON.
pub const VARIABLE: &str = "KVS_INGEST_BENCH_MASTER";

/// What it plays, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Played {
    /// Of kvs-local, over plain HTTP.
    pub endpoint: String,
    /// Channels `bench-0`, `bench-1` and so on.
    pub channels: usize,
    pub media: Media,
    /// Between it and its viewers.
    pub network: Path,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Path {
    /// Per cent of the datagrams of either direction.
    pub loss: u32,
    /// Of either direction.
    pub delay: Duration,
    /// Whether it is asked when packets were sent.
    pub noted: bool,
}

/// A running master; killed when dropped.
pub struct Playing {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// When a picture was captured, and when each of its packets went out.
pub struct Sent {
    pub captured: SystemTime,
    pub packets: Vec<SystemTime>,
}

pub fn channel(number: usize) -> String {
    format!("bench-{number}")
}

impl Playing {
    /// When this returns it is on its channels.
    pub async fn start(played: &Played) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(VARIABLE, serde_json::to_string(played).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).await.unwrap();
        assert_eq!(line, "ready\n", "the master did not start");
        Self { child, output }
    }

    /// Ends it; what it sent, by the numbers of pictures.
    pub async fn end(mut self) -> BTreeMap<u64, Sent> {
        self.child.stdin.take().unwrap().shutdown().await.unwrap();
        let mut text = String::new();
        self.output.read_to_string(&mut text).await.unwrap();
        let at = |micros: &str| UNIX_EPOCH + Duration::from_micros(micros.parse().unwrap());
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let number = words.next().unwrap().parse().unwrap();
            (number, Sent { captured: at(words.next().unwrap()), packets: words.map(at).collect() })
        };
        text.lines().map(line).collect()
    }
}

/// Plays until whoever started it is gone or closes its standard input; then says of each picture on standard output: number,
/// capture, and when each packet went out, in microseconds since 1970.
pub async fn play(what: &str) {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let played: Played = serde_json::from_str(what).unwrap();
    let Played { endpoint, channels, media, network } = &played;
    let access = Access {
        endpoint: endpoint.clone(),
        region: local::REGION.to_owned(),
        access_key: local::ACCESS_KEY.to_owned(),
        secret_key: local::SECRET_KEY.to_owned(),
    };
    let rate = media.picture.rate();
    let video = Track::new(Duration::from_secs(1) / rate, 90_000 / rate);
    let settings = Settings {
        answering: media.audio.answering(),
        sizes: vec![media.picture.size()],
        picture: Picture::Noise(media.picture.clip_bitrate()),
        sound: media.audio.sound(),
        time: Time { video, ..Time::default() },
        address: own_address(),
        network: Network::new(Impairment {
            drop: f64::from(network.loss) / 100.0,
            delay: network.delay,
            ..Impairment::default()
        }),
        notes_packets: network.noted,
        // An agent that has waited may have offered more than once.
        first_number: network.noted.then_some(0),
        ..Settings::default()
    };
    let start = |number| {
        // Not the same luck for each.
        let settings = Settings { seed: number as u64 + 1, ..settings.clone() };
        let access = &access;
        async move { Master::start(access, &channel(number), settings).await }
    };
    // The first makes the clip.
    let mut masters = vec![start(0).await.unwrap()];
    masters.extend(try_join_all((1..*channels).map(start)).await.unwrap());
    println!("ready");
    let _ = tokio::io::stdin().read(&mut [0; 1]).await;
    let micros = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_micros();
    for sent in masters.iter().flat_map(Master::sent) {
        for frame in &sent.frames {
            let packets = sent.packets.get(&frame.number).into_iter().flatten();
            let packets: Vec<_> = packets.map(|at| format!(" {}", micros(*at))).collect();
            println!("{} {}{}", frame.number, micros(frame.at), packets.concat());
        }
    }
}

/// By which others reach this machine: libnice does not go to a loopback address. Nothing is sent.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Of a network for documentation (RFC 5737): what counts is the default route.
    let address = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    address.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}
