//! [`push_notifications`]: posts notifications as SNS does to those who subscribe by HTTP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use super::topics::Notification;
use crate::App;

/// How long a post may take, how often it is tried, and how long is waited in between.
const WITHIN: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 3;
const BETWEEN: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const ANSWER: usize = 64 * 1024;

/// Posts what waits, one after the other, until the server ends.
pub(crate) async fn push_notifications(app: Arc<App>, mut waiting: mpsc::Receiver<Notification>, to: Uri) {
    loop {
        let notification = tokio::select! {
            () = app.stop.cancelled() => return,
            notification = waiting.recv() => notification,
        };
        let Some(notification) = notification else { return };
        let posted = tokio::select! {
            () = app.stop.cancelled() => return,
            posted = post_or_try_again(&notification, &to) => posted,
        };
        if let Err(error) = posted {
            app.delivery.figures.pushes_failed.one();
            tracing::warn!(topic = notification.topic, error, "a notification was not taken by --sns-url");
        }
    }
}

async fn post_or_try_again(notification: &Notification, to: &Uri) -> Result<(), String> {
    let mut attempt = 1;
    loop {
        let posted = timeout(WITHIN, post(notification, to)).await;
        let error = match posted {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => format!("no answer within {} s", WITHIN.as_secs()),
        };
        if attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn post(notification: &Notification, to: &Uri) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let host = to.host().unwrap_or_default();
    // brackets belong to the address in a URL, and not to the address
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let socket =
        TcpStream::connect((plain, to.port_u16().unwrap_or(80))).await.map_err(|error| said(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| said(&error))?;
    let request = Request::post(to.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, to.authority().map_or(host, |authority| authority.as_str()))
        .header(header::CONTENT_TYPE, "text/plain; charset=UTF-8")
        .header(header::CONNECTION, "close")
        .header("x-amz-sns-message-type", "Notification")
        .header("x-amz-sns-message-id", &notification.id)
        .header("x-amz-sns-topic-arn", &notification.topic)
        .body(Full::new(Bytes::from(notification.document.clone())))
        .map_err(|error| said(&error))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
        let status = answer.status();
        // its end is wanted, not what it says
        let _ = Limited::new(answer.into_body(), ANSWER).collect().await;
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    };
    // the connection ends with the exchange
    tokio::select! {
        answered = exchange => answered,
        Err(error) = connection => Err(said(&error)),
    }
}
