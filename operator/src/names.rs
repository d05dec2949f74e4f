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
/// AWS tag: its namespace, which IAM compares with that of a session (`aws:PrincipalTag/kubernetes-namespace`).
pub const TAG_NAMESPACE: &str = "kvs-ingest.dev/namespace";
/// AWS tag, for people and for the status: it was there before the `KvsIngest`, which adopted it.
pub const TAG_ADOPTED: &str = "kvs-ingest.dev/adopted";

/// The Deployment of a `KvsIngest`.
#[must_use]
pub fn deployment(ingest: &str) -> String {
    format!("{ingest}-agent")
}

/// The external id with which the agents of a namespace assume roles: `kvs-ingest/CLUSTER/NAMESPACE`. What STS does not
/// take of the cluster's name is written as `=` and two hexadecimal digits a byte, and so is `=` itself, so that no two
/// clusters have the same.
#[must_use]
pub fn external_id(cluster: &str, namespace: &str) -> String {
    let mut id = "kvs-ingest/".to_owned();
    for byte in cluster.bytes() {
        if byte.is_ascii_alphanumeric() || b"_+,.@:/-".contains(&byte) {
            id.push(char::from(byte));
        } else {
            id.push_str(&format!("={byte:02x}"));
        }
    }
    // The last part: a namespace has no slash.
    id.push('/');
    id.push_str(namespace);
    id
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_of_one_cluster_and_namespace_and_taken_by_sts() {
        assert_eq!(external_id("default", "cameras"), "kvs-ingest/default/cameras");
        assert_eq!(external_id("garage: east", "cameras"), "kvs-ingest/garage:=20east/cameras");
        let clusters = ["a", "a/b", "a b", "a=20b", "a=b", "ä", "a:b"];
        let mut seen = std::collections::BTreeSet::new();
        for (cluster, namespace) in clusters.iter().flat_map(|cluster| [(cluster, "b"), (cluster, "c")]) {
            let id = external_id(cluster, namespace);
            let taken = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
            assert!((2..=1224).contains(&id.len()) && id.bytes().all(taken), "{id}");
            assert!(seen.insert(id.clone()), "{id} twice");
        }
    }
}
