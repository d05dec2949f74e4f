//! Storage sessions: a channel's master is recorded into a stream by the service itself, and seen by viewers through it
//! (developer guide, "WebRTC ingestion and storage"). The session is a WebRTC peer over str0m, of which the agent, whose
//! engine is of another family, has nothing.

mod answer;
mod api;
mod clock;
mod drops;
mod peer;
mod picture;
mod recording;
mod session;
mod sessions;
mod sound;
mod task;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod writer;

pub(crate) use self::api::routes;
pub(crate) use self::sessions::Sessions;
