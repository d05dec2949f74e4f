//! Masters that nobody here wrote: aiortc, Pion and webrtcbin on kvs-local, and every frame that they sent looked for in what the agent
//! stored. `cargo xtask test strangers` makes what they need and says where it is.
#![allow(clippy::unwrap_used, reason = "a test")]

mod aiortc;
mod pion;
mod storage;
mod webrtcbin;
mod world;
