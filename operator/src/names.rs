//! The names that the operator gives to what it makes.

use std::collections::BTreeMap;

/// Field manager of every server-side apply, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "kvs-ingest-operator";
/// Selects every child, whichever object it belongs to.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", MANAGER);
/// `app.kubernetes.io/name` of an agent.
pub const AGENT: &str = "kvs-ingest-agent";
/// Label: name of the `KvsIngest`.
pub const INGEST_LABEL: &str = "kvs-ingest.dev/ingest";
/// Annotation of a Deployment: the hash of what was applied.
pub const HASH: &str = "kvs-ingest.dev/applied-hash";
/// Annotation of a Deployment: the release that applied it last, `NAMESPACE/LEASE`.
pub const APPLIED_BY: &str = "kvs-ingest.dev/applied-by";
/// Holds an object back until what was created in AWS is deleted.
pub const FINALIZER: &str = "kvs-ingest.dev/aws";
/// Name of the agent's container and of its port.
pub const CONTAINER: &str = "agent";
/// Name of the port on which `/status`, `/livez`, `/readyz` and `/metrics` are served.
pub const PORT_NAME: &str = "http";
/// See [`PORT_NAME`].
pub const PORT: u16 = 8080;

/// Where the agent's spool is mounted.
pub const SPOOL_DIR: &str = "/var/spool/kvs-ingest";

/// AWS tag: which cluster made it.
pub const TAG_CLUSTER: &str = "kvs-ingest.dev/cluster";
/// AWS tag: uid of the `KvsIngest` it was made for.
pub const TAG_UID: &str = "kvs-ingest.dev/uid";
/// AWS tag: `NAMESPACE/NAME` of it, for people.
pub const TAG_INGEST: &str = "kvs-ingest.dev/ingest";
/// AWS tag, for people and for the status: it was there before the `KvsIngest`, which adopted it.
pub const TAG_ADOPTED: &str = "kvs-ingest.dev/adopted";

/// The Deployment of a `KvsIngest`.
#[must_use]
pub fn deployment(ingest: &str) -> String {
    format!("{ingest}-agent")
}

/// The `KvsIngest` of a Deployment of this name.
#[must_use]
pub fn ingest_of(deployment: &str) -> Option<&str> {
    deployment.strip_suffix("-agent")
}

/// The labels that a Deployment selects its pods by. They can never change.
#[must_use]
pub fn selector(ingest: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", AGENT), (INGEST_LABEL, ingest)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
