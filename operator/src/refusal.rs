//! What is said of a Deployment that could not be made what the object asks for. Pure.

use crate::apply::ApplyError;
use crate::conditions::ConditionUpdate;
use crate::reason::Reason;

/// Why the Deployment is not what was built, and what runs meanwhile.
pub(crate) fn refusal(error: &ApplyError, meanwhile: &str) -> ConditionUpdate {
    match (error, error.refusal()) {
        (ApplyError::NotOurs(_), _) => {
            ConditionUpdate::stalled(Reason::DeploymentConflict, error.to_string())
        }
        (_, Some(words)) => ConditionUpdate::stalled(
            Reason::DeploymentRefused,
            format!("the API server refuses the Deployment: {words}; {}{meanwhile}", remedy(words)),
        ),
        (_, None) => ConditionUpdate::unknown(Reason::DeploymentNotApplied, format!("{error}; {meanwhile}")),
    }
}

/// The field or annotation of the object that a refusal is about.
fn remedy(words: &str) -> String {
    /// Where the API server finds it in the Deployment, and where it comes from.
    const FIELDS: [(&str, &str); 14] = [
        ("exceeded quota", "the ResourceQuota of the namespace"),
        (".resources", "spec.resources"),
        ("spec.template.labels", "spec.pod.labels"),
        ("spec.template.annotations", "spec.pod.annotations or the annotation kvs-ingest.dev/restarted-at"),
        ("tolerations", "spec.pod.tolerations"),
        ("affinity", "spec.pod.affinity"),
        ("topologySpreadConstraints", "spec.pod.topologySpreadConstraints"),
        ("nodeSelector", "spec.pod.nodeSelector"),
        ("priorityClassName", "spec.pod.priorityClassName"),
        (".env[", "spec.pod.env"),
        ("imagePullSecrets", "spec.imagePullSecrets"),
        (".image", "spec.image"),
        ("serviceAccountName", "spec.serviceAccountName"),
        ("volumes[", "spec.credentialsSecretRef, spec.outputs or spec.buffering.spool"),
    ];
    let field = FIELDS.iter().find(|(found, _)| words.contains(found));
    field.map_or_else(String::new, |(_, field)| format!("see {field}; "))
}
