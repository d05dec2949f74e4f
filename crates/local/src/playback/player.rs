//! [`Player`]: what a player fetches with, in front of each handler that serves it.

use std::{marker::PhantomData, sync::Arc};

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::session::{Container, Protocol, Session};
use crate::{App, error::ServiceError};

/// The sessions that a path serves.
pub(super) trait Kind {
    fn is(protocol: Protocol) -> bool;
}

/// Those with playlists.
pub(super) struct Hls;
/// Those with a manifest.
pub(super) struct Dash;
/// Those whose segments are fragmented MP4.
pub(super) struct Mp4;
/// Those whose segments are MPEG-TS.
pub(super) struct Ts;

impl Kind for Hls {
    fn is(protocol: Protocol) -> bool {
        matches!(protocol, Protocol::Hls { .. })
    }
}

impl Kind for Dash {
    fn is(protocol: Protocol) -> bool {
        matches!(protocol, Protocol::Dash { .. })
    }
}

impl Kind for Mp4 {
    fn is(protocol: Protocol) -> bool {
        !Ts::is(protocol)
    }
}

impl Kind for Ts {
    fn is(protocol: Protocol) -> bool {
        protocol == Protocol::Hls { container: Container::MpegTs }
    }
}

/// A session of this kind, whose stream is still there, and the query that named it.
pub(super) struct Player<K> {
    pub(super) session: Arc<Session>,
    pub(super) token: String,
    query: String,
    kind: PhantomData<K>,
}

impl<K: Kind> FromRequestParts<Arc<App>> for Player<K> {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ServiceError> {
        let query = parts.uri.query().unwrap_or("").to_owned();
        let token = value(&query, "SessionToken").unwrap_or_default();
        let session = app.playback.get(&token)?;
        if !K::is(session.options.protocol) {
            return Err(ServiceError::invalid(
                "SessionToken",
                "is of a session of another protocol or container",
            ));
        }
        app.control.current(&session.stream)?.serving()?;
        Ok(Self { session, token, query, kind: PhantomData })
    }
}

impl<K> Player<K> {
    /// A number that must be there.
    pub(super) fn number(&self, name: &str) -> Result<u64, ServiceError> {
        let value = value(&self.query, name).and_then(|value| value.parse().ok());
        value.ok_or_else(|| ServiceError::invalid(name, "must be a number"))
    }

    /// `TrackNumber`: the place of the track, from 0.
    pub(super) fn track(&self) -> Result<usize, ServiceError> {
        let number = usize::try_from(self.number("TrackNumber")?).unwrap_or(0);
        let place = number.checked_sub(1).filter(|place| *place < self.session.tracks.len());
        place.ok_or_else(|| ServiceError::invalid("TrackNumber", "is none of the session's tracks"))
    }
}

fn value(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
