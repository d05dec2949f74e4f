//! The playback operations and what players fetch, over HTTP.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
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
    mp4,
    player::{Dash, Hls, Mp4, Player, Ts},
    request,
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

fn container(session: &Session) -> Container {
    match session.options.protocol {
        Protocol::Hls { container } => container,
        Protocol::Dash { .. } => Container::FragmentedMp4,
    }
}

const PLAYLIST: &str = "application/vnd.apple.mpegurl";

async fn master_playlist(State(app): State<Arc<App>>, player: Player<Hls>) -> Result<Response, ServiceError> {
    let text = blocking(move || {
        let Player { session, token, .. } = player;
        let view = session.view(&app.archive, now_ms())?;
        let container = container(&session);
        Ok(hls::Master { tracks: &session.tracks, container, token: &token }.write(&view))
    });
    Ok(answer(PLAYLIST, false, text.await?))
}

async fn media_playlist(State(app): State<Arc<App>>, player: Player<Hls>) -> Result<Response, ServiceError> {
    let container = container(&player.session);
    let track = if container == Container::MpegTs { 1 } else { player.track()? + 1 };
    let text = blocking(move || {
        let Player { session, token, .. } = player;
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

async fn init_fragment(player: Player<Mp4>) -> Result<Response, ServiceError> {
    let place = player.track()?;
    let index = usize::try_from(player.number("SequenceNumber")?).unwrap_or(usize::MAX);
    let configs = player.session.config(index)?;
    let config = configs.get(place).ok_or_else(|| ServiceError::internal("a track without configuration"))?;
    Ok(answer(media_type(place, &player.session), true, mp4::init_segment(config, place as u32 + 1)))
}

async fn media_fragment(State(app): State<Arc<App>>, player: Player<Mp4>) -> Result<Response, ServiceError> {
    let place = player.track()?;
    let sequence = player.number("FragmentNumber")?;
    let kind = media_type(place, &player.session);
    let segment = fragment(&app, player.session, sequence, move |tracks| {
        let number = u32::try_from(sequence.saturating_add(1)).unwrap_or(u32::MAX);
        Ok(mp4::media_segment(&tracks[place].samples, place as u32 + 1, number))
    });
    Ok(answer(kind, true, segment.await?))
}

async fn ts_fragment(State(app): State<Arc<App>>, player: Player<Ts>) -> Result<Response, ServiceError> {
    let sequence = player.number("FragmentNumber")?;
    let segment = fragment(&app, player.session, sequence, |tracks| Ok(ts::segment(&tracks)?));
    Ok(answer("video/mp2t", true, segment.await?))
}

async fn manifest(State(app): State<Arc<App>>, player: Player<Dash>) -> Result<Response, ServiceError> {
    let text = blocking(move || {
        let Player { session, token, .. } = player;
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
