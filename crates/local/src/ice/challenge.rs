//! [`Challenging`]: the TURN server's socket, which answers by itself who has no credential.
//!
//! The server keeps a nonce for each request that it challenges, for ever. So it challenges once, what it says is kept, and
//! who comes later without a credential is told the same: a nonce is no secret, and may serve several clients (RFC 8489
//! section 9.2). What it then gets is from clients that have a credential of ours.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use stun::{
    attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_USERNAME},
    error_code::{CODE_UNAUTHORIZED, ErrorCodeAttribute},
    integrity::MessageIntegrity,
    message::{
        CLASS_ERROR_RESPONSE, CLASS_REQUEST, Getter, METHOD_BINDING, Message, MessageClass, MessageType,
    },
    textattrs::TextAttribute,
};
use tokio::net::UdpSocket;
use turn::auth::AuthHandler;
use webrtc_util::Conn;

/// Half as long as the server takes a nonce.
const NONCE_LIFE: Duration = Duration::from_secs(30 * 60);

pub(super) struct Challenging {
    pub(super) socket: UdpSocket,
    pub(super) realm: &'static str,
    pub(super) auth: Arc<dyn AuthHandler + Send + Sync>,
    /// The last that the server gave, and when.
    nonce: Mutex<Option<(String, Instant)>>,
}

impl Challenging {
    pub(super) fn new(
        socket: UdpSocket,
        realm: &'static str,
        auth: Arc<dyn AuthHandler + Send + Sync>,
    ) -> Self {
        Self { socket, realm, auth, nonce: Mutex::default() }
    }

    /// What is answered in the server's place, if it is.
    fn answer(&self, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let request = decode(datagram, CLASS_REQUEST)?;
        if request.typ.method == METHOD_BINDING || self.is_authentic(&request, from) {
            return None;
        }
        let nonce = {
            let nonce = self.nonce.lock();
            nonce.as_ref().filter(|(_, since)| since.elapsed() < NONCE_LIFE)?.0.clone()
        };
        let mut answer = Message::new();
        let built = answer.build(&[
            Box::new(request.transaction_id),
            Box::new(MessageType::new(request.typ.method, CLASS_ERROR_RESPONSE)),
            Box::new(ErrorCodeAttribute { code: CODE_UNAUTHORIZED, reason: b"Unauthorized".to_vec() }),
            Box::new(TextAttribute::new(ATTR_NONCE, nonce)),
            Box::new(TextAttribute::new(ATTR_REALM, self.realm.to_owned())),
        ]);
        built.is_ok().then_some(answer.raw)
    }

    /// Whether it is signed with a credential of ours. Its nonce is the server's to judge.
    fn is_authentic(&self, request: &Message, from: SocketAddr) -> bool {
        if !request.contains(ATTR_MESSAGE_INTEGRITY) {
            return false;
        }
        let text = |kind| {
            let mut attribute = TextAttribute::new(kind, String::new());
            attribute.get_from(request).ok().map(|()| attribute.text)
        };
        let (Some(username), Some(realm)) = (text(ATTR_USERNAME), text(ATTR_REALM)) else { return false };
        let key = self.auth.auth_handle(&username, &realm, from);
        key.is_ok_and(|key| MessageIntegrity(key).check(&mut request.clone()).is_ok())
    }

    /// Keeps the nonce of a challenge that the server sends.
    fn learn(&self, datagram: &[u8]) {
        let Some(answer) = decode(datagram, CLASS_ERROR_RESPONSE) else { return };
        let mut nonce = TextAttribute::new(ATTR_NONCE, String::new());
        if nonce.get_from(&answer).is_ok() {
            *self.nonce.lock() = Some((nonce.text, Instant::now()));
        }
    }
}

/// A STUN message of this class. Media, which is nearly all that passes, is known by its first bytes (RFC 8489 section 5 and
/// RFC 8656 section 12.4) and not copied.
fn decode(datagram: &[u8], class: MessageClass) -> Option<Message> {
    let kind = u16::from_be_bytes(*datagram.first_chunk()?);
    let mut typ = MessageType::default();
    typ.read_value(kind);
    if kind >> 14 != 0 || typ.class != class {
        return None;
    }
    let mut message = Message { raw: datagram.to_vec(), ..Message::default() };
    message.decode().is_ok().then_some(message)
}

#[async_trait]
impl Conn for Challenging {
    async fn connect(&self, address: SocketAddr) -> webrtc_util::Result<()> {
        Conn::connect(&self.socket, address).await
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        Conn::recv(&self.socket, buffer).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        loop {
            let (length, from) = Conn::recv_from(&self.socket, buffer).await?;
            let Some(answer) = buffer.get(..length).and_then(|datagram| self.answer(datagram, from)) else {
                return Ok((length, from));
            };
            if let Err(error) = Conn::send_to(&self.socket, &answer, from).await {
                tracing::debug!(%from, %error, "a TURN challenge was not sent");
            }
        }
    }

    async fn send(&self, buffer: &[u8]) -> webrtc_util::Result<usize> {
        Conn::send(&self.socket, buffer).await
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> webrtc_util::Result<usize> {
        self.learn(buffer);
        Conn::send_to(&self.socket, buffer, target).await
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Conn::local_addr(&self.socket)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Conn::remote_addr(&self.socket)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Conn::close(&self.socket).await
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}
