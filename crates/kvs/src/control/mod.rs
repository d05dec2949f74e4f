//! The control plane: channels, streams and their endpoints. Every call goes through AWS's own SDK.

mod channel;
mod find;
mod plane;
mod stream;

pub use self::channel::{ChannelEndpoints, ChannelInfo, MediaStorage, Role};
pub use self::find::Found;
pub use self::plane::{ControlPlane, Tags};
pub use self::stream::{NewStream, StreamInfo};
