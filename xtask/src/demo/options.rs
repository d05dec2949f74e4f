//! [`Options`] of the demo, and what it is about wherever it runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// What `examples/front-door.yaml` names.
pub const CHANNEL: &str = "front-door-camera";
pub const STREAM: &str = "front-door";

/// The page's usual port; another one is taken when it is in use.
pub const PORT: u16 = 8474;
/// After this long without a single fragment a headless demo has failed.
pub const FIRST_FRAGMENT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Options {
    /// In pods, on a Kubernetes of this machine: kvs-local, the operator by Helm, one KvsIngest
    #[arg(long, conflicts_with = "data")]
    pub cluster: bool,
    /// Use headless Chromium with a synthetic camera and microphone instead of a person
    #[arg(long)]
    pub headless: bool,
    /// End after so many seconds of stored media and print a summary
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Port of the page and of KVS on localhost; 0 takes a free one
    #[arg(long)]
    pub port: Option<u16>,
    /// Start an RTMP server, too, and send to it beside the stream: examples/live.yaml
    #[arg(long, conflicts_with = "cluster")]
    pub rtmp: bool,
    /// The KvsIngest manifest that the agent is given; with --rtmp it has an output `live`, whose URL is in a Secret
    #[arg(long, value_name = "FILE", default_value = "examples/front-door.yaml")]
    #[arg(default_value_if("rtmp", "true", "examples/live.yaml"))]
    pub ingest: PathBuf,
    /// Take the binaries as they are in the target folder
    #[arg(long, hide = true)]
    pub no_build: bool,
    /// Leave a screenshot of the page in this folder (page.png), and with --cluster what kubectl says (kubectl.txt)
    #[arg(long, value_name = "DIR", requires = "headless")]
    pub record: Option<PathBuf>,
    /// Keep what is stored in this folder (default: an empty folder under target/demo)
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}
