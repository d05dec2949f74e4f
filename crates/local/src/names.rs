//! The characters of names: of channels, streams, devices, clients and messages.

/// The rule as the service model writes it.
pub(crate) const NAME_PATTERN: &str = "[a-zA-Z0-9_.-]+";

/// Whether a name may have this character.
pub(crate) fn name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Whether this is the name of a channel or a stream, a client id or a correlation id: 1 to 256 of [`name_char`].
pub(crate) fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.chars().all(name_char)
}
