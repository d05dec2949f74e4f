//! [`say!`](crate::say): what `cargo xtask` prints.

/// A line for the person at the terminal.
#[macro_export]
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write;
        // Nobody reads on (`| head`): that is no reason to fail, and `println!` would panic.
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}
