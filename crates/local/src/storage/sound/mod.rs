//! Sound of a storage session: Opus from the peer, AAC into the stream.

mod adts;
mod encoder;
mod grid;
mod opus;
mod track;

pub(super) use self::adts::AacFrame;
pub(super) use self::encoder::{Encoded, Encoder, GRACE as ENCODER_GRACE};
pub(super) use self::grid::Figures as SoundFigures;
pub(super) use self::track::SoundTrack;
