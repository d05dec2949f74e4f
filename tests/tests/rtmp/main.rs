//! The output `rtmp` against servers that nobody here wrote: nginx with its RTMP module, and stunnel in front of it. What they
//! received is compared with what the synthetic master sent, frame by frame, and where there is a stream with what is stored.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod faults;
mod media;
mod refusals;
mod soak;
mod world;
