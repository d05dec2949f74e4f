//! Rows in which the network between master and agent is bad, or not there.

use std::time::{Duration, SystemTime};

use kvs_ingest_tests::impair::{Bursts, Impairment};
use tokio::time::sleep;

use super::kept::Kept;
use super::rows::{Row, row};
use super::world::World;

const MILLISECOND: Duration = Duration::from_millis(1);
/// What is not complete by the end of patience is left out, and counted: of a frame in a thousand nobody makes more.
const INCOMPLETE: f64 = 0.005;
/// Of a fifth lost in both directions nothing is promised, but that what is complete is stored and the connection goes on.
const HOPELESS: f64 = 0.8;

/// Some seconds of a network that is like this from the start.
async fn always(impairment: Impairment) -> Kept {
    let mut world = World::new().await;
    world.network.set(impairment);
    let master = world.master().await;
    let mut agent = world.streaming().await;
    world.more(&mut agent, 8).await;
    // What was lost just before the end, nobody sends again to an agent that has ended.
    world.network.set(Impairment::default());
    world.more(&mut agent, 2).await;
    world.finish(agent, Some(master)).await
}

fn steady(name: &'static str, impairment: Impairment, share: f64) -> Row {
    row(name, move || async move {
        always(impairment).await.hardly_any_lost(share, Duration::ZERO).once().over_one_connection()
    })
}

pub fn rows() -> Vec<Row> {
    let good = Impairment::default();
    vec![
        row("20 s of darkness", || darkness(Duration::from_secs(20))),
        row("3 s of darkness", || darkness(Duration::from_secs(3))),
        steady("20 % of packets lost", Impairment::drop(0.2), HOPELESS),
        steady(
            "5 % of packets lost, 50 ms round trip",
            Impairment { delay: 25 * MILLISECOND, ..Impairment::drop(0.05) },
            INCOMPLETE,
        ),
        steady("1 % of packets lost", Impairment::drop(0.01), INCOMPLETE),
        steady(
            "12 of every 300 packets lost in a row",
            Impairment { bursts: Some(Bursts { every: 300, length: 12 }), ..good },
            INCOMPLETE,
        ),
        steady("200 ms of jitter", Impairment { jitter: 200 * MILLISECOND, ..good }, INCOMPLETE),
        steady("reordered within 20 ms", Impairment { jitter: 20 * MILLISECOND, ..good }, INCOMPLETE),
        steady("every third packet twice", Impairment { duplicate: 0.33, ..good }, INCOMPLETE),
        steady("2 % of packets damaged", Impairment { corrupt: 0.02, ..good }, INCOMPLETE),
        row("NAT gives the master another port", rebinding),
    ]
}

/// The way to the master is gone for a while, signaling is not.
async fn darkness(length: Duration) -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    let from = SystemTime::now();
    world.network.cut();
    sleep(length).await;
    world.network.set(Impairment::default());
    // What was on its way when it went dark.
    world.was_away(from - 100 * MILLISECOND);
    world.gives_up();
    world.mark();
    world.more(&mut agent, 4).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(8)).once()
}

async fn rebinding() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    world.mark();
    world.network.rebind();
    world.more(&mut agent, 4).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1)).once().over_one_connection()
}
