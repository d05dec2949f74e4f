//! Leader election by a Lease (coordination.k8s.io): one operator writes, the others stand by with warm caches.
//!
//! Every change of the Lease names the resourceVersion it was decided on, so that of two candidates one gets 409. Times
//! are judged by the local clock from when a change was seen, never by comparing two machines' clocks (as client-go does).

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::pace::jittered;

/// How a Lease is held.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    pub namespace: String,
    pub name: String,
    /// Who we are: the pod's name.
    pub identity: String,
    /// A leader that has not renewed for so long has lost it.
    pub duration: Duration,
    /// A leader that could not renew for so long gives up by itself.
    pub renew_deadline: Duration,
    /// Between attempts, ± 20 %.
    pub retry: Duration,
}

impl LeaseConfig {
    /// client-go's figures: 15 s, 10 s, 2 s.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What to do about the Lease: see [`Elector::decide`].
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Create,
    Replace { transition: bool },
    Wait,
}

/// One candidate for the Lease.
pub struct Elector {
    api: Api<Lease>,
    config: LeaseConfig,
    last: Option<Renewal>,
}

/// The last change of the Lease that was seen, by our own clock.
struct Renewal {
    /// `resourceVersion`
    version: Option<String>,
    at: Instant,
}

/// Are we the leader? Follow it with [`watch::Receiver::changed`].
pub type Leadership = watch::Receiver<bool>;

impl Elector {
    /// `client` should have its own connections and no retries: a renewal that hangs must not hang on.
    #[must_use]
    pub fn new(client: Client, config: LeaseConfig) -> Self {
        Self { api: Api::namespaced(client, &config.namespace), config, last: None }
    }

    /// Runs for election, and renews, until `stop`: then the Lease is given back. Who loses it (an API server that was
    /// away for too long is enough) stands by and runs again: its caches stay warm, and no write is made meanwhile.
    pub async fn run(mut self, leading: watch::Sender<bool>, stop: CancellationToken) {
        let mut renewed: Option<tokio::time::Instant> = None;
        let deadline = self.config.renew_deadline;
        let limit = self.config.retry.max(Duration::from_secs(1)) * 2;
        loop {
            let began = tokio::time::Instant::now();
            // What hangs does not make a leader of one whose time is over.
            let left = renewed.map_or(limit, |at| deadline.saturating_sub(at.elapsed()));
            match timeout(limit.min(left), self.attempt()).await {
                Ok(Ok(true)) => {
                    // From when the request was sent: the server's clock started no earlier.
                    renewed = Some(began);
                    if leading.send_if_modified(|leads| !std::mem::replace(leads, true)) {
                        tracing::info!(identity = self.config.identity, "leading");
                    }
                }
                Ok(Ok(false)) if renewed.is_some() => {
                    tracing::warn!("another operator leads: this one stands by");
                    leading.send_replace(false);
                    renewed = None;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, lease = self.config.name, "the lease cannot be had"),
                Err(_) => tracing::warn!(lease = self.config.name, "the API server does not answer"),
            }
            if renewed.is_some_and(|at| at.elapsed() >= deadline) {
                tracing::warn!("the lease could not be renewed in time: this operator stands by");
                leading.send_replace(false);
                renewed = None;
            }
            let retry = jittered(self.config.retry, rand::random());
            let left = renewed.map_or(retry, |at| deadline.saturating_sub(at.elapsed()));
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(retry.min(left)) => {}
            }
        }
        let _ = leading.send(false);
        if renewed.is_some() {
            self.release().await;
        }
    }

    /// True: we hold it, as of this request.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let now = Instant::now();
        let lease = self.api.get_opt(&self.config.name).await?;
        let written = match self.decide(lease.as_ref(), now) {
            Step::Wait => return Ok(false),
            Step::Create => self.api.create(&PostParams::default(), &self.lease(None, true)).await,
            Step::Replace { transition } => {
                let next = self.lease(lease.as_ref(), transition);
                self.api.replace(&self.config.name, &PostParams::default(), &next).await
            }
        };
        match written {
            Ok(lease) => {
                self.last = Some(Renewal { version: lease.metadata.resource_version, at: now });
                Ok(true)
            }
            // Somebody was faster. If it was ours, the next look tells who.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pure: the time comes from outside.
    fn decide(&mut self, lease: Option<&Lease>, now: Instant) -> Step {
        let Some(lease) = lease else { return Step::Create };
        let version = &lease.metadata.resource_version;
        if self.last.as_ref().is_none_or(|last| last.version != *version) {
            self.last = Some(Renewal { version: version.clone(), at: now });
        }
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder == self.config.identity {
            return Step::Replace { transition: false };
        }
        let duration = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let duration = duration
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.config.duration, Duration::from_secs);
        let idle = self.last.as_ref().map_or(Duration::ZERO, |last| now.saturating_duration_since(last.at));
        if holder.is_empty() || idle >= duration { Step::Replace { transition: true } } else { Step::Wait }
    }

    fn lease(&self, before: Option<&Lease>, transition: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let old = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(-1) + i32::from(transition);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                resource_version: before.and_then(|lease| lease.metadata.resource_version.clone()),
                ..before.map(|lease| lease.metadata.clone()).unwrap_or_default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.config.identity.clone()),
                lease_duration_seconds: i32::try_from(self.config.duration.as_secs()).ok(),
                acquire_time: if transition { Some(now.clone()) } else { old.acquire_time },
                renew_time: Some(now),
                lease_transitions: Some(transitions.max(0)),
                ..LeaseSpec::default()
            }),
        }
    }

    /// So that the next one does not have to wait until it runs out.
    async fn release(&self) {
        let release = async {
            let Some(mut lease) = self.api.get_opt(&self.config.name).await? else { return Ok(()) };
            let Some(spec) = &mut lease.spec else { return Ok(()) };
            if spec.holder_identity.as_deref() == Some(self.config.identity.as_str()) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.config.name, &PostParams::default(), &lease).await?;
                tracing::info!("the lease is given back");
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(Duration::from_secs(3), release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given back"),
            Err(_) => tracing::warn!("the lease could not be given back in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elector() -> Elector {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server"))
        });
        Elector::new(Client::new(service, "default"), LeaseConfig::new("ns", "lease", "me"))
    }

    fn held(by: Option<&str>, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: by.map(Into::into),
                lease_duration_seconds: Some(15),
                lease_transitions: Some(3),
                ..LeaseSpec::default()
            }),
        }
    }

    #[tokio::test]
    async fn a_lease_is_taken_when_nobody_renews_it_by_our_own_clock() {
        let mut elector = elector();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(elector.decide(None, start), Step::Create);
        assert_eq!(elector.decide(Some(&held(Some("other"), "1")), at(0)), Step::Wait);
        assert_eq!(elector.decide(Some(&held(Some("other"), "1")), at(14)), Step::Wait);
        // A renewal is a new version, and starts the time anew.
        assert_eq!(elector.decide(Some(&held(Some("other"), "2")), at(14)), Step::Wait);
        assert_eq!(elector.decide(Some(&held(Some("other"), "2")), at(28)), Step::Wait);
        assert_eq!(
            elector.decide(Some(&held(Some("other"), "2")), at(29)),
            Step::Replace { transition: true }
        );
        assert_eq!(elector.decide(Some(&held(None, "3")), at(29)), Step::Replace { transition: true });
        assert_eq!(elector.decide(Some(&held(Some("me"), "4")), at(30)), Step::Replace { transition: false });
    }

    /// The renewal and what follows it: an API server that grants the lease once, and then says nothing.
    #[tokio::test(start_paused = true)]
    async fn who_cannot_renew_stops_within_the_deadline_whatever_hangs() {
        let requests = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let number = requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                let (code, body) = match number {
                    0 => (
                        404,
                        serde_json::json!({"kind": "Status", "code": 404, "reason": "NotFound", "status": "Failure", "message": ""}),
                    ),
                    1 => (201, serde_json::json!({"metadata": {"name": "lease", "resourceVersion": "1"}})),
                    _ => std::future::pending().await,
                };
                let body = kube::client::Body::from(body.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(http::Response::builder().status(code).body(body).unwrap())
            }
        });
        let elector = Elector::new(Client::new(service, "default"), LeaseConfig::new("ns", "lease", "me"));
        let (leading, mut leads) = watch::channel(false);
        let stop = CancellationToken::new();
        let run = tokio::spawn(elector.run(leading, stop.clone()));
        leads.wait_for(|leads| *leads).await.unwrap();
        let led = tokio::time::Instant::now();
        leads.wait_for(|leads| !*leads).await.unwrap();
        let held = led.elapsed();
        assert!(held > Duration::from_secs(9) && held <= Duration::from_millis(10_010), "{held:?}");
        stop.cancel();
        run.await.unwrap();
    }

    #[tokio::test]
    async fn a_change_names_the_version_it_was_decided_on() {
        let elector = elector();
        let next = elector.lease(Some(&held(Some("other"), "7")), true);
        assert_eq!(next.metadata.resource_version.as_deref(), Some("7"));
        let spec = next.spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(4)));
        assert_eq!(elector.lease(None, true).spec.unwrap().lease_transitions, Some(0));
    }
}
