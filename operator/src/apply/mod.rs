//! Apply: what is written to the API server. Each write is made by the leader only, and has ten seconds.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams, Request};
use kube::{Client, Resource, ResourceExt};
use kvs_ingest_api::{API_VERSION, KIND, KvsIngest};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tracing::Instrument;
use tracing::field::{Empty, display};

use crate::build::Built;
use crate::cached::CachedIngest;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::names::{APPLIED_BY, FINALIZER, MANAGER};
use crate::workload::DeploymentLite;

/// An answer without spec and status.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
/// A request and its answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused, or was not reached.
    #[error("{what}: {source}")]
    Api { what: &'static str, source: Box<kube::Error> },
    #[error("{0}: the API server does not answer")]
    TimedOut(&'static str),
    /// Another operator leads now.
    #[error("{0}: this operator does not lead")]
    NotLeading(&'static str),
    #[error("Deployment {0} exists and is not of this KvsIngest: rename one of them")]
    NotOurs(String),
}

impl ApplyError {
    /// The object went away meanwhile.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
    }

    /// Somebody else was faster: what is written next is decided on what he wrote.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_conflict()))
    }

    /// The API server's words when it refuses what was sent, and will again: a rule of its own, a quota, an admission
    /// policy, a webhook that says no or cannot be asked.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        /// Whatever code the policy or webhook chose; one that is down is an internal error.
        const ADMISSION: [&str; 3] = ["admission webhook", "failed calling webhook", "denied request"];
        let Self::Api { source, .. } = self else { return None };
        let kube::Error::Api(status) = &**source else { return None };
        let refused = match status.code {
            // Of who asks or how often, of what is there: nothing is said of what was sent.
            401 | 404 | 408 | 409 | 429 => false,
            code => (400..500).contains(&code),
        };
        let admission = || ADMISSION.iter().any(|words| status.message.contains(words));
        (refused || admission()).then_some(status.message.as_str())
    }
}

/// A read, within the time.
pub(crate) async fn within<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    let span = tracing::debug_span!(
        "kubernetes",
        otel.name = what,
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    let result = match tokio::time::timeout(WITHIN, request).instrument(span.clone()).await {
        Ok(result) => result.map_err(|source| ApplyError::Api { what, source: Box::new(source) }),
        Err(_) => Err(ApplyError::TimedOut(what)),
    };
    if let Err(error) = &result {
        span.record("otel.status_code", "ERROR").record("otel.status_description", display(error));
    }
    result
}

/// Who changes a Deployment beside this operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rival {
    /// Another release of this operator.
    Release(String),
    /// A manager of fields, by its name.
    Manager(String),
}

impl std::fmt::Display for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Release(release) => write!(
                f,
                "the release {release} looks after this object, too: give each release a --selector or --namespaces of its \
                 own (watch.selector, watch.namespaces of the chart)"
            ),
            Self::Manager(manager) => {
                write!(f, "{manager:?} does, by metadata.managedFields: have it leave this Deployment alone")
            }
        }
    }
}

/// Writes as long as this operator leads.
pub struct Applier {
    client: Client,
    /// Written beside what is applied.
    release: String,
    leading: Leadership,
    metrics: Arc<Metrics>,
}

impl Applier {
    #[must_use]
    pub fn new(client: Client, release: String, leading: Leadership, metrics: Arc<Metrics>) -> Self {
        Self { client, release, leading, metrics }
    }

    async fn write<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ApplyError> {
        if !*self.leading.borrow() {
            return Err(ApplyError::NotLeading(what));
        }
        within(what, request).await
    }

    /// Server-side apply of the Deployment. `known` is the one of this object in the cache: with none, a Deployment of
    /// somebody else that has this name is not taken over.
    pub async fn apply_deployment(
        &self,
        built: &Built,
        known: bool,
        uid: &str,
    ) -> Result<DeploymentLite, ApplyError> {
        const WHAT: &str = "apply Deployment";
        let namespace = built.deployment.namespace().unwrap_or_default();
        let name = built.deployment.name_any();
        let api: Api<DeploymentLite> = Api::namespaced(self.client.clone(), &namespace);
        let mut body = serde_json::to_value(&built.deployment).unwrap_or_default();
        body["apiVersion"] = json!(Deployment::api_version(&()));
        body["kind"] = json!(Deployment::kind(&()));
        // Not in the hash: two releases that build the same have nothing to fight about.
        body["metadata"]["annotations"][APPLIED_BY] = json!(self.release);
        let patch = Patch::Apply(&body);
        let forced = PatchParams::apply(MANAGER).force();
        let result = if known {
            self.write(WHAT, api.patch(&name, &forced, &patch)).await
        } else {
            match self.write(WHAT, api.patch(&name, &PatchParams::apply(MANAGER), &patch)).await {
                Err(ApplyError::Api { what, source }) if is_refused(&source) => {
                    match within("get Deployment", api.get_opt(&name)).await? {
                        Some(found) if found.is_of(uid) => {
                            self.write(WHAT, api.patch(&name, &forced, &patch)).await
                        }
                        Some(_) => Err(ApplyError::NotOurs(name)),
                        // So it was not about that.
                        None => Err(ApplyError::Api { what, source }),
                    }
                }
                other => other,
            }
        };
        self.metrics.applied(if result.is_ok() { "changed" } else { "error" });
        result
    }

    /// Server-side apply of the status.
    pub async fn apply_status(
        &self,
        object: &CachedIngest,
        status: &impl Serialize,
    ) -> Result<(), ApplyError> {
        let body = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            // Of exactly this object, not of one that has its name now.
            "metadata": {"name": object.name_any(), "uid": object.uid()},
            "status": status,
        });
        let namespace = object.namespace().unwrap_or_default();
        let path = Request::new(CachedIngest::url_path(&(), Some(&namespace)));
        let params = PatchParams::apply(MANAGER).force();
        let request = async {
            let request = path.patch_subresource("status", &object.name_any(), &params, &Patch::Apply(&body));
            let mut request = request.map_err(kube::Error::BuildRequest)?;
            // What the object is then, the watch says: the answer need not.
            request.headers_mut().insert(http::header::ACCEPT, METADATA);
            self.client.request::<IgnoredAny>(request).await
        };
        let result = self.write("apply status", request).await;
        self.metrics.status_written(if result.is_ok() { "changed" } else { "error" });
        result.map(|_| ())
    }

    /// Adds or takes away the finalizer, if nobody else changed the list meanwhile.
    pub async fn set_finalizer(&self, ingest: &KvsIngest, wanted: bool) -> Result<(), ApplyError> {
        let before = ingest.finalizers();
        let has = before.iter().any(|name| name == FINALIZER);
        if has == wanted {
            return Ok(());
        }
        let mut after: Vec<_> = before.iter().filter(|name| *name != FINALIZER).cloned().collect();
        if wanted {
            after.push(FINALIZER.to_owned());
        }
        let api: Api<CachedIngest> =
            Api::namespaced(self.client.clone(), &ingest.namespace().unwrap_or_default());
        let body = json!({"metadata": {
            "uid": ingest.uid(),
            "resourceVersion": ingest.resource_version(),
            "finalizers": after,
        }});
        self.write(
            "set finalizer",
            api.patch(&ingest.name_any(), &PatchParams::default(), &Patch::Merge(&body)),
        )
        .await
        .map(|_| ())
    }

    /// Who else changes the Deployment, as far as it tells: another release, or another manager of its fields.
    pub async fn rival(&self, found: &DeploymentLite) -> Result<Option<Rival>, ApplyError> {
        let api: Api<DeploymentLite> =
            Api::namespaced(self.client.clone(), &found.namespace().unwrap_or_default());
        let metadata = within("get Deployment", api.get_metadata(&found.name_any())).await?.metadata;
        let release = metadata.annotations.as_ref().and_then(|all| all.get(APPLIED_BY));
        if let Some(release) = release.filter(|release| **release != self.release) {
            return Ok(Some(Rival::Release(release.clone())));
        }
        let others = metadata.managed_fields.into_iter().flatten().filter(|entry| {
            entry.subresource.as_deref() != Some("status") && entry.manager.as_deref() != Some(MANAGER)
        });
        let newest = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        Ok(newest.and_then(|entry| entry.manager).map(Rival::Manager))
    }

    /// Ends the agent, whatever else is wrong with its Deployment: the subresource `scale` has the number of replicas
    /// alone, which rules about pods do not look at. Where that is refused, too, the Deployment goes.
    pub async fn stop_deployment(&self, found: &DeploymentLite) -> Result<(), ApplyError> {
        let name = found.name_any();
        let api: Api<DeploymentLite> =
            Api::namespaced(self.client.clone(), &found.namespace().unwrap_or_default());
        let none = Patch::Merge(json!({"metadata": {"uid": found.uid()}, "spec": {"replicas": 0}}));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match self.write("scale Deployment", api.patch_scale(&name, &params, &none)).await {
            Err(error) if error.is_gone() => Ok(()),
            Err(error) if error.refusal().is_some() => {
                tracing::warn!(name, %error, "the Deployment cannot be scaled to 0, so it is deleted");
                self.delete_deployment(found).await
            }
            other => other.map(|_| ()),
        }
    }

    /// Deletes the Deployment; its pods end by themselves.
    pub async fn delete_deployment(&self, found: &DeploymentLite) -> Result<(), ApplyError> {
        let api: Api<DeploymentLite> =
            Api::namespaced(self.client.clone(), &found.namespace().unwrap_or_default());
        let params = kube::api::DeleteParams {
            preconditions: Some(kube::api::Preconditions { uid: found.uid(), resource_version: None }),
            ..kube::api::DeleteParams::foreground()
        };
        match self.write("delete Deployment", api.delete(&found.name_any(), &params)).await {
            Err(error) if error.is_gone() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// A field belongs to another manager, or cannot be changed: there is a Deployment of this name already.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_invalid())
}

#[cfg(test)]
mod tests;
