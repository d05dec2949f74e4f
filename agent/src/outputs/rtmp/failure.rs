//! Why an output does not receive, in a word and a sentence.

use kvs_aws::{ConnectError, causes};
use kvs_rtmp::{PublishError, Step};
use std::time::Duration;

use super::settings::SettingsError;

/// What ended an attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// One CamelCase word.
    pub(super) reason: &'static str,
    /// A person has to do something.
    pub(super) needs_a_person: bool,
    /// With the remedy where there is one; never the stream key.
    pub(super) message: String,
}

impl Failure {
    fn heals(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, needs_a_person: false, message: message.into() }
    }

    fn stays(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, needs_a_person: true, message: message.into() }
    }

    /// It accepted the connection, and does not go on.
    pub(super) fn no_answer(step: Step, within: Duration) -> Self {
        Self::heals("NoAnswer", format!("no answer to {step} within {} s", within.as_secs()))
    }

    /// It takes nothing any more.
    pub(super) fn stalled(after: Duration) -> Self {
        Self::heals("ServerStalled", format!("the server has read nothing for {} s", after.as_secs()))
    }

    /// It said yes, and closed the connection at once.
    pub(super) fn closed_soon() -> Self {
        let message = "the server accepted the broadcast and closed the connection at once: some services refuse a stream key so \
                       that is wrong, used up or in use, and what they cannot transcode";
        Self::stays("PublishRefused", message)
    }

    /// The connection broke.
    pub(super) fn lost(error: &std::io::Error) -> Self {
        Self::heals("ConnectionLost", format!("the connection broke: {error}"))
    }

    /// What the master sends cannot go over RTMP.
    pub(super) fn codec(message: &str) -> Self {
        Self::stays("CodecNotSupported", message)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::stays("OutputMisconfigured", error.to_string())
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            error if error.is_refusal() => Self::stays("PublishRefused", message),
            PublishError::NotRtmp { .. } => Self::stays("NotRtmp", message),
            PublishError::Refused { .. } => Self::heals("PublishEnded", message),
            PublishError::Closed { .. } => Self::heals("ConnectionLost", message),
            PublishError::Protocol(_) => Self::heals("ProtocolError", message),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = causes(&error);
        match &error {
            ConnectError::Endpoint { .. } | ConnectError::Proxy { .. } | ConnectError::Roots(_) => {
                Self::stays("OutputMisconfigured", message)
            }
            ConnectError::Unreachable { .. } => Self::heals("ServerUnreachable", message),
            ConnectError::Tls { source, .. } => match certificate(source) {
                Some((reason, remedy)) => Self::stays(reason, format!("{message}: {remedy}")),
                None => Self::heals("TlsFailed", message),
            },
            ConnectError::ProxyUnreachable { .. }
            | ConnectError::ProxyTls { .. }
            | ConnectError::ProxyRefused { .. }
            | ConnectError::ProxyBroken { .. }
            | ConnectError::ProxySilent { .. } => Self::heals("ProxyFailed", message),
        }
    }
}

/// What is wrong with a certificate, and what to do about it.
fn certificate(error: &std::io::Error) -> Option<(&'static str, &'static str)> {
    use rustls::CertificateError as Wrong;
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(wrong) = inner else { return None };
    Some(match wrong {
        Wrong::UnknownIssuer => (
            "CertificateNotTrusted",
            "its certificate is of an authority that is not trusted here; give that by caBundleRef",
        ),
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            ("CertificateExpired", "the server needs a new certificate, or this machine's clock is wrong")
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            ("CertificateNotValidYet", "this machine's clock is wrong, or the server's was")
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            ("CertificateOfAnotherHost", "the URL must have the host that the certificate names")
        }
        _ => ("CertificateNotValid", "the server needs another certificate"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_apart() {
        use rustls::CertificateError::{BadEncoding, Expired, NotValidForName, NotValidYet, UnknownIssuer};
        for (wrong, reason) in [
            (UnknownIssuer, "CertificateNotTrusted"),
            (Expired, "CertificateExpired"),
            (NotValidYet, "CertificateNotValidYet"),
            (NotValidForName, "CertificateOfAnotherHost"),
            (BadEncoding, "CertificateNotValid"),
        ] {
            let error = rustls::Error::InvalidCertificate(wrong);
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            let failure = Failure::from(ConnectError::Tls { host: "h:443".to_owned(), source });
            assert_eq!((failure.reason, failure.needs_a_person), (reason, true));
            assert!(failure.message.starts_with("no TLS with h:443: invalid peer certificate"));
        }
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let failure = Failure::from(ConnectError::Tls { host: "h:443".to_owned(), source });
        assert_eq!((failure.reason, failure.needs_a_person), ("TlsFailed", false));
    }
}
