//! What was recorded, for players: streaming sessions of HLS and DASH, clips and images.

mod clip;
mod dash;
mod hls;
mod http;
mod images;
mod media;
mod mp4;
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
pub(crate) use self::media::h264_size;
pub(crate) use self::sessions::Playback;
