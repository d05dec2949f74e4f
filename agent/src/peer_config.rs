//! What a peer connection is to be like, as the settings say.

use crate::bind;
use crate::peer::{DataConfig, Destinations, PeerConfig};
use crate::settings::Settings;
use kvs_aws::AwsContext;

/// Without servers. `ice_bind` and `receive_buffer` are those of the command line.
pub fn peer_config(
    settings: &Settings,
    aws: &AwsContext,
    ice_bind: &[String],
    receive_buffer: usize,
) -> PeerConfig {
    PeerConfig {
        video: settings.video_codecs(),
        audio: settings.audio_codecs(),
        data: settings.media.data.as_ref().map(|data| DataConfig { open: data.open.clone() }),
        start_bitrate_kbps: settings.media.video.start_bitrate_kbps,
        relay_only: settings.relay_only,
        ice_servers: Vec::new(),
        bind: bind::addresses(ice_bind, aws.has_custom_endpoint()),
        ports: settings.ports.map(|ports| ports.min..=ports.max),
        receive_buffer,
        destinations: Destinations {
            // The master of an emulator may be on this machine.
            loopback: aws.has_custom_endpoint(),
            denied: settings.denied.clone(),
        },
    }
}
