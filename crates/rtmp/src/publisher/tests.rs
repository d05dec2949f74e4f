#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use rtmp_runtime::server::{ServerConfig, ServerEvent, ServerSession};

const RANDOM: [u8; 1528] = [7; 1528];

fn publisher() -> Publisher {
    Publisher::new(Destination::parse("rtmp://host/live/TOPSECRET", None).unwrap(), &RANDOM)
}

fn take(publisher: &mut Publisher) -> Vec<u8> {
    let bytes = publisher.output().to_vec();
    publisher.advance(bytes.len());
    bytes
}

/// One side for each call of a server of another's making.
fn publishing() -> (Publisher, ServerSession) {
    let (mut publisher, mut server) = (publisher(), ServerSession::new(ServerConfig::default()));
    for _ in 0..16 {
        let (answer, _) = server.handle_data(&take(&mut publisher)).unwrap();
        publisher.handle(&answer).unwrap();
        if publisher.is_publishing() {
            return (publisher, server);
        }
    }
    panic!("it waits for {}", publisher.step());
}

fn tag(kind: TagKind, timestamp: u32, body: Vec<u8>) -> Tag {
    Tag { kind, timestamp, body: body.into(), captured: None }
}

#[test]
fn media_arrives_at_a_server_as_it_went() {
    let (mut publisher, mut server) = publishing();
    let picture: Vec<u8> = [0x17, 1, 0, 0, 0].into_iter().chain((0..20_000).map(|it| it as u8)).collect();
    publisher.send(&tag(TagKind::KeyFrame, 40, picture.clone())).unwrap();
    publisher.send(&tag(TagKind::Audio, 41, vec![0xaf, 1, 9])).unwrap();
    let (_, events) = server.handle_data(&take(&mut publisher)).unwrap();
    let media: Vec<Bytes> = events
        .into_iter()
        .filter_map(|event| match event {
            ServerEvent::Media { flv } => Some(flv.into()),
            _ => None,
        })
        .collect();
    let all: Vec<u8> = media.concat();
    assert!(all.windows(picture.len()).any(|it| it == picture), "the picture has changed");
}

/// Chunks as the specification has them, read here by hand: beyond 24 bits every chunk has the whole timestamp.
#[test]
fn timestamps_beyond_24_bits_are_in_every_chunk() {
    for (timestamp, extended) in [(0xff_fffe, false), (0xff_ffff, true), (0x1234_5678, true)] {
        let (mut publisher, _) = publishing();
        take(&mut publisher);
        publisher.send(&tag(TagKind::Video, timestamp, vec![1; 5000])).unwrap();
        let bytes = take(&mut publisher);
        let field = if extended { [0xff; 3].to_vec() } else { timestamp.to_be_bytes()[1..].to_vec() };
        let more = if extended { timestamp.to_be_bytes().to_vec() } else { Vec::new() };
        let expected = [
            &[MEDIA as u8][..],
            &field,
            &[0, 0x13, 0x88, msg_type::VIDEO],
            &publisher.stream.to_le_bytes(),
            &more,
            &[1; 4096],
            &[0xc0 | MEDIA as u8],
            &more,
            &[1; 5000 - 4096],
        ]
        .concat();
        assert_eq!(bytes, expected, "{timestamp:#x}");
    }
}

/// What a server sends after the handshake, in one chunk each.
fn command(name: &str, transaction_id: f64, arguments: Vec<Amf0Value>) -> Vec<u8> {
    let payload = Command { name: name.to_owned(), transaction_id, arguments }.to_body().unwrap();
    let mut writer = ChunkWriter::new();
    writer
        .write(&Message {
            chunk_stream_id: 3,
            timestamp: 0,
            message_type_id: msg_type::COMMAND_AMF0,
            message_stream_id: 0,
            payload,
        })
        .unwrap()
}

fn information(level: &str, code: &str, description: &str) -> Amf0Value {
    let field = |name: &str, value: &str| (name.to_owned(), Amf0Value::String(value.to_owned()));
    Amf0Value::Object(vec![field("level", level), field("code", code), field("description", description)])
}

fn until(step: Step) -> Publisher {
    let mut publisher = publisher();
    publisher.handle(&[&[3][..], &[0; 3072]].concat()).unwrap();
    if step > Step::Connect {
        publisher.handle(&command("_result", CONNECT, vec![Amf0Value::Null])).unwrap();
    }
    if step > Step::CreateStream {
        let arguments = vec![Amf0Value::Null, Amf0Value::Number(1.0)];
        publisher.handle(&command("_result", CREATE_STREAM, arguments)).unwrap();
    }
    if step > Step::Publish {
        let status = information("status", "NetStream.Publish.Start", "");
        publisher.handle(&command("onStatus", 0.0, vec![Amf0Value::Null, status])).unwrap();
    }
    assert_eq!(publisher.step(), step);
    publisher
}

#[test]
fn a_refusal_is_told_with_its_reason_and_without_the_key() {
    let bad = || information("error", "NetStream.Publish.BadName", "TOPSECRET is already publishing");
    for (step, name, number, words) in [
        (Step::Connect, "_error", CONNECT, "connect: NetStream.Publish.BadName (… is already publishing)"),
        (Step::CreateStream, "_error", CREATE_STREAM, "refused createStream"),
        (Step::Publish, "onStatus", 0.0, "refused publish"),
        (Step::Publish, "_error", PUBLISH, "refused publish"),
        (Step::Publishing, "onStatus", 0.0, "refused the broadcast"),
    ] {
        let mut publisher = until(step);
        let error = publisher.handle(&command(name, number, vec![Amf0Value::Null, bad()])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert!(!format!("{error:?} {text}").contains("TOPSECRET"), "{error:?}");
        assert_eq!(error.is_refusal(), step != Step::Publishing);
    }
}

#[test]
fn a_server_that_closes_without_a_word_refuses_what_it_was_asked() {
    for (step, refusal) in
        [(Step::Connect, true), (Step::CreateStream, true), (Step::Publish, true), (Step::Publishing, false)]
    {
        assert_eq!(until(step).closed().is_refusal(), refusal, "{step}");
    }
    assert!(!publisher().closed().is_refusal());
}

#[test]
fn what_nobody_waits_for_may_fail() {
    let mut publisher = until(Step::CreateStream);
    for number in [RELEASE_STREAM, FC_PUBLISH] {
        publisher.handle(&command("_error", number, vec![Amf0Value::Null])).unwrap();
    }
    publisher.handle(&command("onBWDone", 0.0, vec![])).unwrap();
    // A name alone, as ffmpeg has it, and a value of AMF3 behind the number.
    for payload in
        [&b"\x02\x00\x0bonFCPublish"[..], b"\x02\x00\x01x\x00\0\0\0\0\0\0\0\0\x11\x01", b"\x05", b""]
    {
        let message = Message {
            chunk_stream_id: 3,
            timestamp: 0,
            message_type_id: msg_type::COMMAND_AMF0,
            message_stream_id: 0,
            payload: payload.to_vec(),
        };
        publisher.handle(&ChunkWriter::new().write(&message).unwrap()).unwrap();
    }
    assert_eq!(publisher.step(), Step::CreateStream);
}

#[test]
fn what_speaks_no_rtmp_is_named() {
    let error = publisher().handle(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
    assert!(error.to_string().contains("does not speak RTMP (its first byte is 0x48)"), "{error}");
}

#[test]
fn the_answer_to_the_first_half_of_the_handshake_does_not_wait_for_the_second() {
    let mut publisher = publisher();
    take(&mut publisher);
    publisher.handle(&[&[3][..], &[5; 1536]].concat()).unwrap();
    assert_eq!(take(&mut publisher), [5; 1536]);
}

#[test]
fn pings_are_answered_windows_acknowledged_and_acknowledgements_noted() {
    let mut publisher = until(Step::Publishing);
    take(&mut publisher);
    let mut writer = ChunkWriter::new();
    let mut send = |message: Message| writer.write(&message).unwrap();
    let control = |control: ProtocolControl| control.try_to_message().unwrap();
    publisher.handle(&send(UserControl::PingRequest(42).to_message())).unwrap();
    let answer = send(UserControl::PingResponse(42).to_message());
    assert_eq!(take(&mut publisher), answer);
    publisher.handle(&send(control(ProtocolControl::WindowAckSize(10)))).unwrap();
    let received = publisher.received as u32;
    assert_eq!(take(&mut publisher), send(control(ProtocolControl::Acknowledgement(received))));
    assert_eq!(publisher.unacknowledged(), None);
    let sent = publisher.sent() as u32;
    publisher.handle(&send(control(ProtocolControl::Acknowledgement(sent.wrapping_sub(9))))).unwrap();
    assert!(publisher.unacknowledged().unwrap() >= 9);
}

#[test]
fn the_size_of_chunks_counts_for_what_comes_with_it() {
    let mut publisher = until(Step::Publish);
    let mut writer = ChunkWriter::new();
    let mut bytes = writer.write(&ProtocolControl::SetChunkSize(5000).try_to_message().unwrap()).unwrap();
    writer.set_chunk_size(5000);
    let status = information("status", "NetStream.Publish.Start", &"x".repeat(300));
    let payload = Command {
        name: "onStatus".to_owned(),
        transaction_id: 0.0,
        arguments: vec![Amf0Value::Null, status],
    };
    bytes.extend(
        writer
            .write(&Message {
                chunk_stream_id: 3,
                timestamp: 0,
                message_type_id: msg_type::COMMAND_AMF0,
                message_stream_id: 1,
                payload: payload.to_body().unwrap(),
            })
            .unwrap(),
    );
    publisher.handle(&bytes).unwrap();
    assert!(publisher.is_publishing());
}

#[test]
fn the_end_is_told_once() {
    let mut publisher = until(Step::Publishing);
    take(&mut publisher);
    publisher.close();
    let bytes = take(&mut publisher);
    for word in ["FCUnpublish", "deleteStream"] {
        assert!(bytes.windows(word.len()).any(|it| it == word.as_bytes()), "no {word}");
    }
    publisher.close();
    publisher.send(&tag(TagKind::Audio, 0, vec![0xaf, 1])).unwrap();
    assert!(publisher.output().is_empty());
    // However a server takes it, it is no failure.
    let bad = || information("error", "NetStream.Failed", "");
    for (name, number) in [
        ("_error", FC_UNPUBLISH),
        ("_error", DELETE_STREAM),
        ("_error", 0.0),
        ("onStatus", 0.0),
        ("close", 0.0),
    ] {
        publisher.handle(&command(name, number, vec![Amf0Value::Null, bad()])).unwrap();
    }
}

/// It asks as fast as it can, and reads nothing: what waits for it stays below a bound, and is all there when it reads.
#[test]
fn a_flood_of_pings_is_not_listened_to_without_end() {
    let mut publisher = until(Step::Publishing);
    take(&mut publisher);
    let mut writer = ChunkWriter::new();
    let mut ping = |number| writer.write(&UserControl::PingRequest(number).to_message()).unwrap();
    let mut numbers = 0..;
    let mut asked = 0;
    while publisher.takes_input() {
        let flood: Vec<u8> = numbers.by_ref().take(200).flat_map(&mut ping).collect();
        publisher.handle(&flood).unwrap();
        asked += 200;
        assert!(asked < 1_000_000, "it is listened to for ever");
    }
    let bound = MAX_UNREAD + 4096;
    assert!(publisher.output().len() <= bound, "{}", publisher.output().len());
    // Whoever goes on all the same gets no answers, nor are there acknowledgements without end.
    let mut control = ChunkWriter::new();
    publisher
        .handle(&control.write(&ProtocolControl::WindowAckSize(1).try_to_message().unwrap()).unwrap())
        .unwrap();
    let flood: Vec<u8> = numbers.by_ref().take(50_000).flat_map(&mut ping).collect();
    let before = publisher.output().to_vec();
    flood.chunks(100).for_each(|flood| publisher.handle(flood).unwrap());
    assert!(publisher.output().len() <= MAX_UNANSWERED + 4096, "{}", publisher.output().len());
    // It reads after all.
    let bytes = take(&mut publisher);
    assert!(publisher.takes_input());
    assert!(bytes.starts_with(&before));
    let one = ChunkWriter::new().write(&UserControl::PingResponse(0).to_message()).unwrap();
    assert!(bytes.starts_with(&one), "{:?}", &bytes[..40]);
    let mut reader = ChunkAssembler::new();
    let answers = reader
        .push(&before)
        .unwrap()
        .into_iter()
        .filter(|it| it.message_type_id == msg_type::USER_CONTROL)
        .count();
    assert_eq!(answers, asked, "each question is answered once");
}

proptest! {
    #[test]
    fn no_server_makes_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..12), at in 0usize..5) {
        let step = [Step::Handshake, Step::Connect, Step::CreateStream, Step::Publish, Step::Publishing][at];
        let mut publisher = if step == Step::Handshake { publisher() } else { until(step) };
        for piece in pieces {
            if publisher.handle(&piece).is_err() {
                break;
            }
            publisher.advance(publisher.output().len());
        }
    }

    /// The same in pieces of any size.
    #[test]
    fn bytes_may_come_in_any_pieces(sizes in prop::collection::vec(1usize..700, 1..40)) {
        let (mut publisher, mut server) = (publisher(), ServerSession::new(ServerConfig::default()));
        let mut sizes = sizes.into_iter().cycle();
        for _ in 0..16 {
            let (answer, _) = server.handle_data(&take(&mut publisher)).unwrap();
            let mut rest = &answer[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                publisher.handle(piece).unwrap();
                rest = behind;
            }
        }
        prop_assert!(publisher.is_publishing());
    }
}
