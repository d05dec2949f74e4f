//! Why nothing can be published.

use rtmp_runtime::RtmpError;
use std::fmt;

/// How far a connection is: what is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The server's half of the handshake.
    Handshake,
    /// The answer to `connect`, which names the application.
    Connect,
    /// The answer to `createStream`.
    CreateStream,
    /// The answer to `publish`, which names the stream.
    Publish,
    /// Nothing: it takes media.
    Publishing,
    /// Nothing: the broadcast was ended from here.
    Closed,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the handshake",
            Self::Connect => "connect",
            Self::CreateStream => "createStream",
            Self::Publish => "publish",
            Self::Publishing => "the broadcast",
            Self::Closed => "the end of the broadcast",
        })
    }
}

/// Why a connection is of no use (any more). None of it holds the stream key.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The first byte is not that of the handshake.
    #[error(
        "what answers there does not speak RTMP (its first byte is {first:#04x}): are scheme and port right?"
    )]
    NotRtmp {
        /// Instead of 3.
        first: u8,
    },
    /// The server said no.
    #[error("the server refused {step}: {}", said(.code, .description))]
    Refused {
        /// What it refused.
        step: Step,
        /// `NetStream.Publish.BadName`, say; empty if it gave none.
        code: String,
        /// A sentence; empty if it gave none.
        description: String,
    },
    /// It closed the connection.
    #[error("the server closed the connection{}", during(*.step))]
    Closed {
        /// What was waited for.
        step: Step,
    },
    /// It sent something that is no RTMP, or too large.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] RtmpError),
}

impl PublishError {
    /// It is the application or the stream key that the server does not want, as far as one can tell: it says so, or it closes the
    /// connection instead of an answer, as Amazon IVS and nginx do.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { step, .. } => *step < Step::Publishing,
            Self::Closed { step } => matches!(step, Step::Connect | Step::CreateStream | Step::Publish),
            Self::NotRtmp { .. } | Self::Protocol(_) => false,
        }
    }
}

fn said(code: &str, description: &str) -> String {
    match (code, description) {
        ("", "") => "it gives no reason".to_owned(),
        (text, "") | ("", text) => text.to_owned(),
        (code, description) => format!("{code} ({description})"),
    }
}

fn during(step: Step) -> String {
    match step {
        Step::Publishing => " while it received".to_owned(),
        Step::Closed => " after the end of the broadcast".to_owned(),
        Step::Handshake => " in the handshake: is it TLS that it wants (rtmps://)?".to_owned(),
        Step::Connect => {
            " instead of an answer to connect: it does not know the application, or refuses it".to_owned()
        }
        Step::CreateStream | Step::Publish => {
            format!(" instead of an answer to {step}: the stream key is wrong, used up, or in use")
        }
    }
}
