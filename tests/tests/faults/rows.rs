//! A row of the table: what happens, and what came of it.

use std::future::Future;
use std::pin::Pin;

use super::kept::Kept;

/// `None`: this machine cannot play it.
type Running = Pin<Box<dyn Future<Output = Option<Kept>> + Send>>;

pub struct Row {
    pub name: &'static str,
    pub run: Box<dyn FnOnce() -> Running + Send>,
}

pub fn row<F, R>(name: &'static str, run: F) -> Row
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output: Into<Option<Kept>>> + Send + 'static,
{
    Row {
        name,
        run: Box::new(move || {
            let running = run();
            Box::pin(async move { running.await.into() })
        }),
    }
}
