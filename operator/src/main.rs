//! The operator: watches `KvsIngest` objects and keeps a Deployment of the agent for each.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use kube::{Client, Config};
use kvs_ingest_api::pod::ImagePullPolicy;
use kvs_ingest_operator::context::{Context, Settings};
use kvs_ingest_operator::lease::{Elector, LeaseConfig};
use kvs_ingest_operator::metrics::Metrics;
use kvs_ingest_operator::poll::PollIntervals;
use kvs_ingest_operator::telemetry::Telemetry;
use kvs_ingest_operator::{admin, controller};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the operator can be told. Each flag is an environment variable, too.
#[derive(Parser)]
#[command(name = "kvs-ingest-operator", version, about = "Keeps an agent for each KvsIngest")]
struct Cli {
    /// Image of the agents whose object names none
    #[arg(long, env = "KVS_INGEST_AGENT_IMAGE")]
    agent_image: String,
    /// When that image is pulled, for objects that do not say
    #[arg(long, env = "KVS_INGEST_AGENT_IMAGE_PULL_POLICY", value_enum)]
    agent_image_pull_policy: Option<PullPolicy>,
    /// Secrets to pull it with, in the namespace of each object that names none, comma-separated
    #[arg(long, env = "KVS_INGEST_AGENT_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    agent_image_pull_secrets: Vec<String>,
    /// Environment of every agent, NAME=VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    agent_env: Vec<String>,
    /// Seccomp profile of agents, a file in the folder of each node's kubelet; none: that of the container runtime
    #[arg(long, env = "KVS_INGEST_AGENT_SECCOMP_PROFILE", value_name = "PATH")]
    agent_seccomp_profile: Option<String>,
    /// Marks what is created in AWS; two clusters of one account need different names
    #[arg(long, env = "KVS_INGEST_CLUSTER", default_value = "default")]
    cluster: String,
    /// Namespaces to look after, comma-separated; none: the whole cluster
    #[arg(long, env = "KVS_INGEST_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Only objects with these labels, so that several operators can share a cluster
    #[arg(long, env = "KVS_INGEST_SELECTOR")]
    selector: Option<String>,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "KVS_INGEST_LISTEN", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Objects reconciled at the same time
    #[arg(long, env = "KVS_INGEST_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Agents restarted in a minute because of an upgrade of the operator, not of their object
    #[arg(long, env = "KVS_INGEST_ROLLOUTS_PER_MINUTE", default_value_t = 60.0)]
    rollouts_per_minute: f64,
    /// Hours between two looks at channel and stream of an object in AWS
    #[arg(long, env = "KVS_INGEST_AWS_RESYNC_HOURS", default_value_t = 10.0)]
    aws_resync_hours: f64,
    /// Share of each AWS quota of the account that the operator uses, more than 0
    #[arg(long, env = "KVS_INGEST_AWS_QUOTA_SHARE", default_value_t = 0.5)]
    aws_quota_share: f64,
    /// Seconds between two looks at an agent: shortest
    #[arg(long, hide = true, default_value_t = 10.0)]
    ask_shortest: f64,
    /// Seconds between two looks at an agent: longest
    #[arg(long, hide = true, default_value_t = 300.0)]
    ask_longest: f64,
    /// Namespace of the lease of the leader
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name of that lease
    #[arg(long, env = "KVS_INGEST_LEASE", default_value = "kvs-ingest-operator")]
    lease_name: String,
    /// Who this one is: the pod's name
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// How logs are written
    #[arg(long, env = "KVS_INGEST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or RUST_LOG's syntax
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log_level: String,
    /// Collector that traces are sent to, OTLP over HTTP: http://collector:4318. The other OTEL_ variables count, too
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

/// As Kubernetes writes them.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl From<PullPolicy> for ImagePullPolicy {
    fn from(policy: PullPolicy) -> Self {
        match policy {
            PullPolicy::Always => Self::Always,
            PullPolicy::IfNotPresent => Self::IfNotPresent,
            PullPolicy::Never => Self::Never,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "logging may not be there yet")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn start(cli: Cli) -> Result<ExitCode> {
    // kube and the AWS SDK bring rustls; it panics when no provider is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let identity =
        cli.identity.clone().unwrap_or_else(|| format!("{}-{:08x}", host(), rand::random::<u32>()));
    let telemetry = Telemetry {
        filter: &cli.log_level,
        json: matches!(cli.log_format, LogFormat::Json),
        endpoint: cli.otlp_endpoint.as_deref(),
        identity: &identity,
    };
    let traces = telemetry.init()?;
    let ended = operate(&cli, identity).await;
    traces.end().await;
    ended
}

async fn operate(cli: &Cli, identity: String) -> Result<ExitCode> {
    let settings = settings(cli)?;
    let mut config =
        Config::infer().await.context("no way to the API server: neither a kubeconfig nor a pod")?;
    // Retries are the reconcile's, with a delay for each object: a slot must not be held by one.
    config.default_retry = false;
    let client = Client::try_from(config.clone()).context("no client for the API server")?;
    let elector_client = Client::try_from(config).context("no client for the API server")?;

    let stop = CancellationToken::new();
    let (leading, leads) = watch::channel(false);
    let metrics = Arc::new(Metrics::default());
    let (context, woken) = Context::new(client, settings, metrics, leads);
    let context = Arc::new(context);

    let listening = kvs_ingest_api::listen::listen(cli.listen)
        .with_context(|| format!("cannot listen on {} (--listen chooses another address)", cli.listen))?;
    if listening.without_ipv6 {
        tracing::warn!(asked = %cli.listen, "this machine has no IPv6: listening on every address of IPv4");
    }
    let listener = tokio::net::TcpListener::from_std(listening.socket)?;
    tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "started");
    let router = admin::router(context.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let lease = LeaseConfig::new(&cli.lease_namespace, &cli.lease_name, identity);
    // The lease is given back when the last write is done, not before.
    let resign = CancellationToken::new();
    let mut election = tokio::spawn(Elector::new(elector_client, lease).run(leading, resign.clone()));
    let mut work = tokio::spawn(controller::run(context, cli.namespaces.clone(), woken, stop.clone()));

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let code = tokio::select! {
        _ = terminate.recv() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        // It runs until it is told to resign: this is a bug, and nothing may be written without it.
        _ = &mut election => return Ok(ExitCode::FAILURE),
        ended = &mut work => {
            tracing::error!(panicked = ended.is_err(), "the controller ended");
            ExitCode::FAILURE
        }
    };
    tracing::info!("stopping");
    stop.cancel();
    if !work.is_finished() && tokio::time::timeout(Duration::from_secs(10), work).await.is_err() {
        tracing::warn!("reconciles did not end in time");
    }
    resign.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(5), election).await;
    Ok(code)
}

fn settings(cli: &Cli) -> Result<Settings> {
    let mut settings = Settings::new(&cli.cluster, &cli.agent_image);
    let mut env = BTreeMap::new();
    for entry in &cli.agent_env {
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => env.insert(name.to_owned(), value.to_owned()),
            _ => bail!("--agent-env {entry:?} is not NAME=VALUE"),
        };
    }
    settings.agents.env = env;
    if let Some(path) = &cli.agent_seccomp_profile {
        // What the API server would say of every Deployment.
        if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
            bail!(
                "--agent-seccomp-profile {path:?} is not a path below the kubelet's folder seccomp, without .."
            );
        }
    }
    settings.agents.seccomp_profile.clone_from(&cli.agent_seccomp_profile);
    settings.agents.image_pull_policy = cli.agent_image_pull_policy.map(ImagePullPolicy::from);
    settings.agents.image_pull_secrets.clone_from(&cli.agent_image_pull_secrets);
    if !(cli.rollouts_per_minute > 0.0 && cli.rollouts_per_minute.is_finite()) {
        bail!("--rollouts-per-minute {} is not more than 0", cli.rollouts_per_minute);
    }
    if !(cli.aws_quota_share > 0.0 && cli.aws_quota_share.is_finite()) {
        bail!("--aws-quota-share {} is not more than 0", cli.aws_quota_share);
    }
    settings.aws_quota_share = cli.aws_quota_share;
    settings.rollouts_per_minute = cli.rollouts_per_minute;
    settings.concurrency = cli.concurrency;
    settings.label_selector.clone_from(&cli.selector);
    let seconds = |flag: &str, value: f64| {
        Duration::try_from_secs_f64(value)
            .ok()
            .filter(|time| !time.is_zero())
            .with_context(|| format!("{flag} {value} is not a time"))
    };
    settings.aws_resync = seconds("--aws-resync-hours", cli.aws_resync_hours * 3600.0)?;
    settings.poll = PollIntervals {
        shortest: seconds("--ask-shortest", cli.ask_shortest)?,
        longest: seconds("--ask-longest", cli.ask_longest)?,
    };
    Ok(settings)
}

fn host() -> String {
    std::fs::read_to_string("/etc/hostname")
        .map_or_else(|_| "operator".to_owned(), |name| name.trim().to_owned())
}
