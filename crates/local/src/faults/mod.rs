//! Faults that are made on purpose: of calls about a stream or a channel, by a layer above the operations that knows
//! nothing of them, and of PutMedia sessions, which ask for theirs.

mod answers;
mod armed;
mod order;

pub(crate) use self::answers::{answer_instead, replace_answers};
pub use self::armed::{CallFault, Faults, Modes};
pub(crate) use self::order::CALL_ACTIONS;
pub use self::order::{Call, Fault, Order};
