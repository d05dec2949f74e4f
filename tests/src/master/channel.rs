//! The master's side of a signaling channel: control plane by AWS's SDK, a presigned WebSocket, JSON messages.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_credential_types::Credentials;
use aws_sdk_kinesisvideo::config::{BehaviorVersion, Region};
use aws_sdk_kinesisvideo::types::{ChannelProtocol, ChannelRole, SingleMasterChannelEndpointConfiguration};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings, sign,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use url::Url;

/// Where KVS is and who asks.
#[derive(Clone, Debug)]
pub struct Access {
    /// Control plane, `http://127.0.0.1:PORT`.
    pub endpoint: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

impl Access {
    fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key, &self.secret_key, None, None, "tests")
    }

    /// A control-plane client of AWS's own SDK.
    pub fn control_plane(&self) -> aws_sdk_kinesisvideo::Client {
        let config = aws_sdk_kinesisvideo::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .endpoint_url(&self.endpoint)
            .credentials_provider(self.credentials())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_kinesisvideo::Client::from_conf(config)
    }
}

/// What came in on the channel.
#[derive(Debug)]
pub enum Incoming {
    Offer {
        viewer: String,
        sdp: String,
    },
    Candidate {
        viewer: String,
        candidate: String,
    },
    /// The service closed the socket, or it broke.
    Closed,
}

/// A connected signaling channel, in the role of its master.
pub struct Channel {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Creates the channel when it is missing; its ARN.
pub async fn ensure_channel(access: &Access, name: &str) -> Result<String> {
    let client = access.control_plane();
    match client.create_signaling_channel().channel_name(name).send().await {
        Ok(created) => created.channel_arn.context("CreateSignalingChannel answered without an ARN"),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            let described = client.describe_signaling_channel().channel_name(name).send().await?;
            described.channel_info.and_then(|info| info.channel_arn).context("a channel without an ARN")
        }
        Err(error) => Err(error).context("CreateSignalingChannel"),
    }
}

/// The WebSocket of a channel, for its master, or with a client id for a viewer.
pub(crate) async fn open(
    access: &Access,
    channel_arn: &str,
    viewer: Option<&str>,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let role = if viewer.is_some() { ChannelRole::Viewer } else { ChannelRole::Master };
    let answer = access
        .control_plane()
        .get_signaling_channel_endpoint()
        .channel_arn(channel_arn)
        .single_master_channel_endpoint_configuration(
            SingleMasterChannelEndpointConfiguration::builder()
                .protocols(ChannelProtocol::Wss)
                .protocols(ChannelProtocol::Https)
                .role(role)
                .build(),
        )
        .send()
        .await
        .context("GetSignalingChannelEndpoint")?;
    let wss = answer
        .resource_endpoint_list()
        .iter()
        .find(|endpoint| endpoint.protocol == Some(ChannelProtocol::Wss))
        .and_then(|endpoint| endpoint.resource_endpoint.as_deref())
        .context("no WSS endpoint")?;
    let url = presign(access, wss, channel_arn, viewer)?;
    let (socket, _) =
        tokio_tungstenite::connect_async(url.as_str()).await.context("connect to the channel")?;
    Ok(socket)
}

impl Channel {
    pub async fn connect(access: &Access, channel_arn: &str) -> Result<Self> {
        Ok(Self { socket: open(access, channel_arn, None).await? })
    }

    /// The next message; what is not for a master is skipped.
    pub async fn receive(&mut self) -> Incoming {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Incoming::Closed,
                Some(Ok(_)) => continue,
            };
            match parse(&text) {
                Ok(Some(incoming)) => return incoming,
                Ok(None) => {}
                Err(error) => tracing::warn!("master: {error:#}: {text}"),
            }
        }
    }

    pub async fn answer(&mut self, viewer: &str, sdp: &str) -> Result<()> {
        self.send("SDP_ANSWER", viewer, &json!({"type": "answer", "sdp": sdp})).await
    }

    pub async fn candidate(&mut self, viewer: &str, candidate: &str) -> Result<()> {
        let payload = json!({"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0});
        self.send("ICE_CANDIDATE", viewer, &payload).await
    }

    async fn send(&mut self, action: &str, viewer: &str, payload: &Value) -> Result<()> {
        let message = json!({
            "action": action,
            "messagePayload": STANDARD.encode(payload.to_string()),
            "recipientClientId": viewer,
        });
        self.socket.send(Message::text(message.to_string())).await.with_context(|| format!("send {action}"))
    }

    pub async fn ping(&mut self) -> Result<()> {
        Ok(self.socket.send(Message::Ping(Default::default())).await?)
    }
}

fn parse(text: &str) -> Result<Option<Incoming>> {
    let message: Value = serde_json::from_str(text)?;
    let kind = message["messageType"].as_str().unwrap_or_default();
    if !matches!(kind, "SDP_OFFER" | "ICE_CANDIDATE") {
        return Ok(None);
    }
    let viewer = message["senderClientId"].as_str().context("no senderClientId")?.to_owned();
    let payload = STANDARD.decode(message["messagePayload"].as_str().context("no messagePayload")?)?;
    let payload: Value = serde_json::from_slice(&payload)?;
    let field = |name: &str| payload[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    Ok(Some(match kind {
        "SDP_OFFER" => Incoming::Offer { viewer, sdp: field("sdp")? },
        _ => Incoming::Candidate { viewer, candidate: field("candidate")? },
    }))
}

/// The endpoint with the query by which SigV4 signs a WebSocket handshake.
fn presign(access: &Access, endpoint: &str, channel_arn: &str, viewer: Option<&str>) -> Result<Url> {
    let mut url = Url::parse(endpoint)?;
    if url.path().is_empty() {
        url.set_path("/");
    }
    // RFC 3986 encoding, which `query_pairs_mut` does not give for every character; an ARN needs only these two.
    let arn = channel_arn.replace(':', "%3A").replace('/', "%2F");
    // Client ids of the tests have letters, digits and hyphens only.
    let client = viewer.map(|id| format!("&X-Amz-ClientId={id}")).unwrap_or_default();
    url.set_query(Some(&format!("X-Amz-ChannelARN={arn}{client}")));
    let identity = access.credentials().into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(299));
    let params: SigningParams<'_> = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(&access.region)
        .name("kinesisvideo")
        .time(SystemTime::now())
        .settings(settings)
        .build()?
        .into();
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => bail!("the endpoint {endpoint} has no host"),
    };
    let request = SignableRequest::new(
        "GET",
        url.as_str(),
        [("host", host.as_str())].into_iter(),
        SignableBody::Bytes(b""),
    )?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    let mut query = url.query().unwrap_or_default().to_owned();
    for (name, value) in instructions.params() {
        let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        query.push_str(&format!("&{name}={}", value.replace('+', "%20")));
    }
    url.set_query(Some(&query));
    Ok(url)
}
