//! An API server for tests, which answers from a script.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::watch;

/// Method, path with query, body.
type Requests = Arc<Mutex<Vec<(String, String, Value)>>>;

/// The server's client, and whether this operator leads.
pub(crate) struct ScriptedServer {
    pub(crate) client: Client,
    requests: Requests,
    pub(crate) leading: watch::Sender<bool>,
}

impl ScriptedServer {
    pub(crate) fn requests(&self) -> Vec<(String, String, Value)> {
        self.requests.lock().unwrap().clone()
    }
}

/// Each answer is a status and a body; a request without one is a failure.
pub(crate) fn server(leads: bool, answers: Vec<(u16, Value)>) -> ScriptedServer {
    let requests = Requests::default();
    let log = requests.clone();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, answers) = (log.clone(), answers.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            log.lock().unwrap().push((parts.method.to_string(), parts.uri.to_string(), body));
            let (status, answer) =
                answers.lock().unwrap().next().expect("a request that is not in the script");
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            Ok::<_, std::convert::Infallible>(
                response.body(Body::from(answer.to_string().into_bytes())).unwrap(),
            )
        }
    });
    ScriptedServer { client: Client::new(service, "default"), requests, leading: watch::Sender::new(leads) }
}
