//! What follows from a fragment that was stored: images into a folder that stands for S3, notifications into files that stand
//! for SNS, and to whoever subscribes by HTTP.

mod bucket;
mod figures;
mod images;
mod push;
mod queues;
mod sampler;
mod tags;
mod topics;

pub(crate) use self::images::make_images;
pub(crate) use self::push::push_notifications;
pub(crate) use self::queues::{Delivery, Waiting};
