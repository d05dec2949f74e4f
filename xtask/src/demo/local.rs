//! The demo on this machine: kvs-local, a browser and the agent as processes.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::browser::{Browser, open_in_browser, recorded};
use super::local_kvs::{LocalKvs, Settings, fresh_folder};
use super::options::{CHANNEL, FIRST_FRAGMENT, Options, PORT, STREAM};
use super::progress::Progress;
use super::rtmp::RtmpServer;
use super::state::{Ingest, Stored};
use super::summary::summarize;
use crate::packages::{self, Group};
use crate::process::{Running, interrupted};
use crate::say;
use crate::workspace::{binary, build, build_page, root, target};

/// How long the agent may take for its last fragment, its acknowledgement included.
const AGENT_PATIENCE: Duration = Duration::from_secs(20);
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut groups = vec![Group::Build, Group::Media, Group::Web];
    if options.headless {
        groups.push(Group::Browser);
    }
    packages::ensure(&groups)?;
    if !options.no_build {
        build(&["kvs-local", "kvs-ingest-agent"])?;
    }
    let page = build_page()?;

    let folder = fresh_folder(&target().join("demo"))?;
    let data = options.data.clone().unwrap_or_else(|| folder.join("data"));
    let mut local = start_local(options, &data, &page, &folder)?;
    let manifest = root().join(&options.ingest);
    let mut rtmp = if options.rtmp { Some(RtmpServer::start(&folder)?) } else { None };
    let (mut agent, agent_url) = start_agent(&local, &manifest, rtmp.as_ref(), &folder)?;
    local.show_outputs(&agent_url)?;

    let page_url = format!("{}/?channel={CHANNEL}", local.url);
    let mut browser =
        if options.headless { Some(Browser::start(&format!("{page_url}&start=1"), &folder)?) } else { None };
    introduce(options, &page_url, rtmp.as_ref(), &manifest, &data, &folder);

    let mut progress = Progress::new();
    let started = Instant::now();
    let stored = loop {
        thread::sleep(Duration::from_millis(500));
        local.check()?;
        agent.check()?;
        if let Some(browser) = &mut browser {
            browser.check()?;
        }
        if let Some(rtmp) = &mut rtmp {
            rtmp.check()?;
        }
        let ingest = Ingest::read(&agent_url);
        let stored = Stored::read(&local, STREAM)?;
        progress.show(&ingest, &stored);
        let enough = options.seconds.is_some_and(|seconds| stored.duration() >= Duration::from_secs(seconds));
        let hopeless = options.headless && stored.fragments == 0 && started.elapsed() > FIRST_FRAGMENT;
        let overdue = options.headless
            && options
                .seconds
                .is_some_and(|s| started.elapsed() > FIRST_FRAGMENT + Duration::from_secs(3 * s));
        if enough || hopeless || overdue || interrupted() {
            break stored;
        }
    };
    progress.end();
    let lag = stored.lag;
    if let (Some(record), Some(browser)) = (&options.record, &browser) {
        browser.picture(&recorded(record, "page.png")?)?;
    }

    // The agent first: its last fragment is finished and acknowledged while everything else still runs.
    let status = agent.stop(AGENT_PATIENCE);
    let mut stored = Stored::read(&local, STREAM)?;
    // What the last fragment took at the end of the run says nothing about the run.
    stored.lag = lag;
    drop(browser);
    local.stop();
    summarize(&stored, &data);
    if stored.fragments == 0 {
        bail!("nothing was persisted; the logs are in {}\n{}", folder.display(), agent.log_tail());
    }
    if let Some(rtmp) = rtmp.filter(|_| options.headless) {
        rtmp.summarize(&stored).with_context(|| agent.log_tail())?;
    }
    match status {
        Some(status) if status.success() => Ok(ExitCode::SUCCESS),
        _ => bail!("the agent did not end cleanly\n{}", agent.log_tail()),
    }
}

fn start_local(options: &Options, data: &Path, page: &Path, folder: &Path) -> Result<LocalKvs> {
    let log = folder.join("kvs-local.log");
    let start =
        |port| LocalKvs::start(&Settings { port, data, page: Some(page), log: &log, channels: &[CHANNEL] });
    match options.port {
        Some(port) => start(port),
        // Nobody asked for this port: when something else has it, any other will do.
        None if std::net::TcpListener::bind(("127.0.0.1", PORT)).is_err() => start(0),
        None => start(PORT),
    }
}

fn start_agent(
    local: &LocalKvs,
    manifest: &Path,
    rtmp: Option<&RtmpServer>,
    folder: &Path,
) -> Result<(Running, String)> {
    let mut command = Command::new(binary("kvs-ingest-agent"));
    command
        .arg("--ingest")
        .arg(manifest)
        .arg("--listen=127.0.0.1:0")
        .envs(local.credentials())
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN");
    if let Some(rtmp) = rtmp {
        command.args(rtmp.arguments()?);
    }
    let (agent, line) = Running::start_and_read_line(
        "kvs-ingest-agent",
        &mut command,
        &folder.join("agent.log"),
        Duration::from_secs(20),
    )?;
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"))
        .with_context(|| format!("the agent's first line holds no address: {line:?}"))?;
    Ok((agent, url.trim_end_matches('/').to_owned()))
}

fn introduce(
    options: &Options,
    page: &str,
    rtmp: Option<&RtmpServer>,
    manifest: &Path,
    data: &Path,
    folder: &Path,
) {
    let manifest = manifest.strip_prefix(root()).unwrap_or(manifest);
    say!("");
    say!("  page      {page}");
    if let Some(rtmp) = rtmp {
        say!("  play      ffplay {}", rtmp.url());
    }
    say!("  manifest  {}", manifest.display());
    say!("  data      {}", data.display());
    say!("  logs      {}", folder.display());
    say!("");
    if options.headless {
        say!("Headless Chromium is the master, with a synthetic camera and microphone.");
    } else if open_in_browser(page) {
        say!("The page is open in your browser: click Go live and share your camera. Ctrl-C ends the demo.");
    } else {
        say!("Open the page, click Go live and share your camera. Ctrl-C ends the demo.");
    }
    say!("");
}
