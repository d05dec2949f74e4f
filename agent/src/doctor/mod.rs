//! `kvs-ingest-agent doctor`: walks the way to a recording, and stores nothing. It joins the channel as one more viewer, makes
//! each call once, and leaves with the first key frame.

mod aws;
mod checks;
mod master;
mod report;

use crate::cli::{DoctorArguments, DoctorFormat};
use crate::logging;
use crate::pipeline;
use crate::settings::Settings;
use checks::Checks;
pub use report::Fault;
use report::Verdict;
use std::io::{Write, stdout};
use std::time::Duration;

/// Runs the checks and prints them; the exit code of the process.
pub async fn run(arguments: &DoctorArguments) -> u8 {
    // What it has to say, it says itself.
    let level = arguments.log_level.as_deref().unwrap_or("off");
    let logging = logging::start(crate::cli::LogFormat::Text, level);
    let mut checks =
        Checks::new(arguments.format == DoctorFormat::Text, Duration::from_secs(arguments.timeout));
    match logging {
        Ok(()) => walk(&mut checks, arguments).await,
        Err(error) => checks.failed("configuration", Fault::Configuration, error, None),
    }
    let report = checks.finish();
    let last = match arguments.format {
        DoctorFormat::Text => report.verdict().to_owned(),
        DoctorFormat::Json => report.json(),
    };
    // Nobody reads it any more.
    let _ = writeln!(stdout(), "{last}");
    report.exit_code()
}

async fn walk(checks: &mut Checks, arguments: &DoctorArguments) {
    let Some(settings) = configuration(checks, arguments) else {
        return;
    };
    let aws = match settings.aws().await {
        Ok(aws) => aws,
        Err(error) => return checks.failed("configuration", Fault::Configuration, error.to_string(), None),
    };
    let channel = aws::check(checks, &settings, &aws).await;
    match channel {
        Some(channel) => master::check(checks, arguments, &settings, &aws, channel).await,
        None => checks.skipped("ConnectAsViewer", "there is no channel to join"),
    }
}

fn configuration(checks: &mut Checks, arguments: &DoctorArguments) -> Option<Settings> {
    const NAME: &str = "configuration";
    let config = std::env::var(kvs_ingest_api::CONFIG_ENV).ok().filter(|text| !text.trim().is_empty());
    // In a pod the configuration is there already.
    let loaded = Settings::load(arguments.ingest.as_deref(), &arguments.output_files, config.as_deref());
    let settings = match loaded {
        Ok(settings) => settings,
        Err(error) => {
            checks.failed(NAME, Fault::Configuration, error.to_string(), None);
            return None;
        }
    };
    // Two TLS providers may be in the graph; rustls panics when none is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let installed = gst::init().map_err(|error| error.to_string()).and_then(|()| {
        pipeline::check_installed(!settings.audio_codecs().is_empty()).map_err(|error| error.to_string())
    });
    if let Err(error) = installed {
        checks.failed(NAME, Fault::Configuration, format!("GStreamer: {error}"), None);
        return None;
    }
    let stream = settings.stream.as_ref().map_or("no stream".to_owned(), |stream| stream.id.to_string());
    let found = format!("{} in {}: {} to {stream}", settings.name, settings.region, settings.channel);
    checks.add(NAME, Verdict::Ok, Duration::ZERO, found, None);
    Some(settings)
}
