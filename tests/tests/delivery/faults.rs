//! Rows in which the service misbehaves, by its fault API.

use serde_json::{Value, json};

use super::rows::{Kept, Row, row};
use super::world::{Clip, World};

/// Acknowledgements that do not come are noticed soon.
const SOON: &str = "connection-staleness=2";

/// One clip, with these faults from the start; everything is stored.
async fn all_stored(clip: &Clip, faults: &[Value], properties: &str, duplicates: u64) -> Kept {
    let mut world = World::new().await;
    for fault in faults {
        world.fault(fault.clone()).await;
    }
    let run = world.launch(&[clip], properties).succeed().await;
    let happened = world.state().await["putMedia"].clone();
    let kept = Kept::of(&world, &[clip], &run).await;
    assert_eq!(kept.stored.missing, Vec::<usize>::new(), "{happened}");
    assert_eq!(run.figure("video-frames-dropped"), 0);
    assert!(kept.stored.duplicates <= duplicates, "{} duplicates", kept.stored.duplicates);
    assert!(run.figure("session-failures") >= 1, "nothing happened: {happened}");
    world.stop().await;
    kept
}

/// As it is, with what happens to whom and how many fragments may come twice.
fn simple(name: impl Into<String>, faults: Vec<Value>, properties: &'static str, duplicates: u64) -> Row {
    row(name, move |clips| async move { all_stored(&clips.small, &faults, properties, duplicates).await })
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        simple(
            "TCP reset in a fragment, twice",
            vec![json!({"action": "reset", "after": 2, "times": 2})],
            "",
            2,
        ),
        simple("the server stops reading", vec![json!({"action": "stop_reading", "after": 2})], SOON, 1),
        simple("no acknowledgements", vec![json!({"action": "no_acks", "after": 2})], SOON, 0),
        simple(
            "no acknowledgements of what is stored",
            vec![json!({"action": "no_acks", "after": 2, "store": true})],
            SOON,
            5,
        ),
        simple("no PERSISTED", vec![json!({"action": "no_persisted", "after": 1})], SOON, 0),
        simple(
            "PERSISTED comes late, and a reset before",
            vec![
                json!({"action": "delay_persisted", "ms": 1500, "times": 0}),
                json!({"action": "reset", "after": 3}),
            ],
            "",
            3,
        ),
        simple("the answer comes too late", vec![json!({"action": "delay_response", "ms": 12_000})], "", 0),
    ];
    // By count, so that what is waited between them decides. The end waits for a minute.
    rows.push(row("403 at the start, thirty times", |clips| async move {
        let refusal =
            json!({"action": "http_error", "status": 403, "type": "AccessDeniedException", "times": 30});
        all_stored(&clips.long, &[refusal], "stop-stream-timeout=60", 0).await
    }));
    // What the service would say of a fragment that is wrong is said of one that is not: it is taken the second time.
    for id in (4000..=4012).chain(4500..=4507).chain(5000..=5001) {
        rows.push(simple(
            format!("error {id}"),
            vec![json!({"action": "error", "id": id, "after": 2})],
            "",
            1,
        ));
    }
    // The SDK tries what is the service's fault three times by itself.
    for (call, status, kind, times) in [
        ("DescribeStream", 403, "AccessDeniedException", 3),
        ("DescribeStream", 503, "ServiceUnavailableException", 7),
        ("GetDataEndpoint", 400, "ClientLimitExceededException", 3),
        ("GetDataEndpoint", 500, "InternalFailure", 7),
    ] {
        let refusal =
            json!({"action": "http_error", "call": call, "status": status, "type": kind, "times": times});
        let name = format!("{status} {kind} of {call}");
        rows.push(row(name, move |clips| async move { control_plane(&clips.small, refusal).await }));
    }
    for (status, kind) in [
        (400, "ClientLimitExceededException"),
        (400, "InvalidArgumentException"),
        (401, "NotAuthorizedException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (429, "ThrottlingException"),
        (500, "InternalFailure"),
        (503, "ServiceUnavailableException"),
    ] {
        let refusal = |after: u64| json!({"action": "http_error", "status": status, "type": kind, "times": 3, "after": after});
        rows.push(simple(format!("{status} {kind} at the start"), vec![refusal(0)], "", 0));
        let reset = json!({"action": "reset", "after": 2});
        rows.push(simple(format!("{status} {kind} midway"), vec![refusal(1), reset], "", 1));
    }
    rows
}

/// The stream cannot be looked up at the start, and not again after a failure: nothing is sent meanwhile, and nothing lost.
async fn control_plane(clip: &Clip, refusal: Value) -> Kept {
    let mut world = World::new().await;
    world.fault(refusal.clone()).await;
    let playing = world.launch(&[clip], "");
    world.fragments(2).await;
    world.fault(refusal).await;
    // Asks for a new look-up.
    world.fault(json!({"action": "error", "id": 5000})).await;
    let run = playing.succeed().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped), (0, 0));
    assert!(kept.stored.duplicates <= 1 && kept.stored.sessions == 2, "{kept:?}");
    assert_eq!(world.state().await["faults"], json!([]), "all of them happened");
    world.stop().await;
    kept
}
