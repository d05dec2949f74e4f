//! What is received and cannot be stored is named: in `/status`, by a counter, and once in the log. And what can be stored,
//! however unusual, is.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use kvs_ingest_tests::agent::AgentProcess;
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::clip::Picture;
use kvs_ingest_tests::master::time::{Pause, Time};
use kvs_ingest_tests::master::{Answering, Defect, Master, Settings};
use kvs_ingest_tests::stored::{self, Stored};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    server: Server,
    folder: TempDir,
    master: Master,
    agent: AgentProcess,
}

impl World {
    async fn new(settings: Settings) -> Self {
        let (server, folder) = local::start(|_| {}).await.unwrap();
        let access = local::access(&server);
        let master = Master::start(&access, "door", settings).await.unwrap();
        let agent = AgentProcess::start(&local::agent(&access, &folder, MANIFEST)).await.unwrap();
        Self { server, folder, master, agent }
    }

    /// Waits until the agent says that this track is not stored, and why.
    async fn not_stored(&mut self, kind: &str, reason: &str) -> Value {
        let says = |status: &Value| status[kind]["state"] == "NotStored" && status[kind]["reason"] == reason;
        self.agent.wait_for(&format!("{kind} not stored: {reason}"), DEADLINE, says).await.unwrap()
    }

    /// The counter, and one warning.
    async fn is_told(&self, kind: &str, reason: &str) {
        let (_, metrics) = self.agent.get("/metrics").await.unwrap();
        let counter = format!("kvs_ingest_tracks_not_stored_total{{kind=\"{kind}\",reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&counter), "{counter} is not in\n{metrics}");
        assert!(metrics.contains(&format!("kvs_ingest_track_stored{{kind=\"{kind}\"}} 0")), "{metrics}");
        let log = self.agent.log();
        let warnings =
            log.lines().filter(|line| line.contains(&format!("{kind} is not stored"))).collect::<Vec<_>>();
        let warnings: Vec<_> = warnings.iter().filter(|line| line.contains("WARN")).collect();
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
    }

    async fn end(self) -> Stored {
        assert!(self.agent.stop(Duration::from_secs(20)).await.unwrap().success());
        self.master.stop().await;
        let endpoint = self.server.url();
        let stored = stored::read(&endpoint, "door-stream", self.folder.path()).await;
        self.server.shutdown().await;
        stored.unwrap_or_default()
    }
}

fn with(defect: Defect) -> Settings {
    Settings { sizes: vec![(320, 240)], defect, ..Settings::default() }
}

fn half_is_stored(status: &Value) -> bool {
    status["phase"] == "Streaming"
        && status["reason"] == "VideoNotStored"
        && status["audio"]["state"] == "Stored"
}

/// Beside sound that is stored.
async fn video_is_not_stored(defect: Defect, reason: &str, counted: &str) {
    let mut world = World::new(with(defect)).await;
    world.not_stored("video", reason).await;
    let status = world.agent.wait_for("half of it", DEADLINE, half_is_stored).await.unwrap();
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("audio is stored; video is not stored: "), "{message}");
    assert!(status["video"]["withheld"].as_u64().unwrap() > 30, "{status}");
    world.is_told("video", reason).await;
    let (_, metrics) = world.agent.get("/metrics").await.unwrap();
    let withheld = format!("kvs_ingest_withheld_total{{kind=\"video\",reason=\"{counted}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&withheld)).unwrap();
    assert!(count.parse::<u64>().unwrap() > 30, "{withheld}{count}");
    let stored = world.end().await;
    assert!(stored.frames.is_empty() && stored.audio.is_some(), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_without_a_key_frame() {
    video_is_not_stored(Defect::NoKeyFrame, "NoKeyFrame", "NoKeyFrame").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_sets() {
    video_is_not_stored(Defect::NoParameterSets, "NoParameterSets", "NoKeyFrame").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_under_the_payload_type_of_h264() {
    video_is_not_stored(Defect::Vp8, "NotTheCodec", "NotTheCodec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_the_keys_do_not_open() {
    let mut world = World::new(with(Defect::Undecryptable)).await;
    let status = world.not_stored("video", "Undecryptable").await;
    assert!(status["packetsUndecryptable"].as_u64() >= Some(50), "{status}");
    let status = world.agent.wait_for("half of it", DEADLINE, half_is_stored).await.unwrap();
    assert!(status["message"].as_str().unwrap().contains("cannot be decrypted"), "{status}");
    world.is_told("video", "Undecryptable").await;
    let stored = world.end().await;
    assert!(stored.frames.is_empty() && stored.audio.is_some(), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_flows_where_video_is_all_there_is() {
    let settings = Settings { answering: Answering::VideoOnly, ..with(Defect::NoParameterSets) };
    let mut world = World::new(settings).await;
    let status = world.not_stored("video", "NoParameterSets").await;
    assert_ne!(status["phase"], "Streaming", "{status}");
    let named = |status: &Value| status["reason"] == "VideoNotStored";
    let status = world.agent.wait_for("its name", DEADLINE, named).await.unwrap();
    assert!(status["message"].as_str().unwrap().contains("SPS"), "{status}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameter_sets_once_or_in_the_answer_only_are_enough() {
    for defect in [Defect::ParameterSetsOnce, Defect::ParameterSetsInAnswer] {
        let mut world = World::new(with(defect)).await;
        let persisted = |status: &Value| status["kvs"]["fragmentsPersisted"].as_u64() >= Some(3);
        let status = world.agent.wait_for("three fragments", DEADLINE, persisted).await.unwrap();
        assert_eq!(
            (&status["video"]["state"], &status["message"]),
            (&"Stored".into(), &"media flows".into())
        );
        let sent = world.master.sent().pop().unwrap();
        let stored = world.end().await;
        let (first, last) = (stored.frames.first().unwrap().number, stored.frames.last().unwrap().number);
        assert!(first <= 45 && last + 45 >= sent.frames.len() as u64, "{defect:?}: {first} to {last}");
        let expected = (first..=last).collect::<Vec<_>>();
        assert_eq!(
            stored.frames.iter().map(|frame| frame.number).collect::<Vec<_>>(),
            expected,
            "{defect:?}"
        );
    }
}

/// Of a master whose key frames are no IDRs, joined behind its only one: everything from the first recovery point on, but for
/// so many pictures behind that, which refer to what lies in front of it. Fragments begin at recovery points.
async fn is_recorded_from_a_recovery_point_on(picture: Picture, led_by: usize) {
    let mut world = World::new(Settings { picture, ..with(Defect::NoFirstKeyFrame) }).await;
    let persisted = |status: &Value| status["kvs"]["fragmentsPersisted"].as_u64() >= Some(3);
    let status = world.agent.wait_for("three fragments", DEADLINE, persisted).await.unwrap();
    assert_eq!(status["message"], "media flows", "{status}");
    let state = stored::state(&world.server.url(), "door-stream").await.unwrap();
    let (fragments, frames) = (state["fragments"].as_u64().unwrap(), state["frames"].as_u64().unwrap());
    assert!(frames <= fragments * 70, "{frames} pictures in {fragments} fragments");
    let sent = world.master.sent().pop().unwrap();
    let stored = world.end().await;
    let first = stored.frames.first().unwrap();
    assert!(!first.idr, "{first:?}");
    let from = sent.frames.iter().position(|frame| frame.number == first.number).unwrap();
    let all = sent.frames[from..].iter().enumerate().filter(|(place, _)| !(1..=led_by).contains(place));
    let expected: Vec<_> = all.map(|(_, frame)| (frame.number, &frame.hash)).collect();
    let found: Vec<_> = stored.frames.iter().map(|frame| (frame.number, &frame.hash)).collect();
    assert!(found.len() + 60 > expected.len(), "{} of {}", found.len(), expected.len());
    let both = found.len().min(expected.len());
    assert_eq!(found[..both], expected[..both]);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_groups_of_pictures() {
    is_recorded_from_a_recovery_point_on(Picture::OpenGroups, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn intra_refresh() {
    is_recorded_from_a_recovery_point_on(Picture::IntraRefresh, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn video_that_stops_while_sound_goes_on() {
    let mut settings = with(Defect::None);
    settings.time = Time::default();
    settings.time.video.pause =
        Some(Pause { after: Duration::from_secs(4), length: Duration::from_secs(9), counts: true });
    let mut world = World::new(settings).await;
    world.agent.wait_for_phase("Streaming", DEADLINE).await.unwrap();
    world.not_stored("video", "Stopped").await;
    world.is_told("video", "Stopped").await;
    let whole = |status: &Value| status["video"]["state"] == "Stored" && status["message"] == "media flows";
    world.agent.wait_for("video again", DEADLINE, whole).await.unwrap();
    world.end().await;
}
