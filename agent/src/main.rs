//! `kvs-ingest-agent`: one channel, one process.
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result};
use clap::Parser;
use kvs_aws::AwsContext;
use kvs_ingest_agent::cli::{Cli, Command};
use kvs_ingest_agent::connecting::Connecting;
use kvs_ingest_agent::driver::{Driver, DriverConfig};
use kvs_ingest_agent::events::{Event, Events};
use kvs_ingest_agent::metadata::{Metadata, Rules};
use kvs_ingest_agent::outputs::{OutputConfig, Outputs, kvssink, rtmp};
use kvs_ingest_agent::peer_config::peer_config;
use kvs_ingest_agent::receive::ReceiveConfig;
use kvs_ingest_agent::relief::{Course, Relief, Told};
use kvs_ingest_agent::session::{Session, Timing};
use kvs_ingest_agent::settings::Settings;
use kvs_ingest_agent::state::State;
use kvs_ingest_agent::{doctor, http, logging, pipeline, prepare};
use kvs_ingest_api::{AudioSpec, MediaSpec, SpoolSpec, VideoSpec};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How old an IDR may become before another is asked for: the length of a fragment.
const FRAGMENT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: what is busy (sockets, codecs, uploads) has threads of its own, and to hand a task from one worker to another
    // costs more than these tasks do.
    let ended =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no threads").and_then(
            |runtime| {
                let ended = runtime.block_on(async {
                    match &cli.command {
                        Some(Command::Doctor(arguments)) => Ok(ExitCode::from(doctor::run(arguments).await)),
                        None => run(cli).await.map(|()| ExitCode::SUCCESS),
                    }
                });
                // A thread of GStreamer's that hangs is not waited for: what had to be waited for was.
                runtime.shutdown_background();
                ended
            },
        );
    match ended {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let config = std::env::var(kvs_ingest_api::CONFIG_ENV).ok().filter(|text| !text.trim().is_empty());
    let settings = Settings::load(cli.ingest.as_deref(), &cli.output_files, config.as_deref())?
        .with_spool_dir(cli.spool_dir.as_deref())?;
    let level = cli
        .log_level
        .clone()
        .or_else(|| std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()))
        .unwrap_or_else(|| settings.log_level.as_str().to_owned());
    logging::start(cli.log_format, &level).map_err(anyhow::Error::msg)?;
    // Two TLS providers may be in the graph; rustls panics when none is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    gst::init().context("GStreamer does not start")?;
    pipeline::check_installed(!settings.audio_codecs().is_empty())?;
    let aws = settings.aws().await?;
    let outputs = OutputConfig::open(output_configs(&cli, &settings), &aws)?;
    let waits = if cli.wait_for_successor { settings.wait_within() } else { Duration::ZERO };
    let relief = Arc::new(Relief::new(waits));
    end_on_signal(Arc::clone(&relief))?;
    let stop = relief.stop();

    let rules = settings.media.data.as_ref().map(Rules::new).transpose();
    let rules = rules.map_err(|error| anyhow::anyhow!("spec.media.data.tag: {error}"))?;
    let metadata = Arc::new(Metadata::new(rules));
    let messages = Arc::clone(&metadata);
    let state = Arc::new(State::new(Arc::clone(&metadata)));
    let events = Arc::new(Events::default());
    let connecting = Arc::new(Connecting::new(Arc::clone(&events)));
    let listening = kvs_ingest_serve::listen(cli.listen)
        .with_context(|| format!("cannot listen on {} (--listen chooses another address)", cli.listen))?;
    if listening.without_ipv6 {
        tracing::warn!(asked = %cli.listen, "this machine has no IPv6: listening on every address of IPv4");
    }
    let listener = tokio::net::TcpListener::from_std(listening.socket)?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "kvs-ingest-agent listening on http://{address}")?;
    std::io::stdout().flush()?;

    let channel = match &settings.channel {
        kvs::ChannelId::Name(name) => name.to_string(),
        kvs::ChannelId::Arn(arn) => arn.to_string(),
    };
    let context = http::Context::new(
        Arc::clone(&state),
        outputs.clone(),
        Arc::clone(&events),
        Arc::clone(&connecting),
        Arc::clone(&relief),
        channel,
    );
    let records = context.records();
    tokio::spawn(async move { relief.watch(records).await });
    let server = tokio::spawn({
        let events = Arc::clone(&events);
        let closed = move |from| events.emit(Event::HttpConnectionClosed { from });
        kvs_ingest_serve::serve(listener, http::router(context), closed)
    });

    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = prepare::prepare(&outputs, &state, &events) => {}
    }
    let config = driver_config(&cli, &settings, &aws, outputs.clone(), metadata, waits);
    Driver::new(config, aws, session(&settings), events, connecting, state).run(stop).await;
    outputs.finish().await;
    let waiting = messages.figures().waiting;
    if waiting > 0 {
        tracing::warn!(waiting, "messages of data channels had no fragment to go with, and are not stored");
    }
    server.abort();
    tracing::info!("stopped");
    Ok(())
}

fn output_configs(cli: &Cli, settings: &Settings) -> Vec<OutputConfig> {
    let broadcasts =
        settings.outputs.iter().map(|output| OutputConfig::Rtmp(rtmp::Settings::new(output.clone())));
    let stream = settings.stream.iter().map(|stream| {
        OutputConfig::Kvssink(kvssink::Settings {
            origin: cli.kvssink,
            region: settings.region.clone(),
            stream: stream.id.clone(),
            resolved: stream.resolved.clone(),
            create: stream.create.clone(),
            memory_mib: settings.buffering.memory_mib,
            spool: settings.spool_dir.clone().zip(settings.buffering.spool.as_ref().map(SpoolSpec::bytes)),
            fragment: FRAGMENT,
            deliver_within: settings.deliver_within(),
        })
    });
    stream.chain(broadcasts).collect()
}

fn session(settings: &Settings) -> Session {
    // Unique for this process, so that a new pod and the old one do not take each other's place.
    let id = kvs::ClientId::generate(&format!("kvs-ingest-{}", settings.name));
    Session::new(id.as_str(), Timing::default(), rand::random(), Instant::now())
}

fn driver_config(
    cli: &Cli,
    settings: &Settings,
    aws: &AwsContext,
    outputs: Outputs,
    metadata: Arc<Metadata>,
    waits: Duration,
) -> DriverConfig {
    // Of the media, all is taken: what is forgotten does not compile.
    let MediaSpec { video, audio, data: _ } = &settings.media;
    // Which of them are offered, `video_codecs` and `audio_codecs` tell; the bit rate and data channels, `peer_config`.
    let VideoSpec { enabled: _, codecs: _, start_bitrate_kbps: _ } = video;
    let AudioSpec { enabled: _, codecs: _, aac_bitrate_kbps } = audio;
    DriverConfig {
        channel: settings.channel.clone(),
        create_channel: settings.create_channel,
        peer: peer_config(settings, aws, &cli.ice_bind, cli.receive_buffer),
        receive: ReceiveConfig {
            key_frame_interval: FRAGMENT,
            aac_bitrate: i32::try_from(aac_bitrate_kbps.saturating_mul(1000)).unwrap_or(64_000),
            retire_within: settings.deliver_within(),
            outputs,
            metadata,
            clock: {
                let aws = aws.clone();
                Arc::new(move || aws.now())
            },
        },
        // Who waits for a successor has spent some of it by then.
        stop_within: settings.stop_within().saturating_sub(waits),
    }
}

/// SIGTERM and SIGINT bring the recording to its end, the former when a successor is ready if it is to wait for one; one more
/// ends the process.
fn end_on_signal(relief: Arc<Relief>) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            let told = tokio::select! {
                _ = terminate.recv() => Told::Terminate,
                _ = interrupt.recv() => Told::Interrupt,
            };
            match relief.told(told, Instant::now()) {
                Course::GoesOn(at_most) => {
                    tracing::info!(
                        ?at_most,
                        "told to end: the recording goes on until another agent is ready"
                    );
                }
                Course::Ends => tracing::info!("stopping: the recording is brought to its end"),
                Course::Dies => {
                    tracing::warn!("stopped at once");
                    std::process::exit(1);
                }
            }
        }
    });
    Ok(())
}
