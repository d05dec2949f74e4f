//! Streaming sessions, clips and images over HTTP: who may fetch what, what playlists say, and each refusal.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{producer::*, *};

/// A record of H.264 at 320x240, and one at 426x240.
const SMALL: &str = "0142c00bffe100176742c00bda0507ec044000000300400000030083c50aa801000468ce0fc8";
const WIDE: &str = "0142c015ffe100186742c015da06c7f93c044000000300400000030083c58ba801000468ce0fc8";
const AAC: &str = "1190";

/// A header with these tracks: codec and `CodecPrivate`.
fn header(tracks: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<u8> = (1_u8..)
        .zip(tracks)
        .flat_map(|(number, (codec, private))| {
            let kind = if codec.starts_with('V') { 1 } else { 2 };
            let private = hex::decode(private).unwrap();
            let private = if private.is_empty() { private } else { element(&[0x63, 0xA2], &private) };
            let fields = [
                element(&[0xD7], &[number]),
                element(&[0x83], &[kind]),
                element(&[0x86], codec.as_bytes()),
                private,
            ];
            element(&[0xAE], &fields.concat())
        })
        .collect();
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &entries);
    [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), vec![0x18, 0x53, 0x80, 0x67, 0xFF], tracks].concat()
}

fn video(private: &str) -> Vec<u8> {
    header(&[("V_MPEG4/ISO/AVC", private)])
}

/// Two seconds of 25 frames each, of each track.
fn cluster(timecode: u64, tracks: u8) -> Vec<u8> {
    let mut out = vec![0x1F, 0x43, 0xB6, 0x75, 0xFF];
    out.extend(element(&[0xE7], &timecode.to_be_bytes()));
    for time in (0..2_000_u16).step_by(40) {
        for track in 1..=tracks {
            let frame: &[u8] = match (track, time) {
                (1, 0) => &[0, 0, 0, 5, 0x65, 1, 2, 3, 4],
                (1, _) => &[0, 0, 0, 3, 0x41, 1, 2],
                _ => &[1, 2, 3],
            };
            let [high, low] = time.to_be_bytes();
            let key = if time == 0 { 0x80 } else { 0 };
            out.extend(element(&[0xA3], &[&[0x80 | track, high, low, key], frame].concat()));
        }
    }
    out
}

async fn upload(kvs: &Kvs, header: &[u8], clusters: &[Vec<u8>]) {
    let mut session = Session::open(&kvs.server, "door").await;
    session.send(&[header, &clusters.concat()].concat()).await;
    session.finish().await;
    let acks = session.acks().await;
    let persisted = acks.iter().filter(|ack| ack.starts_with("PERSISTED")).count();
    assert_eq!(persisted, clusters.len(), "{acks:?}");
}

/// An hour ago, in whole seconds.
fn past() -> u64 {
    now_ms() / 1_000 * 1_000 - 3_600_000
}

fn range(from_ms: u64, to_ms: u64) -> Value {
    json!({ "StartTimestamp": from_ms as f64 / 1e3, "EndTimestamp": to_ms as f64 / 1e3 })
}

fn produced(from_ms: u64, to_ms: u64) -> Value {
    json!({ "FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": range(from_ms, to_ms) })
}

/// Fetches without a signature, as a player does from a page of its own.
async fn fetch(kvs: &Kvs, path: &str) -> Reply {
    let address = address(&kvs.server);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: https://player.example\r\nConnection: close\r\n\r\n"
    );
    let reply = raw(&address, request.as_bytes()).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
    reply
}

async fn text(kvs: &Kvs, path: &str) -> String {
    let reply = fetch(kvs, path).await;
    let body = String::from_utf8(reply.body).unwrap();
    assert_eq!(reply.status, 200, "{path}: {body}");
    body
}

/// Path and query of a session's URL.
async fn open(kvs: &Kvs, operation: &str, members: Value) -> String {
    let answer = call(&kvs.server, operation, members).await;
    let url = answer.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
    url.strip_prefix(&kvs.server.url()).unwrap().to_owned()
}

/// The lines of a playlist that are URLs, or hold one in quotes.
fn urls(playlist: &str, tag: &str) -> Vec<String> {
    playlist
        .lines()
        .filter(|line| line.starts_with(tag))
        .map(|line| {
            let url = line.split_once("URI=\"").map_or(line, |(_, rest)| rest.split('"').next().unwrap());
            format!("/hls/v1/{url}")
        })
        .collect()
}

fn count(text: &str, wanted: &str) -> usize {
    text.matches(wanted).count()
}

async fn refusal(kvs: &Kvs, path: &str, members: Value) -> (u16, String, String) {
    let reply = try_call(&kvs.server, path, members).await;
    let kind = reply.header("x-amzn-errortype").unwrap_or_default().to_owned();
    let message = reply.json()["Message"].as_str().unwrap_or_default().to_owned();
    (reply.status, kind, message)
}

#[tokio::test]
async fn a_player_gets_from_the_master_playlist_to_the_frames() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let at = past();
    let tracks = header(&[("V_MPEG4/ISO/AVC", SMALL), ("A_AAC", AAC)]);
    upload(&kvs, &tracks, &[cluster(at, 2), cluster(at + 2_000, 2), cluster(at + 4_000, 2)]).await;
    let members = json!({
        "StreamName": "door", "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": produced(at, at + 10_000),
        "DisplayFragmentTimestamp": "ALWAYS",
    });
    let master = text(&kvs, &open(&kvs, "/getHLSStreamingSessionURL", members).await).await;
    assert!(
        master.contains("CODECS=\"avc1.42c00b,mp4a.40.2\",RESOLUTION=320x240,FRAME-RATE=25.000"),
        "{master}"
    );
    assert!(master.contains("BANDWIDTH="), "{master}");
    for (tag, track) in [("get", 1), ("#EXT-X-MEDIA:", 2)] {
        let playlist = text(&kvs, &urls(&master, tag)[0]).await;
        assert!(playlist.contains("#EXT-X-PLAYLIST-TYPE:VOD\n") && playlist.ends_with("#EXT-X-ENDLIST\n"));
        assert!(playlist.contains("#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"), "{playlist}");
        assert_eq!((count(&playlist, "#EXTINF:2.000,"), count(&playlist, "#EXT-X-DISCONTINUITY")), (3, 0));
        assert_eq!((count(&playlist, "#EXT-X-PROGRAM-DATE-TIME:"), count(&playlist, "#EXT-X-MAP")), (3, 1));
        let init = fetch(&kvs, &urls(&playlist, "#EXT-X-MAP")[0]).await;
        assert_eq!((init.status, &init.body[4..8]), (200, &b"ftyp"[..]));
        assert_eq!(init.header("content-type"), Some(if track == 1 { "video/mp4" } else { "audio/mp4" }));
        let segments = urls(&playlist, "getMP4MediaFragment");
        let segment = fetch(&kvs, &segments[1]).await;
        let tfdt = segment.body.windows(4).position(|window| window == b"tfdt").unwrap();
        let time = u64::from_be_bytes(segment.body[tfdt + 8..tfdt + 16].try_into().unwrap());
        let timescale = if track == 1 { 90 } else { 48 };
        assert_eq!(time, (at + 2_000) * timescale, "the producer's time");
    }
}

#[tokio::test]
async fn a_new_resolution_is_a_new_initialization_and_a_mark_where_marks_are_wanted() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let at = past();
    upload(&kvs, &video(SMALL), &[cluster(at, 1), cluster(at + 2_000, 1)]).await;
    upload(&kvs, &video(WIDE), &[cluster(at + 4_000, 1)]).await;
    upload(&kvs, &video(SMALL), &[cluster(at + 6_000, 1), cluster(at + 20_000, 1)]).await;
    for (mode, marks) in [("NEVER", 0), ("ON_DISCONTINUITY", 3), ("ALWAYS", 4)] {
        let members = json!({
            "StreamName": "door", "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": produced(at, at + 60_000),
            "DiscontinuityMode": mode,
        });
        let master = text(&kvs, &open(&kvs, "/getHLSStreamingSessionURL", members).await).await;
        let playlist = text(&kvs, &urls(&master, "get")[0]).await;
        assert_eq!(count(&playlist, "#EXT-X-DISCONTINUITY\n"), marks, "{mode}: {playlist}");
        let maps = urls(&playlist, "#EXT-X-MAP");
        assert_eq!(maps.len(), 3);
        assert!(maps[0] == maps[2] && maps[0] != maps[1], "{maps:?}");
        let [small, wide] = [fetch(&kvs, &maps[0]).await.body, fetch(&kvs, &maps[1]).await.body];
        let has = |init: &[u8], record: &str| {
            let record = hex::decode(record).unwrap();
            init.windows(record.len()).any(|window| window == record)
        };
        assert!(has(&small, SMALL) && has(&wide, WIDE));
        for segment in urls(&playlist, "getMP4MediaFragment") {
            assert_eq!(fetch(&kvs, &segment).await.status, 200);
        }
    }
    // a clip, and MPEG-DASH, take none
    let clip = json!({ "StreamName": "door", "ClipFragmentSelector": produced(at, at + 60_000) });
    let (status, kind, message) = refusal(&kvs, "/getClip", clip).await;
    assert_eq!((status, kind.as_str()), (400, "InvalidCodecPrivateDataException"), "{message}");
    assert!(message.contains("resolution"), "{message}");
    let before = json!({ "StreamName": "door", "ClipFragmentSelector": produced(at, at + 3_999) });
    assert_eq!(try_call(&kvs.server, "/getClip", before).await.status, 200);
}

#[tokio::test]
async fn a_live_window_slides_and_what_has_left_it_can_still_be_loaded() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let at = now_ms() - 20_000;
    upload(&kvs, &video(SMALL), &[cluster(at, 1), cluster(at + 2_000, 1)]).await;
    let members = json!({
        "StreamName": "door", "MaxMediaPlaylistFragmentResults": 2,
        "HLSFragmentSelector": { "FragmentSelectorType": "PRODUCER_TIMESTAMP" }, "DiscontinuityMode": "ON_DISCONTINUITY",
    });
    let master = text(&kvs, &open(&kvs, "/getHLSStreamingSessionURL", members).await).await;
    let path = &urls(&master, "get")[0];
    let first = text(&kvs, path).await;
    assert!(first.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && !first.contains("ENDLIST"), "{first}");
    let oldest = urls(&first, "getMP4MediaFragment").remove(0);
    // one after a gap, one that is sent again, one that is late
    upload(&kvs, &video(SMALL), &[cluster(at + 8_000, 1)]).await;
    upload(&kvs, &video(SMALL), &[cluster(at + 2_000, 1), cluster(at + 4_000, 1)]).await;
    upload(&kvs, &video(SMALL), &[cluster(at + 10_000, 1)]).await;
    let later = text(&kvs, path).await;
    assert!(later.contains("#EXT-X-MEDIA-SEQUENCE:2\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{later}");
    assert_eq!((count(&later, "#EXTINF"), count(&later, "#EXT-X-DISCONTINUITY\n")), (2, 1), "{later}");
    assert_eq!(fetch(&kvs, &oldest).await.status, 200);
    upload(&kvs, &video(SMALL), &[cluster(at + 12_000, 1)]).await;
    let last = text(&kvs, path).await;
    assert!(last.contains("#EXT-X-MEDIA-SEQUENCE:3\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{last}");
}

#[tokio::test]
async fn a_session_opens_its_own_media_and_nothing_else() {
    let kvs = start(|_| ()).await;
    let arn = stream(&kvs.server, "door", 1).await;
    let at = past();
    upload(&kvs, &video(SMALL), &[cluster(at, 1), cluster(at + 2_000, 1)]).await;
    let members = json!({
        "StreamName": "door", "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": produced(at, at + 1_000),
    });
    let url = open(&kvs, "/getHLSStreamingSessionURL", members).await;
    let token = url.split_once("SessionToken=").unwrap().1.to_owned();
    assert!(token.len() >= 43, "{token}");
    let get = |name: &str, query: &str| format!("/hls/v1/{name}?SessionToken={token}{query}");
    assert_eq!(
        fetch(&kvs, &get("getMP4MediaFragment.mp4", "&TrackNumber=1&FragmentNumber=0")).await.status,
        200
    );
    for (path, status, kind) in [
        ("/hls/v1/getHLSMasterPlaylist.m3u8".to_owned(), 403, "NotAuthorizedException"),
        ("/hls/v1/getHLSMasterPlaylist.m3u8?SessionToken=guessed".to_owned(), 403, "NotAuthorizedException"),
        // the second fragment is outside the range
        (get("getMP4MediaFragment.mp4", "&TrackNumber=1&FragmentNumber=1"), 404, "ResourceNotFoundException"),
        (get("getMP4MediaFragment.mp4", "&TrackNumber=2&FragmentNumber=0"), 400, "InvalidArgumentException"),
        (get("getMP4MediaFragment.mp4", "&TrackNumber=1"), 400, "InvalidArgumentException"),
        (get("getMP4InitFragment.mp4", "&TrackNumber=1&SequenceNumber=9"), 404, "ResourceNotFoundException"),
        (get("getTSFragment.ts", "&FragmentNumber=0"), 400, "InvalidArgumentException"),
        (format!("/dash/v1/getDASHManifest.mpd?SessionToken={token}"), 400, "InvalidArgumentException"),
    ] {
        let reply = fetch(&kvs, &path).await;
        assert_eq!((reply.status, reply.header("x-amz-errortype")), (status, Some(kind)), "{path}");
    }
    // ten sessions at most: the eleventh ends the first
    let members = json!({
        "StreamName": "door", "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": produced(at, at + 1_000),
    });
    for _ in 0..10 {
        open(&kvs, "/getHLSStreamingSessionURL", members.clone()).await;
    }
    assert_eq!(fetch(&kvs, &url).await.status, 403);
    let url = open(&kvs, "/getHLSStreamingSessionURL", members).await;
    call(&kvs.server, "/deleteStream", json!({ "StreamARN": arn })).await;
    assert_eq!(fetch(&kvs, &url).await.status, 404);
}

#[tokio::test]
async fn a_page_may_ask_before_it_fetches() {
    let kvs = start(|config| config.auth = false).await;
    let address = address(&kvs.server);
    let request = format!(
        "OPTIONS /dash/v1/getDASHManifest.mpd HTTP/1.1\r\nHost: {address}\r\nOrigin: https://player.example\r\n\
         Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range\r\nConnection: close\r\n\r\n"
    );
    let reply = raw(&address, request.as_bytes()).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(reply.header("access-control-allow-headers"), Some("*"));
}

/// Members, and what the message begins with.
#[tokio::test]
async fn wrong_members_are_named() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let (at, now) = (past(), now_ms());
    let hls = |more: Value| merged(json!({ "StreamName": "door" }), more);
    let of = |kind: &str, range: Value| json!({ "FragmentSelectorType": kind, "TimestampRange": range });
    let images = |more: Value| {
        let base = json!({
            "StreamName": "door", "ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "JPEG",
            "StartTimestamp": at / 1_000, "EndTimestamp": at / 1_000 + 10,
        });
        merged(base, more)
    };
    let clip = |selector: Value| json!({ "StreamName": "door", "ClipFragmentSelector": selector });
    let (h, d, c, i) =
        ("/getHLSStreamingSessionURL", "/getDASHStreamingSessionURL", "/getClip", "/getImages");
    for (path, members, member) in [
        (h, hls(json!({ "PlaybackMode": "PAST" })), "PlaybackMode"),
        (h, hls(json!({ "PlaybackMode": "ON_DEMAND" })), "HLSFragmentSelector"),
        (d, hls(json!({ "PlaybackMode": "LIVE_REPLAY" })), "DASHFragmentSelector"),
        (
            h,
            hls(json!({ "HLSFragmentSelector": produced(at, at + 1) })),
            "HLSFragmentSelector.TimestampRange",
        ),
        (h, hls(json!({ "Expires": 299 })), "Expires"),
        (d, hls(json!({ "Expires": 43_201 })), "Expires"),
        (h, hls(json!({ "MaxMediaPlaylistFragmentResults": 5_001 })), "MaxMediaPlaylistFragmentResults"),
        (d, hls(json!({ "MaxManifestFragmentResults": 0 })), "MaxManifestFragmentResults"),
        (h, hls(json!({ "ContainerFormat": "MKV" })), "ContainerFormat"),
        (h, hls(json!({ "DiscontinuityMode": "SOMETIMES" })), "DiscontinuityMode"),
        (h, hls(json!({ "DisplayFragmentTimestamp": true })), "DisplayFragmentTimestamp"),
        (d, hls(json!({ "DisplayFragmentNumber": "SOMETIMES" })), "DisplayFragmentNumber"),
        (
            h,
            hls(json!({ "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": {
                "FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": { "StartTimestamp": at / 1_000 } } })),
            "HLSFragmentSelector.TimestampRange.EndTimestamp",
        ),
        (c, json!({ "StreamName": "door" }), "ClipFragmentSelector"),
        (
            c,
            clip(json!({ "TimestampRange": range(at, at + 1) })),
            "ClipFragmentSelector.FragmentSelectorType",
        ),
        (
            c,
            clip(of("PRODUCER_TIMESTAMP", range(at, at))),
            "ClipFragmentSelector.TimestampRange.EndTimestamp",
        ),
        (
            c,
            clip(of("PRODUCER_TIMESTAMP", range(at, at + 86_400_001))),
            "ClipFragmentSelector.TimestampRange.EndTimestamp",
        ),
        (
            c,
            clip(of("SERVER_TIMESTAMP", range(at, now + 600_000))),
            "ClipFragmentSelector.TimestampRange.EndTimestamp",
        ),
        (i, json!({ "StreamName": "door" }), "ImageSelectorType"),
        (i, images(json!({ "Format": "GIF" })), "Format"),
        (i, images(json!({ "SamplingInterval": 199 })), "SamplingInterval"),
        (i, images(json!({ "EndTimestamp": at / 1_000 + 301 })), "EndTimestamp"),
        (i, images(json!({ "EndTimestamp": at / 1_000 - 1 })), "EndTimestamp"),
        (i, images(json!({ "WidthPixels": 100 })), "WidthPixels"),
        (i, images(json!({ "WidthPixels": 3_841, "HeightPixels": 100 })), "WidthPixels"),
        (i, images(json!({ "HeightPixels": 2_161 })), "HeightPixels"),
        (i, images(json!({ "MaxResults": 101 })), "MaxResults"),
        (i, images(json!({ "FormatConfig": { "JPEGQuality": "101" } })), "FormatConfig"),
        (i, images(json!({ "FormatConfig": { "Quality": "80" } })), "FormatConfig"),
        (i, images(json!({ "NextToken": "mine" })), "NextToken"),
    ] {
        let (status, kind, message) = refusal(&kvs, path, members.clone()).await;
        assert_eq!((status, kind.as_str()), (400, "InvalidArgumentException"), "{path} {members}: {message}");
        assert!(message.starts_with(&format!("{member}: ")), "{path} {members}: {message}");
    }
}

fn merged(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

#[tokio::test]
async fn what_cannot_be_played_is_refused_with_the_services_exceptions() {
    let kvs = start(|_| ()).await;
    let s = &kvs.server;
    let at = past();
    let ulaw = "07000100401f0000401f000001000800";
    let operations = [
        ("/getHLSStreamingSessionURL", "HLSFragmentSelector"),
        ("/getDASHStreamingSessionURL", "DASHFragmentSelector"),
        ("/getClip", "ClipFragmentSelector"),
    ];
    stream(s, "nothing", 0).await;
    stream(s, "empty", 1).await;
    for (path, selector) in operations {
        let members = |name: &str| {
            let mut members = json!({ "StreamName": name, selector: produced(at, at + 10_000) });
            if path != "/getClip" {
                members["PlaybackMode"] = json!("ON_DEMAND");
            }
            members
        };
        for (name, status, kind) in [
            ("nothing", 400, "NoDataRetentionException"),
            ("empty", 404, "ResourceNotFoundException"),
            ("no-such", 404, "ResourceNotFoundException"),
        ] {
            let (found, found_kind, message) = refusal(&kvs, path, members(name)).await;
            assert_eq!((found, found_kind.as_str()), (status, kind), "{path} of {name}: {message}");
        }
    }
    let (h, d, c) = ("UnsupportedStreamMediaTypeException", "", "UnsupportedStreamMediaTypeException");
    let all = "UnsupportedStreamMediaTypeException";
    let avc = "V_MPEG4/ISO/AVC";
    for (tracks, kinds) in [
        (vec![("V_VP8", "01")], [all; 3]),
        (vec![("A_AAC", AAC), (avc, SMALL)], [all; 3]),
        (vec![(avc, SMALL), ("A_OPUS", "01")], [all; 3]),
        (vec![(avc, SMALL), ("A_MS/ACM", ulaw)], [h, d, c]),
        (vec![("A_AAC", AAC)], ["", "", c]),
        (vec![(avc, "")], ["MissingCodecPrivateDataException"; 3]),
        (vec![(avc, SMALL), ("A_AAC", "")], ["MissingCodecPrivateDataException"; 3]),
        (vec![(avc, "000000016742")], ["InvalidCodecPrivateDataException"; 3]),
    ] {
        let arn = stream(s, "door", 1).await;
        upload(&kvs, &header(&tracks), &[cluster(at, tracks.len() as u8)]).await;
        for ((path, selector), kind) in operations.into_iter().zip(kinds) {
            let mut members = json!({ "StreamName": "door", selector: produced(at, at + 10_000) });
            if path != "/getClip" {
                members["PlaybackMode"] = json!("ON_DEMAND");
            }
            let reply = try_call(s, path, members).await;
            let found = reply.header("x-amzn-errortype").unwrap_or_default().to_owned();
            assert_eq!(found, kind, "{path} of {tracks:?}: {}", String::from_utf8_lossy(&reply.body));
        }
        call(s, "/deleteStream", json!({ "StreamARN": arn })).await;
    }
    // live needs something of the last 30 seconds, by the server's clock
    stream(s, "door", 1).await;
    let (status, kind, _) =
        refusal(&kvs, "/getHLSStreamingSessionURL", json!({ "StreamName": "door" })).await;
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));
    // frames that are none
    let broken = [
        &[0x1F, 0x43, 0xB6, 0x75, 0xFF][..],
        &element(&[0xE7], &at.to_be_bytes()),
        &element(&[0xA3], &[0x81, 0, 0, 0x80, 0, 0, 0, 9, 0x65]),
    ]
    .concat();
    upload(&kvs, &video(SMALL), &[broken]).await;
    let clip = json!({ "StreamName": "door", "ClipFragmentSelector": produced(at, at + 10_000) });
    let (status, kind, message) = refusal(&kvs, "/getClip", clip).await;
    assert_eq!((status, kind.as_str()), (400, "InvalidMediaFrameException"), "{message}");
}

#[tokio::test]
async fn endpoints_of_players_are_this_server() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    for api in ["GET_HLS_STREAMING_SESSION_URL", "GET_DASH_STREAMING_SESSION_URL", "GET_CLIP", "GET_IMAGES"] {
        let answer =
            call(&kvs.server, "/getDataEndpoint", json!({ "StreamName": "door", "APIName": api })).await;
        assert_eq!(answer["DataEndpoint"], kvs.server.url());
    }
}

#[tokio::test]
async fn a_manifest_has_a_period_for_each_stretch() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let at = past();
    let tracks = header(&[("V_MPEG4/ISO/AVC", SMALL), ("A_AAC", AAC)]);
    let clusters = [0, 2_000, 60_000].map(|after| cluster(at + after, 2));
    upload(&kvs, &tracks, &clusters).await;
    let members = json!({
        "StreamName": "door", "PlaybackMode": "ON_DEMAND", "DASHFragmentSelector": produced(at, at + 100_000),
        "DisplayFragmentNumber": "ALWAYS", "DisplayFragmentTimestamp": "ALWAYS",
    });
    let url = open(&kvs, "/getDASHStreamingSessionURL", members).await;
    let manifest = text(&kvs, &url).await;
    assert!(manifest.contains("type=\"static\" mediaPresentationDuration=\"PT6.000S\""), "{manifest}");
    for wanted in ["<Period id=\"0\" start=\"PT0.000S\">", "<Period id=\"1\" start=\"PT4.000S\">"] {
        assert!(manifest.contains(wanted), "{manifest}");
    }
    assert_eq!((count(&manifest, "<S t="), count(&manifest, "kvs:fn=\"9134")), (6, 6), "{manifest}");
    assert_eq!(count(&manifest, "startNumber=\"2\""), 2);
    let media = manifest.split("media=\"").nth(2).unwrap().split('"').next().unwrap();
    let media = media.replace("&amp;", "&").replace("$Number$", "2");
    let segment = fetch(&kvs, &format!("/dash/v1/{media}")).await;
    assert_eq!((segment.status, segment.header("content-type")), (200, Some("audio/mp4")));
}

/// Frames that no decoder takes cost their own images. Where there is no decoder, that is said.
#[tokio::test]
async fn pictures_that_cannot_be_decoded_take_nothing_down() {
    let kvs = start(|_| ()).await;
    stream(&kvs.server, "door", 1).await;
    let at = past();
    upload(&kvs, &video(SMALL), &[cluster(at, 1), cluster(at + 2_000, 1)]).await;
    let members = json!({
        "StreamName": "door", "ImageSelectorType": "PRODUCER_TIMESTAMP", "Format": "PNG", "SamplingInterval": 2_000,
        "StartTimestamp": at as f64 / 1e3 - 2.0, "EndTimestamp": at as f64 / 1e3 + 4.0,
    });
    let reply = try_call(&kvs.server, "/getImages", members).await;
    if reply.status == 200 {
        let answer = reply.json();
        let errors: Vec<_> =
            answer["Images"].as_array().unwrap().iter().map(|image| &image["Error"]).collect();
        assert_eq!(errors, ["NO_MEDIA", "MEDIA_ERROR", "MEDIA_ERROR", "NO_MEDIA"]);
    } else {
        assert_eq!(reply.header("x-amzn-errortype"), Some("UnknownOperationException"));
        assert!(reply.json()["Message"].as_str().unwrap().contains("ffmpeg"));
    }
    let list = call(&kvs.server, "/listFragments", json!({ "StreamName": "door" })).await;
    assert_eq!(list["Fragments"].as_array().unwrap().len(), 2);
}
