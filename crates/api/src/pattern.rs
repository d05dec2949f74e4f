//! Patterns of the definition's schema that several fields have.

/// A name of Kubernetes' objects: a DNS subdomain (RFC 1123).
pub(crate) const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A key in the data of a Secret or ConfigMap.
pub(crate) const DATA_KEY: &str = r"^([-_a-zA-Z0-9]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$";

/// A DNS label (RFC 1123).
pub(crate) const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// `rtmp://HOST[:PORT]/APP[/NAME…][?QUERY]`: a rule and no pattern, because an answer of the API server would quote the pattern, and
/// the URL. `output_rules` reads it by hand.
pub(crate) const RTMP_URL_RULE: &str = concat!(
    r"self.matches(r'^rtmps?://([A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])",
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
    r#"(/[!"$-.0->@-~]+)+/?([?][!"$-~]*)?$')"#
);
