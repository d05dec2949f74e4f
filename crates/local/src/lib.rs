//! KVS on localhost.
#![forbid(unsafe_code)]

pub mod archive;
pub mod mkv;
pub mod putmedia;
