//! Small HTTP requests to processes on this machine.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

fn client() -> ureq::Agent {
    client_for(Duration::from_secs(5))
}

fn client_for(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// The status code and body of a GET.
pub async fn get_text(url: &str) -> Result<(u16, String)> {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut answer = client().get(&url).call().with_context(|| format!("GET {url}"))?;
        let body = answer.body_mut().read_to_string().with_context(|| format!("GET {url}: body"))?;
        Ok((answer.status().as_u16(), body))
    })
    .await?
}

/// The status code and body of a GET whose body is no text, and may be large.
pub async fn get_bytes(url: &str) -> Result<(u16, Vec<u8>)> {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || {
        let client = client_for(Duration::from_secs(60));
        let mut answer = client.get(&url).call().with_context(|| format!("GET {url}"))?;
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec();
        Ok((answer.status().as_u16(), body.with_context(|| format!("GET {url}: body"))?))
    })
    .await?
}

/// The JSON body of a GET that was answered 200.
pub async fn get_json(url: &str) -> Result<Value> {
    let (status, body) = get_text(url).await?;
    anyhow::ensure!(status == 200, "GET {url} was answered {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("GET {url}: not JSON: {body}"))
}

/// The status code and body of a POST of JSON.
pub async fn post_json(url: &str, body: &Value) -> Result<(u16, String)> {
    let (url, body) = (url.to_owned(), body.to_string());
    tokio::task::spawn_blocking(move || {
        let request = client().post(&url).header("content-type", "application/json");
        let mut answer = request.send(body).with_context(|| format!("POST {url}"))?;
        let body = answer.body_mut().read_to_string().with_context(|| format!("POST {url}: body"))?;
        Ok((answer.status().as_u16(), body))
    })
    .await?
}
