//! The operator: watches `KvsIngest` objects and keeps a Deployment of the agent for each.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use kube::Client;
use kvs_ingest_api::CaBundleRef;
use kvs_ingest_api::pod::ImagePullPolicy;
use kvs_ingest_operator::context::{Context, Settings};
use kvs_ingest_operator::lease::{Elector, LeaseConfig};
use kvs_ingest_operator::metrics::Metrics;
use kvs_ingest_operator::poll::PollIntervals;
use kvs_ingest_operator::telemetry::Telemetry;
use kvs_ingest_operator::tenancy::{Pattern, ReleaseRules};
use kvs_ingest_operator::{admin, api_server, controller};
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
    /// Address on which agents serve /status and their probes; [::] is both families, and IPv4 alone without IPv6
    #[arg(long, env = "KVS_INGEST_AGENT_LISTEN", value_name = "ADDRESS", value_parser = every_address, default_value = "[::]")]
    agent_listen: IpAddr,
    /// The platform gives uid, gid and fsGroup, as OpenShift does: agents' pods name none
    #[arg(long, env = "KVS_INGEST_AGENT_ASSIGNED_IDS")]
    agent_assigned_ids: bool,
    /// Certificate authorities that agents trust beside the public ones: a ConfigMap in the namespace of each object that
    /// names none
    #[arg(long, env = "KVS_INGEST_AGENT_CA_BUNDLE", value_name = "NAME/KEY", value_parser = name_and_key)]
    agent_ca_bundle: Option<CaBundleRef>,
    /// Secret in the namespace of each object, with keys HTTPS_PROXY, HTTP_PROXY, NO_PROXY as needed
    #[arg(long, env = "KVS_INGEST_AGENT_PROXY_SECRET", value_name = "NAME")]
    agent_proxy_secret: Option<String>,
    /// Marks what is created in AWS; two clusters of one account need different names
    #[arg(long, env = "KVS_INGEST_CLUSTER", default_value = "default")]
    cluster: String,
    /// Namespaces to look after, comma-separated; none: the whole cluster
    #[arg(long, env = "KVS_INGEST_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Only objects with these labels, so that several operators can share a cluster
    #[arg(long, env = "KVS_INGEST_SELECTOR")]
    selector: Option<String>,
    /// Names that channels and streams may have, comma-separated: patterns with * and ${namespace}. None: any
    #[arg(long, env = "KVS_INGEST_ALLOWED_NAMES", value_name = "PATTERN", value_delimiter = ',')]
    allowed_names: Vec<Pattern>,
    /// Images that spec.image may name beside that of --agent-image with any tag or digest, comma-separated patterns
    #[arg(long, env = "KVS_INGEST_ALLOWED_IMAGES", value_name = "PATTERN", value_delimiter = ',')]
    allowed_images: Vec<Pattern>,
    /// What spec.externalId may be beside kvs-ingest/CLUSTER/NAMESPACE, comma-separated patterns
    #[arg(long, env = "KVS_INGEST_ALLOWED_EXTERNAL_IDS", value_name = "PATTERN", value_delimiter = ',')]
    allowed_external_ids: Vec<Pattern>,
    /// The operator's own service account, in the namespace of the lease: no agent may run under it
    #[arg(long, env = "POD_SERVICE_ACCOUNT")]
    service_account: Option<String>,
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
    /// Regions that objects may name, comma-separated, also such as this program does not know yet; none: all of AWS,
    /// and with an endpoint of one's own any name
    #[arg(long, env = "KVS_INGEST_REGIONS", value_delimiter = ',')]
    regions: Vec<String>,
    /// Share of each of AWS's default quotas that the operator uses: more than 0; more than 1 where AWS has raised the account's, at most 1000
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
    /// What is logged: error, warn, info, debug, trace, off, or RUST_LOG's syntax, info,kvs_ingest_operator=debug
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = log_filter)]
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

/// An address that every pod has: what the kubelet and the operator ask is not known when the Deployment is written.
fn every_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.trim_start_matches('[').trim_end_matches(']').parse().map_err(|error| format!("{error}"))?;
    if address.is_unspecified() { Ok(address) } else { Err("[::] or 0.0.0.0 is needed".to_owned()) }
}

fn name_and_key(text: &str) -> Result<CaBundleRef, String> {
    match text.split_once('/') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() && !key.contains('/') => {
            Ok(CaBundleRef { name: name.to_owned(), key: key.to_owned() })
        }
        _ => Err("it is not NAME/KEY of a ConfigMap".to_owned()),
    }
}

/// A word alone is a level. The syntax would take another one for a target, and log nothing else: `inf`.
fn log_filter(text: &str) -> Result<String, String> {
    // Commas may be in the fields of a span, which the filter itself reads.
    let directives = if text.contains('[') { "info" } else { text };
    for directive in directives.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        let known = level.parse::<tracing::level_filters::LevelFilter>().is_ok();
        if !known || level.is_empty() {
            return Err(format!(
                "{level:?} is no level (error, warn, info, debug, trace, off) and no TARGET=LEVEL"
            ));
        }
    }
    Ok(text.to_owned())
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
    let config = api_server::config().await?;
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
    tokio::spawn(admin::serve(listener, router));

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
    settings.agents.listen = cli.agent_listen;
    settings.agents.assigned_ids = cli.agent_assigned_ids;
    settings.agents.ca_bundle.clone_from(&cli.agent_ca_bundle);
    settings.agents.proxy_secret.clone_from(&cli.agent_proxy_secret);
    if !(cli.rollouts_per_minute > 0.0 && cli.rollouts_per_minute.is_finite()) {
        bail!("--rollouts-per-minute {} is not more than 0", cli.rollouts_per_minute);
    }
    if !(cli.aws_quota_share > 0.0 && cli.aws_quota_share <= 1000.0) {
        bail!("--aws-quota-share {} is not more than 0 and at most 1000", cli.aws_quota_share);
    }
    settings.regions.clone_from(&cli.regions);
    settings.release = format!("{}/{}", cli.lease_namespace, cli.lease_name);
    settings.aws_quota_share = cli.aws_quota_share;
    settings.rollouts_per_minute = cli.rollouts_per_minute;
    settings.concurrency = cli.concurrency;
    settings.label_selector.clone_from(&cli.selector);
    settings.tenancy = ReleaseRules {
        names: cli.allowed_names.clone(),
        images: cli.allowed_images.clone(),
        external_ids: cli.allowed_external_ids.clone(),
        service_account: cli.service_account.clone().map(|name| (cli.lease_namespace.clone(), name)),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_log_nothing_is_refused() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,kvs_ingest_operator=debug",
            "kube=trace, warn",
            "a[span{x=1,y}]=info",
        ] {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        for bad in ["inf", "", "info,", "debugg", "kube=verbose", "kube", "info,kube="] {
            assert!(log_filter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn agents_listen_where_every_pod_can_be_reached() {
        for good in ["[::]", "::", "0.0.0.0"] {
            assert!(every_address(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1", "[::1]", "10.0.0.1", "localhost", "", "0.0.0.0:8080"] {
            assert!(every_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bundle_is_a_key_of_a_config_map() {
        let bundle = CaBundleRef { name: "roots".to_owned(), key: "ca.crt".to_owned() };
        assert_eq!(name_and_key("roots/ca.crt"), Ok(bundle));
        for bad in ["roots", "/ca.crt", "roots/", "a/b/c", ""] {
            assert!(name_and_key(bad).is_err(), "{bad}");
        }
    }
}
