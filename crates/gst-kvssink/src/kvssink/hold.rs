//! What a program that knows of another writer of the stream says to a sink.

use kvs_putmedia::Stored;
use tokio::sync::watch;

/// How the other writer of the stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Predecessor {
    /// What it has stored, without a hole, as far as is known.
    pub stored: Option<Stored>,
    /// It has ended, or is not waited for any longer.
    pub over: bool,
}

/// What a sink hears of it.
pub(super) type Hold = watch::Receiver<Predecessor>;

/// The next word; when nobody is there to say one, that the other is over. Never without a hold.
pub(super) async fn next(hold: Option<&mut Hold>) -> Predecessor {
    let Some(hold) = hold else { return std::future::pending().await };
    match hold.changed().await {
        Ok(()) => *hold.borrow_and_update(),
        Err(_) => Predecessor { over: true, ..*hold.borrow() },
    }
}
