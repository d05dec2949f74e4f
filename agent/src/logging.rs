//! The log on standard error.

use crate::cli::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The crates of ours that follow the level.
const OURS: [&str; 7] =
    ["kvs_ingest_agent", "kvs", "kvs_aws", "kvs_media", "kvs_peer", "kvs_putmedia", "gstkvssink"];

/// Starts logging. `level` is a level for our crates, or a whole filter.
///
/// # Errors
///
/// When `level` is neither.
pub fn start(format: LogFormat, level: &str) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(directives(level)).map_err(|error| format!("log level {level:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let result = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    result.map_err(|error| error.to_string())
}

fn directives(level: &str) -> String {
    if level.parse::<tracing::Level>().is_err() {
        // rtc-ice would log the ICE password of the master.
        return format!("{level},rtc_ice=off");
    }
    // The WebRTC engine logs every packet that it does not like: its own errors only.
    let mut text = "warn,rtc=off,webrtc=off,rtc_ice=off,rtc_dtls=error,rtc_turn=error".to_owned();
    for name in OURS {
        text.push_str(&format!(",{name}={level}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_our_crates_and_a_filter_is_taken_as_it_is() {
        assert!(directives("debug").contains("kvs_ingest_agent=debug"));
        assert!(directives("debug").starts_with("warn,"));
        assert_eq!(directives("info,rtc=debug"), "info,rtc=debug,rtc_ice=off");
        assert!(EnvFilter::try_new(directives("trace")).is_ok());
    }
}
