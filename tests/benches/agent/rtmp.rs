//! What it costs more to send the same to an RTMP server, too: nginx behind stunnel.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::rtmp::Recorder;
use kvs_ingest_tests::rtmp::follow::arrivals;
use kvs_ingest_tests::rtmp::nginx::Nginx;
use kvs_ingest_tests::rtmp::tls::Stunnel;
use tokio::time::sleep;

use super::figures::{Figures, Meter, quantile};
use super::master::Path;
use super::ours;
use super::plan::{ROUNDS, USUAL};
use super::world::{self, How, WARM, World};

const KEY: &str = "sk_bench";
/// What was there when the measurement began was read all at once.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The stream alone and with a second output, in turn.
pub async fn beside(seconds: u64) {
    let (mut alone, mut both, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for second_output in [round % 2 == 0, round % 2 != 0] {
            if second_output {
                both.push(run(seconds, &mut latencies).await);
            } else {
                alone.push(ours::run(USUAL, false, 1, seconds).await.figures);
            }
        }
    }
    let (alone, both) = (Figures::medians(&alone), Figures::medians(&both));
    println!("{}, medians of {ROUNDS} runs of {seconds} s\n", USUAL.name());
    println!("to the stream alone: {alone}");
    println!("and to RTMPS:        {both}");
    println!(
        "the second output:   {:+.2} CPU s a minute, {:.2} times the CPU",
        both.cpu - alone.cpu,
        both.cpu / alone.cpu
    );
    latencies.sort_by(f64::total_cmp);
    let [p50, p95, most] = [0.5, 0.95, 1.0].map(|part| quantile(&latencies, part));
    println!(
        "from capture to the server, of {} pictures: median {p50:.0} ms, p95 {p95:.0} ms, most {most:.0} ms",
        latencies.len()
    );
}

/// With a second output: milliseconds from the capture of each picture to its arrival are added to `latencies`.
async fn run(seconds: u64, latencies: &mut Vec<f64>) -> Figures {
    let world = World::new().await;
    let master = world.master(1, USUAL, Path::default()).await;
    let folder = world.folder.path();
    let nginx = Nginx::start(&folder.join("nginx"), KEY).await.unwrap();
    let tls = Stunnel::start(&folder.join("stunnel"), nginx.address(), None).await.unwrap();
    let more = format!(
        "  outputs:\n  - name: live\n    rtmp:\n      url: {}\n      streamKeySecretRef: {{name: live, key: key}}\n      \
         caBundleRef: {{name: live, key: ca.pem}}\n",
        tls.url()
    );
    let key = folder.join("key");
    std::fs::write(&key, KEY).unwrap();
    let arguments = [
        format!("--output-stream-key-file=live={}", key.display()),
        format!("--output-ca-bundle=live={}", tls.authority().display()),
    ];
    let authority = world.authority();
    let how = How {
        endpoint: &world.server.tls_url().unwrap(),
        more: &more,
        arguments: &arguments.each_ref().map(String::as_str),
        env: &[("AWS_CA_BUNDLE", authority.to_str().unwrap())],
    };
    let mut agent = world.agent(&binary("kvs-ingest-agent").unwrap(), 0, &how).await;
    world::stored(&mut agent).await;
    sleep(WARM).await;
    let (began, meter) = (SystemTime::now(), Meter::start(&[agent.id().unwrap()]));
    let received = nginx.received().unwrap();
    assert_eq!(received.len(), 1, "one broadcast\n{}\n{}", nginx.log(), agent.log());
    let arrived: BTreeMap<_, _> = arrivals(&received[0], sleep(Duration::from_secs(seconds))).await.unwrap();
    let figures = meter.read().figures;
    let log = agent.log();
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success(), "{log}");
    let sent = master.end().await;
    let arrived: Vec<_> = arrived.into_iter().filter(|(_, at)| *at >= began + AT_ONCE).collect();
    assert!(arrived.len() as u64 >= seconds * 25, "{} pictures arrived\n{log}", arrived.len());
    for (number, at) in &arrived {
        let late = at.duration_since(sent[number].captured).unwrap_or_default();
        latencies.push(late.as_secs_f64() * 1e3);
    }
    world.server.shutdown().await;
    Figures { pictures: arrived.len() as f64 / seconds as f64, ..figures }
}
