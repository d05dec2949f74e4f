//! The playback operations and what players fetch, over HTTP.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    middleware,
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use serde_json::json;

use super::{
    clip::get_clip,
    dash, hls,
    images::get_images,
    media::{Config, TrackSamples},
    mp4, request,
    respond::{answer, blocking},
    session::{Container, Mode, Options, Protocol, Session},
    ts,
};
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    clock::now_ms,
    cors,
    error::ServiceError,
};

/// What is signed.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/getHLSStreamingSessionURL", post(open_hls))
        .route("/getDASHStreamingSessionURL", post(open_dash))
        .route("/getClip", post(get_clip))
        .route("/getImages", post(get_images))
}

/// What players fetch. The session's token is their only credential, and their page may be anybody's.
pub(crate) fn player_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/hls/v1/getHLSMasterPlaylist.m3u8", get(master_playlist).options(cors::preflight))
        .route("/hls/v1/getHLSMediaPlaylist.m3u8", get(media_playlist).options(cors::preflight))
        .route("/hls/v1/getMP4InitFragment.mp4", get(init_fragment).options(cors::preflight))
        .route("/hls/v1/getMP4MediaFragment.mp4", get(media_fragment).options(cors::preflight))
        .route("/hls/v1/getTSFragment.ts", get(ts_fragment).options(cors::preflight))
        .route("/dash/v1/getDASHManifest.mpd", get(manifest).options(cors::preflight))
        .route("/dash/v1/getMP4InitFragment.mp4", get(init_fragment).options(cors::preflight))
        .route("/dash/v1/getMP4MediaFragment.mp4", get(media_fragment).options(cors::preflight))
        .layer(middleware::from_fn(cors::allow_players))
}

async fn open(app: &Arc<App>, signed: &Signed, options: Options) -> Result<String, ServiceError> {
    let stream = request::kept_stream(app, &signed.caller, &signed.members)?;
    let opener = app.clone();
    let session = blocking(move || Session::open(&opener.archive, stream, options, now_ms())).await?;
    Ok(app.playback.add(session))
}

async fn open_hls(State(app): State<Arc<App>>, signed: Signed) -> Answer {
    let token = open(&app, &signed, request::hls(&signed.members)?).await?;
    let endpoint = signed.caller.http_url();
    let url = format!("{endpoint}/hls/v1/getHLSMasterPlaylist.m3u8?SessionToken={token}");
    Ok(Json(json!({ "HLSStreamingSessionURL": url })))
}

async fn open_dash(State(app): State<Arc<App>>, signed: Signed) -> Answer {
    let token = open(&app, &signed, request::dash(&signed.members)?).await?;
    let endpoint = signed.caller.http_url();
    let url = format!("{endpoint}/dash/v1/getDASHManifest.mpd?SessionToken={token}");
    Ok(Json(json!({ "DASHStreamingSessionURL": url })))
}

/// The query of a player.
struct Query(Option<String>);

impl Query {
    fn value(&self, name: &str) -> Option<String> {
        let query = self.0.as_deref().unwrap_or("").as_bytes();
        url::form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A number that must be there.
    fn number(&self, name: &str) -> Result<u64, ServiceError> {
        let value = self.value(name).and_then(|value| value.parse().ok());
        value.ok_or_else(|| ServiceError::invalid(name, "must be a number"))
    }

    /// `TrackNumber`: the place of the track, from 0.
    fn track(&self, session: &Session) -> Result<usize, ServiceError> {
        let number = usize::try_from(self.number("TrackNumber")?).unwrap_or(0);
        let place = number.checked_sub(1).filter(|place| *place < session.tracks.len());
        place.ok_or_else(|| ServiceError::invalid("TrackNumber", "is none of the session's tracks"))
    }

    /// The session, and its token, if its stream is still there and it is of this protocol.
    fn session(&self, app: &App, is: fn(Protocol) -> bool) -> Result<(Arc<Session>, String), ServiceError> {
        let token = self.value("SessionToken").unwrap_or_default();
        let session = app.playback.get(&token)?;
        if !is(session.options.protocol) {
            return Err(ServiceError::invalid(
                "SessionToken",
                "is of a session of another protocol or container",
            ));
        }
        app.control.current(&session.stream)?.serving()?;
        Ok((session, token))
    }
}

fn is_hls(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Hls { .. })
}

fn is_dash(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Dash { .. })
}

fn is_ts(protocol: Protocol) -> bool {
    !is_mp4(protocol)
}

fn is_mp4(protocol: Protocol) -> bool {
    protocol != Protocol::Hls { container: Container::MpegTs }
}

fn container(session: &Session) -> Container {
    match session.options.protocol {
        Protocol::Hls { container } => container,
        Protocol::Dash { .. } => Container::FragmentedMp4,
    }
}

const PLAYLIST: &str = "application/vnd.apple.mpegurl";

async fn master_playlist(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ServiceError> {
    let (session, token) = Query(query).session(&app, is_hls)?;
    let text = blocking(move || {
        let view = session.view(&app.archive, now_ms())?;
        let container = container(&session);
        Ok(hls::Master { tracks: &session.tracks, container, token: &token }.write(&view))
    });
    Ok(answer(PLAYLIST, false, text.await?))
}

async fn media_playlist(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ServiceError> {
    let query = Query(query);
    let (session, token) = query.session(&app, is_hls)?;
    let container = container(&session);
    let track = if container == Container::MpegTs { 1 } else { query.track(&session)? + 1 };
    let text = blocking(move || {
        let view = session.view(&app.archive, now_ms())?;
        let Options { discontinuities, timestamps, mode, .. } = session.options;
        let on_demand = matches!(mode, Mode::OnDemand { .. });
        Ok(hls::Media { container, discontinuities, timestamps, track, token: &token, on_demand }
            .write(&view))
    });
    Ok(answer(PLAYLIST, false, text.await?))
}

fn media_type(place: usize, session: &Session) -> &'static str {
    match &session.tracks[place] {
        Config::Video(_) => "video/mp4",
        Config::Audio(_) => "audio/mp4",
    }
}

async fn init_fragment(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ServiceError> {
    let query = Query(query);
    let (session, _) = query.session(&app, is_mp4)?;
    let place = query.track(&session)?;
    let index = usize::try_from(query.number("SequenceNumber")?).unwrap_or(usize::MAX);
    let configs = session.config(index)?;
    let config = configs.get(place).ok_or_else(|| ServiceError::internal("a track without configuration"))?;
    Ok(answer(media_type(place, &session), true, mp4::init_segment(config, place as u32 + 1)))
}

async fn media_fragment(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ServiceError> {
    let query = Query(query);
    let (session, _) = query.session(&app, is_mp4)?;
    let place = query.track(&session)?;
    let sequence = query.number("FragmentNumber")?;
    let kind = media_type(place, &session);
    let segment = fragment(&app, session, sequence, move |tracks| {
        let number = u32::try_from(sequence + 1).unwrap_or(u32::MAX);
        Ok(mp4::media_segment(&tracks[place].samples, place as u32 + 1, number))
    });
    Ok(answer(kind, true, segment.await?))
}

async fn ts_fragment(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ServiceError> {
    let query = Query(query);
    let (session, _) = query.session(&app, is_ts)?;
    let sequence = query.number("FragmentNumber")?;
    let segment = fragment(&app, session, sequence, |tracks| Ok(ts::segment(&tracks)?));
    Ok(answer("video/mp2t", true, segment.await?))
}

async fn manifest(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Response, ServiceError> {
    let (session, token) = Query(query).session(&app, is_dash)?;
    let text = blocking(move || {
        let now_ms = now_ms();
        let view = session.view(&app.archive, now_ms)?;
        let Options { timestamps, protocol, .. } = session.options;
        let numbers = protocol == Protocol::Dash { numbers: true };
        Ok(dash::Manifest { tracks: &session.tracks, token: &token, timestamps, numbers, now_ms }
            .write(&view))
    });
    Ok(answer("application/dash+xml", false, text.await?))
}

/// Reads a fragment and writes it anew, a few at a time. No lock is held meanwhile.
async fn fragment(
    app: &Arc<App>,
    session: Arc<Session>,
    sequence: u64,
    write: impl FnOnce(Vec<TrackSamples>) -> Result<Bytes, ServiceError> + Send + 'static,
) -> Result<Bytes, ServiceError> {
    let _turn = app.playback.turn().await?;
    let app = app.clone();
    blocking(move || write(session.samples(&app.archive, sequence)?)).await
}
