//! Where it was measured.

use std::fs::read_to_string;
use std::process::Command;

use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// GiB.
    pub memory: f64,
    pub kernel: String,
    pub system: String,
    pub gstreamer: String,
    /// Processes that ran or wanted to, over the minute before.
    pub load: f64,
}

impl Machine {
    pub fn here() -> Self {
        let text = |path: &str| read_to_string(path).unwrap_or_default();
        let (processors, memory, release) =
            (text("/proc/cpuinfo"), text("/proc/meminfo"), text("/etc/os-release"));
        let of = |text: &str, name: &str, between: char| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(between)).map_or("", |(_, value)| value);
            value.trim().trim_matches('"').to_owned()
        };
        let kibibytes: f64 = of(&memory, "MemTotal", ':').trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        let gstreamer = Command::new("gst-inspect-1.0").arg("--version").output();
        let gstreamer = gstreamer.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Self {
            processor: of(&processors, "model name", ':'),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: kibibytes / 1024.0 / 1024.0,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: of(&release, "PRETTY_NAME", '='),
            gstreamer: of(&gstreamer.unwrap_or_default(), "GStreamer", ' '),
            load: text("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(f64::NAN),
        }
    }
}
