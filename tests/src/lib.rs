//! What the end-to-end suites share: the agent as a child, a synthetic master, a browser, an impaired network, and a
//! reader of what was stored. None of it uses the agent's own crates, which only the tests of the synthetic master do.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "read by its neighbours only")]

pub mod agent;
pub mod browser;
pub mod coturn;
pub mod helm;
pub mod http;
pub mod impair;
pub mod iot;
pub mod kubernetes;
pub mod local;
pub mod master;
pub mod messages;
pub mod nal;
pub mod numbered;
pub mod otlp;
pub mod packets;
pub mod pauses;
pub mod pods;
pub mod proxy;
pub mod rtmp;
pub mod sound;
pub mod stored;
pub mod stranger;
pub mod tenancy;
pub mod tripwire;
pub mod turn_front;
pub mod usage;
pub mod verdict;
