//! A row of the table: a run, and what must come of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::world::{Clip, Run, Stored, World};

/// What is played.
pub struct Clips {
    pub small: Clip,
    /// As small, with other pictures.
    pub other: Clip,
    /// Five seconds each, of one size and another.
    pub sizes: Vec<Clip>,
    /// A megabyte a second.
    pub fat: Clip,
    /// For as long as tokens are renewed a few times.
    pub long: Clip,
}

/// The figures of a row.
#[derive(Debug)]
pub struct Kept {
    pub played: usize,
    pub stored: Stored,
    /// Frames that the sink says that it dropped.
    pub dropped: u64,
}

impl Kept {
    pub async fn of(world: &World, clips: &[&Clip], last: &Run) -> Self {
        Self {
            played: clips.iter().map(|clip| clip.packets.len()).sum(),
            stored: world.stored(clips).await,
            dropped: last.figure("video-frames-dropped"),
        }
    }

    /// Fewer frames than the clips have came to the sink.
    pub fn played(self, played: usize) -> Self {
        Self { played, ..self }
    }
}

type Running = Pin<Box<dyn Future<Output = Kept> + Send>>;

pub struct Row {
    pub name: String,
    pub run: Box<dyn FnOnce(Arc<Clips>) -> Running + Send>,
}

pub fn row<F, R>(name: impl Into<String>, run: F) -> Row
where
    F: FnOnce(Arc<Clips>) -> R + Send + 'static,
    R: Future<Output = Kept> + Send + 'static,
{
    Row { name: name.into(), run: Box::new(move |clips| Box::pin(run(clips))) }
}
