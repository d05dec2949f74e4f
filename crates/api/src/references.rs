//! What an object names of its namespace: Secrets and ConfigMaps, each with a key.

use serde::{Deserialize, Serialize};

/// AWS credentials in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct CredentialsSecretRef {
    /// Name of the Secret.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 253),
            regex(pattern = crate::pattern::NAME)
        )
    )]
    pub name: String,
    /// The key that holds them, in the format of AWS's shared credentials file, profile `default`.
    #[serde(default = "credentials_key")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 253),
            regex(pattern = crate::pattern::DATA_KEY)
        )
    )]
    pub key: String,
}

fn credentials_key() -> String {
    "credentials".to_owned()
}

/// Certificate authorities in a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct CaBundleRef {
    /// Name of the ConfigMap.
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 253),
            regex(pattern = crate::pattern::NAME)
        )
    )]
    pub name: String,
    /// The key that holds them, in PEM.
    #[serde(default = "ca_bundle_key")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 253),
            regex(pattern = crate::pattern::DATA_KEY)
        )
    )]
    pub key: String,
}

fn ca_bundle_key() -> String {
    "ca.crt".to_owned()
}

/// A value in a Secret of the object's namespace. What is changed there is read at the next connection, without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = crate::pattern::NAME))
    )]
    pub name: String,
    /// The key that holds it.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = crate::pattern::DATA_KEY))
    )]
    pub key: String,
}
