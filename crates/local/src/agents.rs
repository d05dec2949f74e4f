//! Agents that take media from the channels here. Where else they send it, this server cannot see: they are asked for their
//! `/status`, and what that says of their outputs is shown on the page. No more of it is kept.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::error::ServiceError;

/// Agents at a time; more are refused.
const MAX: usize = 32;
/// How often each is asked.
const EVERY: Duration = Duration::from_secs(1);
/// An agent answers within so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// An agent that has not answered for so long has ended.
const GONE: Duration = Duration::from_secs(30);
/// Bytes of a `/status`.
const MAX_STATUS: usize = 256 * 1024;
/// Outputs of an agent that are shown, and letters of each of their words.
const MAX_OUTPUTS: usize = 16;
const MAX_WORD: usize = 1_000;

/// The agents that are asked, by the URLs of their `/status`.
#[derive(Default)]
pub(crate) struct Agents {
    known: Mutex<BTreeMap<String, Vec<Value>>>,
}

impl Agents {
    /// Asks this agent from now on, until it has ended.
    ///
    /// # Errors
    /// `InvalidArgumentException` when it is no URL of plain HTTP, or there are too many.
    pub(crate) fn ask(
        self: &Arc<Self>,
        status: &str,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), ServiceError> {
        let invalid = |why: &str| ServiceError::invalid("status", why);
        let url = Url::parse(status).map_err(|error| invalid(&format!("is no URL: {error}")))?;
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(invalid("must be http://HOST:PORT/status"));
        }
        let mut known = self.known.lock();
        if known.contains_key(url.as_str()) {
            return Ok(());
        }
        if known.len() >= MAX {
            return Err(invalid("there are too many agents already"));
        }
        known.insert(url.to_string(), Vec::new());
        drop(known);
        tasks.spawn(watch(self.clone(), url, stop.clone()));
        Ok(())
    }

    /// What the agents say of their outputs: `name`, `type`, `state`, `reason` and `message` of each.
    pub(crate) fn outputs(&self) -> Vec<Value> {
        self.known.lock().values().flatten().cloned().collect()
    }
}

async fn watch(agents: Arc<Agents>, url: Url, stop: CancellationToken) {
    let mut answered = Instant::now();
    while answered.elapsed() < GONE {
        let said = timeout(PATIENCE, outputs(&url)).await;
        let said = said.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer")));
        match &said {
            Ok(_) => answered = Instant::now(),
            Err(error) => tracing::debug!(%url, %error, "the agent says nothing of its outputs"),
        }
        // what it said before may no longer be so
        agents.known.lock().insert(url.to_string(), said.unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
    tracing::info!(%url, "the agent has not answered for {} s: it is not asked any more", GONE.as_secs());
    agents.known.lock().remove(url.as_str());
}

/// The outputs of one answer.
async fn outputs(url: &Url) -> anyhow::Result<Vec<Value>> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    // an address of IPv6 has brackets in a URL, and none here
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let ask = async {
        let authority = format!("{host}:{port}");
        let request = Request::get(url.path()).header(header::HOST, authority).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status() == StatusCode::OK, "it answers {}", response.status());
        let body = Limited::new(response.into_body(), MAX_STATUS).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let status: Value = serde_json::from_slice(&body)?;
        let all = status["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(all.iter().take(MAX_OUTPUTS).map(shown).collect())
    };
    tokio::pin!(ask);
    tokio::select! {
        outputs = &mut ask => outputs,
        _ = connection => ask.await,
    }
}

/// The words of an output, and nothing else that may stand there.
fn shown(output: &Value) -> Value {
    let word =
        |name: &str| -> String { output[name].as_str().unwrap_or_default().chars().take(MAX_WORD).collect() };
    json!({
        "name": word("name"),
        "type": word("type"),
        "state": word("state"),
        "reason": word("reason"),
        "message": word("message"),
    })
}
