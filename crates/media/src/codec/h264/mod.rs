//! H.264: RTP payloads to access units (RFC 6184, ITU-T H.264).

mod assemble;
pub(crate) mod bits;
mod depacketize;
mod nal;
mod parameters;
mod profile;
mod slice;
mod sps;
mod stream;

pub use depacketize::{H264Depacketizer, H264Error};
pub use parameters::ParameterError;
pub(super) use profile::profile_name;
pub use sps::{Sps, SpsError};
pub(super) use stream::{H264Stream, announces_key_frame, is_of_idr};
