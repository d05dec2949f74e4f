//! `kvs-local`: KVS on localhost.
#![forbid(unsafe_code)]

use std::{
    io::{IsTerminal, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use kvs_local::{AccessKey, Config, Origin, RelayPorts, Server, SnsUrl, StateTimes};

/// Amazon Kinesis Video Streams on localhost: control plane, signaling, TURN and media ingest in one process.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address of the HTTP and WebSocket listener; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8440", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Folder of everything that is kept
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Also listen with TLS here; the CA to trust is ca.pem in the data folder
    #[arg(long, value_name = "ADDR:PORT")]
    tls_listen: Option<SocketAddr>,
    /// Also serve /metrics, /livez and /readyz here, to everyone who reaches it
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// How the log on standard error is written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Another name or address in the TLS certificate (repeatable)
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// Do not verify signatures
    #[arg(long)]
    no_auth: bool,
    /// A key that callers may sign with (repeatable); default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, value_name = "AKID:SECRET")]
    access_key: Vec<AccessKey>,
    /// Whose a key is (repeatable); of those that are not named it is 000000000000
    #[arg(long, value_name = "AKID=ACCOUNT", value_parser = key_and_account)]
    account: Vec<(String, String)>,
    /// A signaling channel that exists from the start (repeatable)
    #[arg(long, value_name = "NAME")]
    create_channel: Vec<String>,
    /// A page that may call although anybody could: with --no-auth, or the keys of the documentation (repeatable). `null`: pages
    /// of file: and of sandboxed frames, which any web site can make
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Origin>,
    /// Let everyone who reaches the listeners use /_kvs/, which gives keys and all that is stored away
    #[arg(long)]
    console_public: bool,
    /// Folder of the built web page
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// Folder that stands for S3: generated images are files DIR/BUCKET/KEY; default: s3 in the data folder
    #[arg(long, value_name = "DIR")]
    s3_dir: Option<PathBuf>,
    /// Post notifications here, as SNS does to who subscribes by HTTP; they are in files in the data folder's sns as well
    #[arg(long, value_name = "URL")]
    sns_url: Option<SnsUrl>,
    /// Region of the web page and of unsigned requests; signed requests name their own
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    region: String,
    /// Address of the TURN server (UDP, TCP and TLS); relays listen on the same IP
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR:PORT")]
    turn_listen: SocketAddr,
    /// The IP by which clients reach the TURN server and peers its relays, where it is another than --turn-listen's
    #[arg(long, value_name = "IP", visible_aliases = ["turn-external-ip", "external-address"])]
    turn_advertise: Option<IpAddr>,
    /// UDP ports of the TURN server's relays; default: any that is free
    #[arg(long, value_name = "FIRST-LAST")]
    turn_relay_ports: Option<RelayPorts>,
    /// Lifetime of TURN credentials in seconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    ice_ttl: u64,
    /// Seconds without a frame after which a signaling connection is closed
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    signaling_idle: u64,
    /// Seconds that a signaling connection lives; GO_AWAY is sent a minute (or half of it) before
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    signaling_lifetime: u64,
    /// End signaling connections with close code 1001 alone, without GO_AWAY before
    #[arg(long)]
    no_go_away: bool,
    /// PutMedia sessions of one stream at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    put_media_connections: u16,
    /// Seconds that a PutMedia session lives
    #[arg(long, default_value_t = 2700, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    put_media_lifetime: u64,
    /// Seconds that a storage session lives
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    storage_session_lifetime: u64,
    /// Seconds without media of a master after which a storage session ends
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    storage_session_idle: u64,
    /// Hold callers to the service's quotas: rates of calls, TURN allocations and bitrate
    #[arg(long)]
    quotas: bool,
    /// Seconds that a new channel or stream is CREATING, and serves nothing
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    creating_seconds: u64,
    /// Seconds that a changed channel or stream is UPDATING, and takes no other change
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    updating_seconds: u64,
    /// Seconds that a deleted channel or stream is DELETING, and its name is taken
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    deleting_seconds: u64,
}

fn key_and_account(text: &str) -> Result<(String, String), &'static str> {
    match text.rsplit_once('=') {
        Some((key, account)) if !key.is_empty() && kvs_local::model::is_account(account) => {
            Ok((key.to_owned(), account.to_owned()))
        }
        _ => Err("must be a key and its account of twelve digits, like AKID=111122223333"),
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let options = Options::parse();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }

    let mut access_keys = options.access_key;
    if access_keys.is_empty()
        && let (Ok(id), Ok(secret)) =
            (std::env::var("AWS_ACCESS_KEY_ID"), std::env::var("AWS_SECRET_ACCESS_KEY"))
    {
        access_keys.push(AccessKey::new(id, secret));
    }
    if access_keys.is_empty() && !options.no_auth {
        tracing::warn!(
            "no access key: only the web page can call; give --access-key AKID:SECRET, set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or switch signatures off with --no-auth"
        );
    }
    for (id, account) in options.account {
        let key = access_keys.iter_mut().find(|key| key.id() == id);
        let key = key.with_context(|| format!("--account {id}={account}: there is no such --access-key"))?;
        *key = key.clone().of_account(account);
    }
    let mut config = Config::new(options.data);
    config.listen = options.listen;
    config.tls_listen = options.tls_listen;
    config.metrics_listen = options.metrics_listen;
    config.tls_names = options.tls_name;
    config.auth = !options.no_auth;
    config.access_keys = access_keys;
    config.allow_origins = options.allow_origin;
    config.console_public = options.console_public;
    config.web = options.web;
    config.s3_folder = options.s3_dir;
    config.sns_url = options.sns_url;
    config.region = options.region;
    config.turn_listen = options.turn_listen;
    config.turn_advertise = options.turn_advertise;
    config.turn_relay_ports = options.turn_relay_ports;
    config.ice_ttl = Duration::from_secs(options.ice_ttl);
    config.signaling.idle = Duration::from_secs(options.signaling_idle);
    config.signaling.connection = Duration::from_secs(options.signaling_lifetime);
    config.signaling.go_away = match options.no_go_away {
        true => Duration::ZERO,
        false => Duration::from_secs(60).min(config.signaling.connection / 2),
    };
    config.put_media.connections = usize::from(options.put_media_connections);
    config.put_media.lifetime = Duration::from_secs(options.put_media_lifetime);
    config.storage.session = Duration::from_secs(options.storage_session_lifetime);
    config.storage.idle = Duration::from_secs(options.storage_session_idle);
    config.quotas = options.quotas;
    config.states = StateTimes {
        creating: Duration::from_secs(options.creating_seconds),
        updating: Duration::from_secs(options.updating_seconds),
        deleting: Duration::from_secs(options.deleting_seconds),
    };

    let server = Server::start(config).await?;
    for name in &options.create_channel {
        server.ensure_channel(name).with_context(|| format!("--create-channel {name}"))?;
    }
    let mut out = std::io::stdout().lock();
    // whoever started us reads the address from here, so a closed pipe is worth an error
    writeln!(out, "kvs-local listening on {}", server.url()).context("standard output")?;
    if let Some(url) = server.tls_url() {
        writeln!(out, "kvs-local listening on {url}").context("standard output")?;
    }
    if let Some(url) = server.metrics_url() {
        writeln!(out, "kvs-local metrics on {url}/metrics").context("standard output")?;
    }
    out.flush().context("standard output")?;
    drop(out);
    tracing::info!(turn = %server.turn_address(), "TURN server");

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    server.shutdown().await;
    Ok(())
}
