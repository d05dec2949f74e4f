//! What is kept: channels, streams and fragments, and how they are named.

mod arn;
mod channel;
mod error_id;
mod fragment;
mod scope;
mod status;
mod stream;

pub use self::arn::{ACCOUNT, Arn, ArnKind, is_account};
pub use self::channel::Channel;
pub use self::error_id::ErrorId;
pub use self::fragment::Fragment;
pub use self::scope::Scope;
pub use self::status::{Status, Transition};
pub use self::stream::{EdgeConfiguration, Stream};
