//! A row of the table: what happens, and what came of it.

use std::future::Future;
use std::pin::Pin;

use super::kept::Kept;

type Running = Pin<Box<dyn Future<Output = Kept> + Send>>;

pub struct Row {
    pub name: &'static str,
    pub run: Box<dyn FnOnce() -> Running + Send>,
}

pub fn row<F, R>(name: &'static str, run: F) -> Row
where
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = Kept> + Send + 'static,
{
    Row { name, run: Box::new(move || Box::pin(run())) }
}
