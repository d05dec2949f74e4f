//! What was recorded, for players: streaming sessions of HLS and DASH, clips and images.

mod clip;
mod dash;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod hls;
mod http;
mod images;
mod media;
mod mp4;
mod player;
mod request;
mod respond;
mod session;
mod sessions;
mod text;
mod timeline;
mod ts;
#[cfg(test)]
mod untrusted;

pub(crate) use self::http::{player_routes, routes};
pub(crate) use self::images::{Decoder, Format, Size, pictures_of_fragment};
pub(crate) use self::media::h264_size;
pub(crate) use self::sessions::Playback;
