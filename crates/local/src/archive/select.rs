//! Which fragments a reader wants: FragmentSelector and pages of ListFragments.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::index::FragmentInfo;

/// Whose time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer's.
    Producer,
    /// When the service began to receive the fragment.
    Server,
}

/// `FragmentSelector`: fragments whose start lies within the range, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selector {
    /// Whose time.
    pub kind: TimestampKind,
    /// Milliseconds since 1970.
    pub from_ms: u64,
    /// Milliseconds since 1970.
    pub to_ms: u64,
}

impl Selector {
    fn takes(&self, info: &FragmentInfo) -> bool {
        let at = match self.kind {
            TimestampKind::Producer => info.producer_ms,
            TimestampKind::Server => info.server_ms,
        };
        (self.from_ms..=self.to_ms).contains(&at)
    }
}

/// Some fragments, and where the next page starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In the order of their producer times.
    pub fragments: Vec<Arc<FragmentInfo>>,
    /// For the next call.
    pub next_token: Option<String>,
}

/// A token that this server did not give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("NextToken: not one of this service")]
pub struct SelectError;

/// A page of at most `most` of `all`, which are in the order of their producer times.
///
/// # Errors
/// [`SelectError`].
pub fn select(
    all: &[Arc<FragmentInfo>],
    selector: Option<Selector>,
    most: usize,
    token: Option<&str>,
) -> Result<Page, SelectError> {
    let after: Option<u64> = match token {
        Some(token) => {
            let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| SelectError)?;
            Some(std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()).ok_or(SelectError)?)
        }
        None => None,
    };
    let mut wanted = all
        .iter()
        .filter(|info| selector.is_none_or(|selector| selector.takes(info)))
        .filter(|info| after.is_none_or(|after| info.producer_ms > after));
    let fragments: Vec<_> = wanted.by_ref().take(most).cloned().collect();
    let next_token = match (wanted.next(), fragments.last()) {
        (Some(_), Some(last)) => Some(URL_SAFE_NO_PAD.encode(last.producer_ms.to_string())),
        _ => None,
    };
    Ok(Page { fragments, next_token })
}

#[cfg(test)]
mod tests {
    use super::super::index::SessionInfo;
    use super::*;

    fn all() -> Vec<Arc<FragmentInfo>> {
        (1..=5_u64)
            .map(|n| {
                Arc::new(FragmentInfo {
                    number: n.to_string(),
                    producer_ms: n * 1_000,
                    server_ms: n * 1_000 + 500,
                    persisted_ms: 0,
                    duration_ms: 1_000,
                    size: 1,
                    video_frames: 1,
                    audio_frames: 0,
                    header: String::new(),
                    session: SessionInfo::default(),
                })
            })
            .collect()
    }

    #[test]
    fn pages_cover_everything_once() {
        let all = all();
        let mut seen = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = select(&all, None, 2, token.as_deref()).unwrap();
            assert!(page.fragments.len() <= 2);
            seen.extend(page.fragments);
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        assert_eq!(select(&all, None, 2, Some("?")), Err(SelectError));
    }

    #[test]
    fn a_range_is_of_the_time_that_it_names() {
        let all = all();
        let starts = |kind, from_ms, to_ms| {
            let page = select(&all, Some(Selector { kind, from_ms, to_ms }), 10, None).unwrap();
            page.fragments.iter().map(|info| info.producer_ms).collect::<Vec<_>>()
        };
        assert_eq!(starts(TimestampKind::Producer, 2_000, 3_000), [2_000, 3_000]);
        assert_eq!(starts(TimestampKind::Server, 2_000, 3_000), [2_000]);
    }
}
