//! STUN messages by the `stun` crate, and what it leaves to its users.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stun::{
    agent::TransactionId,
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_ERROR_CODE, ATTR_EVEN_PORT, ATTR_FINGERPRINT, ATTR_LIFETIME,
        ATTR_MAPPED_ADDRESS, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_PRIORITY, ATTR_REALM,
        ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN,
        ATTR_UNKNOWN_ATTRIBUTES, ATTR_USE_CANDIDATE, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
        ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType, RawAttribute,
    },
    error_code::{ErrorCode, ErrorCodeAttribute},
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_SUCCESS_RESPONSE, METHOD_DATA, Message, MessageClass,
        MessageType, Setter,
    },
    textattrs::TextAttribute,
    xoraddr::XorMappedAddress,
};

/// What a client may send that must be understood (RFC 8489 section 18.3.1): all of it is. `DONT-FRAGMENT` is not here, so
/// that who asks for it is told 420 and goes without.
const UNDERSTOOD: [AttrType; 19] = [
    ATTR_MAPPED_ADDRESS,
    ATTR_USERNAME,
    ATTR_MESSAGE_INTEGRITY,
    ATTR_ERROR_CODE,
    ATTR_UNKNOWN_ATTRIBUTES,
    ATTR_CHANNEL_NUMBER,
    ATTR_LIFETIME,
    ATTR_XOR_PEER_ADDRESS,
    ATTR_DATA,
    ATTR_REALM,
    ATTR_NONCE,
    ATTR_XOR_RELAYED_ADDRESS,
    ATTR_REQUESTED_ADDRESS_FAMILY,
    ATTR_EVEN_PORT,
    ATTR_REQUESTED_TRANSPORT,
    ATTR_XORMAPPED_ADDRESS,
    ATTR_RESERVATION_TOKEN,
    // of ICE, in a Binding request that has come to the wrong place
    ATTR_PRIORITY,
    ATTR_USE_CANDIDATE,
];

/// A message that is whole: of this length exactly, and with a right fingerprint if it has one.
pub(super) fn decode(datagram: &[u8]) -> Option<Message> {
    if datagram.first()? >> 6 != 0 {
        return None;
    }
    let mut message = Message { raw: datagram.to_vec(), ..Message::default() };
    message.decode().ok()?;
    let whole = message.raw.len() == 20 + usize::try_from(message.length).ok()?;
    let fingerprint = message.attributes.0.iter().position(|attribute| attribute.typ == ATTR_FINGERPRINT);
    let sound = fingerprint
        .is_none_or(|at| at + 1 == message.attributes.0.len() && FINGERPRINT.check(&message).is_ok());
    (whole && sound).then_some(message)
}

/// The attributes that count: what comes after MESSAGE-INTEGRITY is nobody's word (RFC 8489 section 14.5).
pub(super) fn attributes(message: &Message) -> impl Iterator<Item = &RawAttribute> {
    message.attributes.0.iter().take_while(|attribute| attribute.typ != ATTR_MESSAGE_INTEGRITY)
}

pub(super) fn value(message: &Message, kind: AttrType) -> Option<&[u8]> {
    attributes(message).find(|attribute| attribute.typ == kind).map(|attribute| attribute.value.as_slice())
}

pub(super) fn text(message: &Message, kind: AttrType) -> Option<&str> {
    std::str::from_utf8(value(message, kind)?).ok()
}

pub(super) fn number(message: &Message, kind: AttrType) -> Option<u32> {
    Some(u32::from_be_bytes(*value(message, kind)?.first_chunk()?))
}

/// What must be understood and is not.
pub(super) fn not_understood(message: &Message) -> Vec<AttrType> {
    let kinds = attributes(message).map(|attribute| attribute.typ);
    kinds.filter(|kind| kind.required() && !UNDERSTOOD.contains(kind)).collect()
}

/// Every XOR-PEER-ADDRESS, `None` for one that cannot be read.
pub(super) fn peers(message: &Message) -> Vec<Option<SocketAddr>> {
    attributes(message)
        .filter(|attribute| attribute.typ == ATTR_XOR_PEER_ADDRESS)
        .map(|attribute| xored(&attribute.value, &message.transaction_id))
        .collect()
}

/// An address as RFC 8489 section 14.2 writes it.
fn xored(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let (&[_, family, high, low], address) = value.split_first_chunk()?;
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&stun::message::MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    let port = u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]);
    let ip: IpAddr = match family {
        1 => {
            let octets: [u8; 4] = address.try_into().ok()?;
            Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|at| octets[at] ^ mask[at])).into()
        }
        2 => {
            let octets: [u8; 16] = address.try_into().ok()?;
            Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|at| octets[at] ^ mask[at])).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// An address attribute of an answer.
pub(super) struct Address(pub AttrType, pub SocketAddr);

impl Setter for Address {
    fn add_to(&self, message: &mut Message) -> Result<(), stun::Error> {
        XorMappedAddress { ip: self.1.ip().to_canonical(), port: self.1.port() }.add_to_as(message, self.0)
    }
}

/// Any attribute.
pub(super) struct Raw(pub AttrType, pub Vec<u8>);

impl Setter for Raw {
    fn add_to(&self, message: &mut Message) -> Result<(), stun::Error> {
        message.add(self.0, &self.1);
        Ok(())
    }
}

/// A text attribute.
pub(super) fn text_attribute(kind: AttrType, text: &str) -> Box<dyn Setter> {
    Box::new(TextAttribute::new(kind, text.to_owned()))
}

/// An answer to a request, signed where there is a key; with a fingerprint if the request had one.
fn answer(request: &Message, class: MessageClass, more: Vec<Box<dyn Setter>>, key: Option<&[u8]>) -> Vec<u8> {
    let mut all: Vec<Box<dyn Setter>> =
        vec![Box::new(request.transaction_id), Box::new(MessageType::new(request.typ.method, class))];
    all.extend(more);
    if let Some(key) = key {
        all.push(Box::new(MessageIntegrity(key.to_vec())));
    }
    if request.contains(ATTR_FINGERPRINT) {
        all.push(Box::new(FINGERPRINT));
    }
    built(&all)
}

pub(super) fn success(request: &Message, more: Vec<Box<dyn Setter>>, key: Option<&[u8]>) -> Vec<u8> {
    answer(request, CLASS_SUCCESS_RESPONSE, more, key)
}

pub(super) fn error(
    request: &Message,
    code: ErrorCode,
    reason: &str,
    mut more: Vec<Box<dyn Setter>>,
    key: Option<&[u8]>,
) -> Vec<u8> {
    more.insert(0, Box::new(ErrorCodeAttribute { code, reason: reason.as_bytes().to_vec() }));
    answer(request, CLASS_ERROR_RESPONSE, more, key)
}

/// What a peer sent, for a client that has bound no channel to it.
pub(super) fn data_indication(peer: SocketAddr, data: &[u8], id: TransactionId) -> Vec<u8> {
    built(&[
        Box::new(id),
        Box::new(MessageType::new(METHOD_DATA, CLASS_INDICATION)),
        Box::new(Address(ATTR_XOR_PEER_ADDRESS, peer)),
        Box::new(Raw(ATTR_DATA, data.to_vec())),
    ])
}

fn built(setters: &[Box<dyn Setter>]) -> Vec<u8> {
    let mut message = Message::new();
    if let Err(error) = message.build(setters) {
        // nothing is written that is too long for its attribute
        tracing::error!(%error, "a STUN message could not be written");
    }
    message.raw
}
