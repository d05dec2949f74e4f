//! The HTTP server that operator and agent have: its socket, and its connections. Whoever reaches the port may be anybody.

mod connections;
mod listen;

pub use self::connections::serve;
pub use self::listen::{Listening, listen};
