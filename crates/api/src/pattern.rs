//! Patterns of the definition's schema that several fields have.

/// A name of Kubernetes' objects: a DNS subdomain (RFC 1123).
pub(crate) const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A key in the data of a Secret or ConfigMap.
pub(crate) const DATA_KEY: &str = r"^([-_a-zA-Z0-9]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$";
