//! A client by hand, in virtual time.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;
use stun::{
    attributes::*,
    error_code::ErrorCodeAttribute,
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{
        CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_BINDING,
        METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, MessageType,
        Method, Setter,
    },
    textattrs::TextAttribute,
    xoraddr::XorMappedAddress,
};

use super::message::{Address, Raw};
use super::*;
use crate::ice::credentials::{TurnCredential, TurnCredentials};

const ARN: &str = "arn:aws:kinesisvideo:us-east-1:000000000000:channel/c/1700000000000";

#[derive(Default)]
struct Sockets {
    opened: u64,
    pairs: u64,
}

impl Relays for Sockets {
    fn open(&mut self, even: bool, pair: bool) -> io::Result<Opened> {
        let mut one = || {
            self.opened += 1;
            (RelayId(self.opened), SocketAddr::from(([192, 0, 2, 1], 50_000 + self.opened as u16)))
        };
        let relay = one();
        assert!(even || !pair);
        self.pairs += u64::from(pair);
        Ok(Opened { relay, next: pair.then(&mut one) })
    }
}

struct World {
    turn: Turn,
    sockets: Sockets,
    credentials: TurnCredentials,
    start: Instant,
    at: At,
    nonce: String,
}

type Attributes = Vec<Box<dyn Setter>>;

fn client(number: u8) -> Client {
    Client { link: Link::Datagram, address: SocketAddr::from(([10, 0, 0, number], 4000)) }
}

fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], 9000))
}

fn transport() -> Box<dyn Setter> {
    Box::new(Raw(ATTR_REQUESTED_TRANSPORT, vec![17, 0, 0, 0]))
}

fn to(peer: SocketAddr) -> Box<dyn Setter> {
    Box::new(Address(ATTR_XOR_PEER_ADDRESS, peer))
}

fn lifetime(seconds: u32) -> Box<dyn Setter> {
    Box::new(Raw(ATTR_LIFETIME, seconds.to_be_bytes().to_vec()))
}

fn channel_number(number: u16) -> Box<dyn Setter> {
    Box::new(Raw(ATTR_CHANNEL_NUMBER, u32::from(number).rotate_left(16).to_be_bytes().to_vec()))
}

fn code(answer: &Message) -> u16 {
    let mut code = ErrorCodeAttribute::default();
    match code.get_from(answer) {
        Ok(()) => code.code.0,
        Err(_) => 0,
    }
}

fn address(answer: &Message, kind: AttrType) -> SocketAddr {
    let mut found = XorMappedAddress::default();
    found.get_from_as(answer, kind).unwrap();
    SocketAddr::new(found.ip, found.port)
}

impl World {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            relays: [192, 0, 2, 1].into(),
            loopback: false,
            per_channel: Some(50),
            bytes_per_second: Some(625_000),
        };
        change(&mut settings);
        let credentials = TurnCredentials::new(Duration::from_secs(300));
        let start = Instant::now();
        let at = At { instant: start, wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) };
        let turn = Turn::new(settings, credentials.clone(), start);
        let mut world =
            Self { turn, sockets: Sockets::default(), credentials, start, at, nonce: String::new() };
        world.challenge();
        world
    }

    fn later(&mut self, seconds: u64) {
        self.at.instant += Duration::from_secs(seconds);
        self.at.wall += Duration::from_secs(seconds);
    }

    fn challenge(&mut self) {
        let request = unsigned(METHOD_ALLOCATE, vec![transport()]);
        let answer = self.raw(client(255), &request.raw);
        assert_eq!(code(&answer), 401);
        let mut nonce = TextAttribute::new(ATTR_NONCE, String::new());
        nonce.get_from(&answer).unwrap();
        self.nonce = nonce.text;
    }

    fn credential(&self, arn: &str) -> TurnCredential {
        self.credentials.issue(arn, self.at.wall)
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.turn.poll_output()).collect()
    }

    fn input(&mut self, client: Client, bytes: &[u8]) -> Vec<Output> {
        self.turn.handle_client(client, bytes, self.at, &mut self.sockets);
        self.outputs()
    }

    /// The one answer to a request.
    fn raw(&mut self, client: Client, request: &[u8]) -> Message {
        let mut outputs = self.input(client, request);
        outputs.retain(|output| !matches!(output, Output::Close(_)));
        let [Output::ToClient(to, packet)] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!(*to, client);
        let mut answer = Message { raw: packet.clone(), ..Message::default() };
        answer.decode().unwrap();
        answer
    }

    fn signed(&self, method: Method, credential: &TurnCredential, more: Attributes) -> Message {
        let mut attributes = more;
        for (kind, text) in [
            (ATTR_USERNAME, credential.username.as_str()),
            (ATTR_REALM, "kvs-local"),
            (ATTR_NONCE, &self.nonce),
        ] {
            attributes.push(Box::new(TextAttribute::new(kind, text.to_owned())));
        }
        attributes.push(Box::new(MessageIntegrity::new_long_term_integrity(
            credential.username.clone(),
            "kvs-local".to_owned(),
            credential.password.clone(),
        )));
        attributes.push(Box::new(FINGERPRINT));
        unsigned(method, attributes)
    }

    fn call(
        &mut self,
        client: Client,
        method: Method,
        credential: &TurnCredential,
        more: Attributes,
    ) -> Message {
        let request = self.signed(method, credential, more);
        let answer = self.raw(client, &request.raw);
        assert_eq!(answer.transaction_id, request.transaction_id);
        let key = MessageIntegrity::new_long_term_integrity(
            credential.username.clone(),
            "kvs-local".to_owned(),
            credential.password.clone(),
        );
        let signed = key.check(&mut answer.clone()).is_ok();
        assert!(signed || [401, 438].contains(&code(&answer)), "an answer that is not signed");
        FINGERPRINT.check(&answer).unwrap();
        answer
    }

    fn allocate(&mut self, client: Client, credential: &TurnCredential) -> SocketAddr {
        let answer = self.call(client, METHOD_ALLOCATE, credential, vec![transport()]);
        assert_eq!((code(&answer), answer.typ.class), (0, CLASS_SUCCESS_RESPONSE));
        assert_eq!(address(&answer, ATTR_XORMAPPED_ADDRESS), client.address);
        address(&answer, ATTR_XOR_RELAYED_ADDRESS)
    }

    fn handle_peer(&mut self, relay: u64, from: SocketAddr, data: &[u8]) -> Vec<Output> {
        self.turn.handle_peer(RelayId(relay), from, data, self.at.instant);
        self.outputs()
    }
}

fn unsigned(method: Method, more: Attributes) -> Message {
    let mut message = Message::new();
    message.new_transaction_id().unwrap();
    let mut attributes: Attributes =
        vec![Box::new(message.transaction_id), Box::new(MessageType::new(method, CLASS_REQUEST))];
    attributes.extend(more);
    message.build(&attributes).unwrap();
    message
}

fn indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut message = Message::new();
    message.new_transaction_id().unwrap();
    let attributes: Attributes = vec![
        Box::new(message.transaction_id),
        Box::new(MessageType::new(METHOD_SEND, CLASS_INDICATION)),
        to(peer),
        Box::new(Raw(ATTR_DATA, data.to_vec())),
    ];
    message.build(&attributes).unwrap();
    message.raw
}

#[test]
fn a_client_without_credentials_is_told_its_address_and_no_more() {
    let mut world = World::new(|_| ());
    let answer = world.raw(client(1), &unsigned(METHOD_BINDING, vec![]).raw);
    assert_eq!(address(&answer, ATTR_XORMAPPED_ADDRESS), client(1).address);
    for method in [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND] {
        assert_eq!(code(&world.raw(client(1), &unsigned(method, vec![transport()]).raw)), 401);
    }
    assert_eq!(world.sockets.opened, 0);
}

#[test]
fn a_permission_lets_both_ways_and_ends() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    world.allocate(client(1), &credential);
    assert_eq!(world.input(client(1), &indication(peer(1), b"early")), []);
    assert_eq!(world.handle_peer(1, peer(1), b"early"), []);
    assert_eq!(
        code(&world.call(client(1), METHOD_CREATE_PERMISSION, &credential, vec![to(peer(1)), to(peer(2))])),
        0
    );
    let sent = world.input(client(1), &indication(peer(1), b"out"));
    assert_eq!(sent, [Output::ToPeer(RelayId(1), peer(1), b"out".to_vec())]);
    // a permission is for an address, whatever the port (RFC 8656 section 2.3)
    let back = world.handle_peer(1, SocketAddr::new(peer(2).ip(), 1), b"back");
    let [Output::ToClient(_, packet)] = &back[..] else { panic!("{back:?}") };
    let mut data = Message { raw: packet.clone(), ..Message::default() };
    data.decode().unwrap();
    assert_eq!(data.get(ATTR_DATA).unwrap(), b"back");
    assert_eq!(address(&data, ATTR_XOR_PEER_ADDRESS), SocketAddr::new(peer(2).ip(), 1));
    world.later(300);
    assert_eq!(world.input(client(1), &indication(peer(1), b"late")), []);
    assert_eq!(world.handle_peer(1, peer(1), b"late"), []);
    assert_eq!(world.turn.figures().unwanted, 4);
}

#[test]
fn channels_carry_data_and_are_padded_for_streams_alone() {
    for link in [Link::Datagram, Link::Stream(7)] {
        let mut world = World::new(|_| ());
        let me = Client { link, ..client(1) };
        let credential = world.credential(ARN);
        world.allocate(me, &credential);
        let bind = |number, peer| vec![channel_number(number), to(peer)];
        assert_eq!(code(&world.call(me, METHOD_CHANNEL_BIND, &credential, bind(0x4001, peer(1)))), 0);
        // neither another peer for the number, nor another number for the peer
        assert_eq!(code(&world.call(me, METHOD_CHANNEL_BIND, &credential, bind(0x4001, peer(2)))), 400);
        assert_eq!(code(&world.call(me, METHOD_CHANNEL_BIND, &credential, bind(0x4002, peer(1)))), 400);
        assert_eq!(code(&world.call(me, METHOD_CHANNEL_BIND, &credential, bind(0x8000, peer(3)))), 400);
        let sent = world.input(me, &[0x40, 1, 0, 3, b'o', b'u', b't', 0]);
        assert_eq!(sent, [Output::ToPeer(RelayId(1), peer(1), b"out".to_vec())]);
        let mut expected = vec![0x40, 1, 0, 2, b'i', b'n'];
        if link != Link::Datagram {
            expected.extend([0, 0]);
        }
        assert_eq!(world.handle_peer(1, peer(1), b"in"), [Output::ToClient(me, expected)]);
        assert_eq!(world.input(me, &[0x40, 1, 0, 9, b'x']), [], "shorter than it says");
        assert_eq!(world.input(me, &[0x40, 2, 0, 1, b'x']), [], "no such channel");
        let longest = 65_507_u16;
        let data = |length: u16| [&[0x40, 1], &length.to_be_bytes()[..], &vec![0; length.into()]].concat();
        assert_eq!(world.input(me, &data(longest + 1)), [], "no datagram is so long");
        assert_eq!(world.turn.figures().too_long, 1);
        assert_eq!(world.input(me, &data(longest)).len(), 1);
        world.later(599);
        assert_eq!(code(&world.call(me, METHOD_REFRESH, &credential, vec![lifetime(600)])), 0);
        world.later(1);
        assert_eq!(world.input(me, &[0x40, 1, 0, 1, b'x']), [], "the binding is over");
        assert_eq!(code(&world.call(me, METHOD_CHANNEL_BIND, &credential, bind(0x4001, peer(2)))), 0);
    }
}

#[test]
fn allocations_end_by_themselves_by_refresh_and_with_their_connection() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    for number in 1..=3 {
        world.allocate(client(number), &credential);
    }
    assert_eq!(code(&world.call(client(1), METHOD_REFRESH, &credential, vec![lifetime(0)])), 0);
    world.turn.client_gone(client(2));
    assert_eq!(world.outputs(), [Output::Close(RelayId(2))]);
    world.later(599);
    world.turn.handle_timeout(world.at.instant);
    assert!(world.turn.has_allocation(client(3)));
    world.later(1);
    assert_eq!(
        code(&world.call(client(3), METHOD_REFRESH, &credential, vec![])),
        401,
        "its credential is over too"
    );
    world.turn.handle_timeout(world.at.instant);
    assert_eq!(world.outputs(), [Output::Close(RelayId(3))]);
    assert_eq!(world.turn.figures().allocations, 0);
}

#[test]
fn a_running_allocation_outlives_its_credential_and_a_new_one_is_refused() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    world.allocate(client(1), &credential);
    world.later(400);
    assert_eq!(code(&world.call(client(2), METHOD_ALLOCATE, &credential, vec![transport()])), 401);
    assert_eq!(code(&world.call(client(1), METHOD_CREATE_PERMISSION, &credential, vec![to(peer(1))])), 0);
    assert_eq!(code(&world.call(client(1), METHOD_REFRESH, &credential, vec![lifetime(600)])), 0);
}

#[test]
fn a_nonce_goes_stale_and_the_next_is_told() {
    let mut world = World::new(|_| ());
    world.later(3600);
    let credential = world.credential(ARN);
    let answer = world.call(client(1), METHOD_ALLOCATE, &credential, vec![transport()]);
    assert_eq!(code(&answer), 438);
    let mut nonce = TextAttribute::new(ATTR_NONCE, String::new());
    nonce.get_from(&answer).unwrap();
    world.nonce = nonce.text;
    world.allocate(client(1), &credential);
    assert_eq!(world.start + Duration::from_secs(3600), world.at.instant);
}

#[test]
fn a_request_that_comes_again_gets_the_same_relay_and_another_is_a_mismatch() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    let request = world.signed(METHOD_ALLOCATE, &credential, vec![transport()]);
    let first = address(&world.raw(client(1), &request.raw), ATTR_XOR_RELAYED_ADDRESS);
    assert_eq!(address(&world.raw(client(1), &request.raw), ATTR_XOR_RELAYED_ADDRESS), first);
    assert_eq!(code(&world.call(client(1), METHOD_ALLOCATE, &credential, vec![transport()])), 437);
    assert_eq!(code(&world.call(client(2), METHOD_REFRESH, &credential, vec![lifetime(5)])), 437);
    let other = world.credential("arn:aws:kinesisvideo:us-east-1:000000000000:channel/d/1700000000000");
    assert_eq!(code(&world.call(client(1), METHOD_REFRESH, &other, vec![])), 441);
}

#[test]
fn what_cannot_be_done_is_refused_by_its_code() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    let family =
        |family| -> Box<dyn Setter> { Box::new(Raw(ATTR_REQUESTED_ADDRESS_FAMILY, vec![family, 0, 0, 0])) };
    for (attributes, expected) in [
        (vec![], 400),
        (vec![Box::new(Raw(ATTR_REQUESTED_TRANSPORT, vec![6, 0, 0, 0])) as Box<dyn Setter>], 442),
        (vec![transport(), family(2)], 440),
        (vec![transport(), Box::new(Raw(ATTR_DONT_FRAGMENT, vec![]))], 420),
        (vec![transport(), Box::new(Raw(ATTR_RESERVATION_TOKEN, vec![1; 8]))], 508),
    ] {
        assert_eq!(code(&world.call(client(1), METHOD_ALLOCATE, &credential, attributes)), expected);
    }
    world.allocate(client(1), &credential);
    let v6: SocketAddr = "[2001:db8::1]:5".parse().unwrap();
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    let loopback: SocketAddr = "127.0.0.1:80".parse().unwrap();
    for (peers, expected) in [
        (vec![], 400),
        (vec![to(v6)], 443),
        (vec![to(peer(1)), to(metadata)], 403),
        (vec![to(loopback)], 403),
        (vec![Box::new(Raw(ATTR_XOR_PEER_ADDRESS, vec![0, 1, 2])) as Box<dyn Setter>], 400),
    ] {
        assert_eq!(code(&world.call(client(1), METHOD_CREATE_PERMISSION, &credential, peers)), expected);
    }
    // none of a request that is refused is permitted
    assert_eq!(world.input(client(1), &indication(peer(1), b"x")), []);
    let mut wrong = credential;
    wrong.password.push('x');
    assert_eq!(code(&world.call(client(2), METHOD_ALLOCATE, &wrong, vec![transport()])), 401);
}

#[test]
fn a_pair_of_ports_is_kept_for_half_a_minute() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    let pair = || -> Attributes { vec![transport(), Box::new(Raw(ATTR_EVEN_PORT, vec![0x80]))] };
    let first = world.call(client(1), METHOD_ALLOCATE, &credential, pair());
    let token = first.get(ATTR_RESERVATION_TOKEN).unwrap();
    let with_token = |token: &[u8]| -> Attributes {
        vec![transport(), Box::new(Raw(ATTR_RESERVATION_TOKEN, token.to_vec()))]
    };
    let second = world.call(client(2), METHOD_ALLOCATE, &credential, with_token(&token));
    let port = |answer: &Message| address(answer, ATTR_XOR_RELAYED_ADDRESS).port();
    assert_eq!(port(&second), port(&first) + 1);
    let third = world.call(client(3), METHOD_ALLOCATE, &credential, pair());
    let token = third.get(ATTR_RESERVATION_TOKEN).unwrap();
    world.later(30);
    assert_eq!(code(&world.call(client(4), METHOD_ALLOCATE, &credential, with_token(&token))), 508);
    assert_eq!(world.sockets.pairs, 2);
}

#[test]
fn a_channel_has_fifty_allocations_and_another_its_own() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    for number in 0..50 {
        world.allocate(client(number), &credential);
    }
    // also with another credential of the same channel
    world.later(1);
    let again = world.credential(ARN);
    assert_eq!(code(&world.call(client(51), METHOD_ALLOCATE, &again, vec![transport()])), 486);
    let other = world.credential("arn:aws:kinesisvideo:us-east-1:000000000000:channel/d/1700000000000");
    world.allocate(client(51), &other);
    world.turn.client_gone(client(0));
    world.allocate(client(52), &again);
}

#[test]
fn a_channel_relays_so_much_a_second() {
    for (rate, passed) in [(Some(10_000), 10), (None, 20)] {
        let mut world = World::new(|settings| settings.bytes_per_second = rate);
        let credential = world.credential(ARN);
        world.allocate(client(1), &credential);
        world.call(client(1), METHOD_CREATE_PERMISSION, &credential, vec![to(peer(1))]);
        let data = vec![7; 1000];
        let mut seen = 0;
        for _ in 0..10 {
            seen += world.input(client(1), &indication(peer(1), &data)).len();
            seen += world.handle_peer(1, peer(1), &data).len();
        }
        assert_eq!(seen, passed);
        assert_eq!(world.turn.figures().over_bitrate, 20 - passed as u64);
        world.later(1);
        assert_eq!(world.handle_peer(1, peer(1), &data).len(), 1);
    }
}

#[test]
fn what_follows_the_signature_is_nobody_s_word() {
    let mut world = World::new(|_| ());
    let credential = world.credential(ARN);
    world.allocate(client(1), &credential);
    let mut request = world.signed(METHOD_REFRESH, &credential, vec![]);
    // somebody on the way puts LIFETIME 0 behind it, in place of the fingerprint
    request.raw.truncate(request.raw.len() - 8);
    request.decode().unwrap_err();
    request.length -= 8;
    request.write_length();
    request.decode().unwrap();
    request.add(ATTR_LIFETIME, &[0, 0, 0, 0]);
    let answer = world.raw(client(1), &request.raw);
    assert_eq!(code(&answer), 0);
    assert!(world.turn.has_allocation(client(1)));
}

proptest! {
    /// Whatever comes from whomever: nothing panics, nothing is relayed, and no relay is opened without a credential.
    #[test]
    fn strangers_reach_nothing(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..20),
        method in 0_u16..12,
        content in proptest::collection::vec((0_u16..0x40, proptest::collection::vec(any::<u8>(), 0..30)), 0..8),
    ) {
        let mut world = World::new(|_| ());
        let attributes = content.into_iter().map(|(kind, value)| Box::new(Raw(AttrType(kind), value)) as Box<dyn Setter>);
        let forged = unsigned(Method::from_number(method), attributes.collect());
        for packet in packets.iter().chain([&forged.raw]) {
            for output in world.input(client(1), packet) {
                prop_assert!(matches!(output, Output::ToClient(..)));
            }
        }
        prop_assert_eq!(world.sockets.opened, 0);
    }
}

trait FromNumber {
    fn from_number(number: u16) -> Method;
}

impl FromNumber for Method {
    fn from_number(number: u16) -> Method {
        let mut typ = MessageType::default();
        typ.read_value(number);
        typ.method
    }
}

#[test]
fn a_credential_names_its_channel() {
    let world = World::new(|_| ());
    let issued = world.credentials.issue(ARN, SystemTime::now());
    assert_eq!(TurnCredentials::channel(&issued.username).as_deref(), Some(ARN));
}
