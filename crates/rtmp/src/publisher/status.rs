//! What a server says of itself: the information object of `_result`, `_error` and `onStatus` (section 7.2).

use rtmp_runtime::amf0::Amf0Value;

/// More of a description helps nobody.
const MAX_TEXT: usize = 300;
/// And so many are looked through for what must not be told.
const MAX_READ: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) level: String,
    pub(super) code: String,
    pub(super) description: String,
}

impl Status {
    /// Of the last object among `arguments`, without what `hide` takes out.
    pub(super) fn of(arguments: &[Amf0Value], hide: impl Fn(String) -> String) -> Self {
        let fields = arguments.iter().rev().find_map(|value| match value {
            Amf0Value::Object(fields) | Amf0Value::EcmaArray(fields) => Some(fields),
            _ => None,
        });
        let text = |wanted: &str| {
            let value = fields?.iter().find(|(name, _)| name == wanted).map(|(_, value)| value)?;
            match value {
                Amf0Value::String(text) | Amf0Value::LongString(text) => {
                    // It goes into logs. What is hidden is so before it is cut: half a key is none that is known.
                    let plain = text.chars().filter(|letter| !letter.is_control());
                    Some(hide(plain.take(MAX_READ).collect()).chars().take(MAX_TEXT).collect())
                }
                _ => None,
            }
        };
        Self {
            level: text("level").unwrap_or_default(),
            code: text("code").unwrap_or_default(),
            description: text("description").unwrap_or_default(),
        }
    }

    /// Whether it refuses something. Some servers forget the level.
    pub(super) fn is_error(&self) -> bool {
        let code = self.code.as_str();
        self.level == "error"
            || ["BadName", "Denied", "Failed", "Rejected", "InvalidApp"]
                .iter()
                .any(|word| code.ends_with(word))
    }

    /// Whether it ends what is being published.
    pub(super) fn ends(&self) -> bool {
        ["NetStream.Unpublish.Success", "NetConnection.Connect.Closed", "NetConnection.Connect.AppShutdown"]
            .contains(&self.code.as_str())
    }
}
