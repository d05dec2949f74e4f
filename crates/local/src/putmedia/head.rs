//! [`Head`]: what the headers of a PutMedia request say (API reference, "PutMedia").

use http::HeaderMap;

use crate::{
    App,
    error::{ErrorKind, ServiceError},
    model::{Arn, ArnKind, Scope, Stream},
    names::is_name,
};

/// A session's parameters.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// As it was when the session began.
    pub(super) stream: Stream,
    /// Added to the timecodes of clusters: the producer's start when they are relative to it.
    pub(super) base_ms: u64,
    /// Whether the producer wants acknowledgements. Errors are sent in any case.
    pub(super) acks: bool,
}

impl Head {
    pub(super) fn read(app: &App, scope: &Scope, headers: &HeaderMap) -> Result<Self, ServiceError> {
        const NAME: &str = "x-amzn-stream-name";
        const ARN: &str = "x-amzn-stream-arn";
        let (name, arn) = (text(headers, NAME)?, text(headers, ARN)?);
        if name.is_some() == arn.is_some() {
            return Err(ServiceError::new(
                ErrorKind::InvalidArgument,
                "Exactly one of x-amzn-stream-name and x-amzn-stream-arn must be given.",
            ));
        }
        if name.is_some_and(|name| !is_name(name)) {
            return Err(ServiceError::invalid(NAME, "must be 1 to 256 of [a-zA-Z0-9_.-]"));
        }
        let arn: Option<Arn> =
            arn.map(str::parse).transpose().map_err(|why: &str| ServiceError::invalid(ARN, why))?;
        if arn.as_ref().is_some_and(|arn| arn.kind != ArnKind::Stream) {
            return Err(ServiceError::invalid(ARN, "must be a stream's ARN"));
        }
        arn.iter().try_for_each(|arn| scope.check(arn))?;
        let stream = app.control.find_stream(scope, name, arn)?.serving()?;
        let (base_ms, acks) = times(headers)?;
        Ok(Self { stream, base_ms, acks })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ServiceError> {
    let value = headers.get(name).map(|value| value.to_str().map(str::trim));
    value.transpose().map_err(|_| ServiceError::invalid(name, "is no text"))
}

fn times(headers: &HeaderMap) -> Result<(u64, bool), ServiceError> {
    const START: &str = "x-amzn-producer-start-timestamp";
    const TYPE: &str = "x-amzn-fragment-timecode-type";
    const ACKS: &str = "x-amzn-fragment-acknowledgment-required";
    let start = match text(headers, START)? {
        None => None,
        Some(seconds) => Some(
            // The C++ producer does not pad the milliseconds: `.19` may be 19 ms. What is written is what counts.
            seconds
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))
                .ok_or_else(|| ServiceError::invalid(START, "must be seconds since 1970"))?,
        ),
    };
    let base_ms = match (text(headers, TYPE)?, start) {
        (Some("ABSOLUTE"), _) => 0,
        (Some("RELATIVE"), Some(start)) => (start * 1000.0).round() as u64,
        (Some("RELATIVE"), None) => {
            return Err(ServiceError::invalid(START, "is required with RELATIVE timecodes"));
        }
        _ => return Err(ServiceError::invalid(TYPE, "must be ABSOLUTE or RELATIVE")),
    };
    let acks = match text(headers, ACKS)? {
        None | Some("1") => true,
        Some("0") => false,
        Some(_) => return Err(ServiceError::invalid(ACKS, "must be 0 or 1")),
    };
    Ok((base_ms, acks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Result<(u64, bool), String> {
        let headers = pairs.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        times(&headers.collect()).map_err(|error| error.message)
    }

    #[test]
    fn times_and_acknowledgements() {
        let kind = "x-amzn-fragment-timecode-type";
        let start = "x-amzn-producer-start-timestamp";
        let acks = "x-amzn-fragment-acknowledgment-required";
        assert_eq!(of(&[(kind, "ABSOLUTE")]), Ok((0, true)));
        assert_eq!(of(&[(kind, "ABSOLUTE"), (start, "1795215762.19"), (acks, "0")]), Ok((0, false)));
        assert_eq!(
            of(&[(kind, "RELATIVE"), (start, "1795215762.982"), (acks, "1")]),
            Ok((1_795_215_762_982, true))
        );
        for (pairs, name) in [
            (&[][..], kind),
            (&[(kind, "absolute")][..], kind),
            (&[(kind, "RELATIVE")], start),
            (&[(kind, "ABSOLUTE"), (start, "soon")], start),
            (&[(kind, "ABSOLUTE"), (start, "NaN")], start),
            (&[(kind, "ABSOLUTE"), (start, "1e300")], start),
            (&[(kind, "ABSOLUTE"), (acks, "yes")], acks),
        ] {
            let message = of(pairs).unwrap_err();
            assert!(message.starts_with(name), "{pairs:?}: {message}");
        }
    }
}
