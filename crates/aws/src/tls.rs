//! TLS roots: the system's and those of a CA bundle, with ring as the one provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Names a CA bundle that is trusted beside the system's roots. The SDK for Rust does not read it; this crate does.
pub const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Why a CA bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read the CA bundle {path}{origin}: {source}")]
    Read {
        /// The file, as it was named.
        path: PathBuf,
        /// Who names it, in brackets, if not the caller.
        origin: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// It holds no certificate, or one that is none.
    #[error("the CA bundle {path}{origin} holds no usable PEM certificate: {reason}")]
    NoCertificate {
        /// The file, as it was named.
        path: PathBuf,
        /// Who names it, in brackets, if not the caller.
        origin: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls refused its own defaults.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What is trusted, once for everything.
pub(crate) struct Roots {
    store: RootCertStore,
}

impl Roots {
    /// The system's roots, and those of `bundle`, or without one of `AWS_CA_BUNDLE`.
    pub(crate) fn of_environment(bundle: Option<PathBuf>) -> Result<Self, TlsError> {
        let named = || std::env::var_os(CA_BUNDLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self::load(bundle.or_else(named).as_deref(), " (AWS_CA_BUNDLE)")
    }

    /// The system's roots, and those of a bundle that another than the environment names.
    pub(crate) fn with_bundle(bundle: &Path) -> Result<Self, TlsError> {
        Self::load(Some(bundle), "")
    }

    /// The system's roots, and those of `bundle`, which `origin` names.
    fn load(bundle: Option<&Path>, origin: &'static str) -> Result<Self, TlsError> {
        let mut roots = Self { store: RootCertStore::empty() };
        let native = rustls_native_certs::load_native_certs();
        for certificate in native.certs {
            // A root that the system holds and rustls cannot read is the system's business.
            let _ = roots.store.add(certificate);
        }
        if let Some(path) = bundle {
            roots.add_bundle(path, origin)?;
        }
        if roots.store.is_empty() {
            // Enough for plain http to an emulator; https will say UnknownIssuer.
            tracing::warn!(
                errors = ?native.errors,
                "no TLS roots: install the package ca-certificates, or set AWS_CA_BUNDLE"
            );
        }
        Ok(roots)
    }

    fn add_bundle(&mut self, path: &Path, origin: &'static str) -> Result<(), TlsError> {
        let pem =
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), origin, source })?;
        let wrong = |reason: String| TlsError::NoCertificate { path: path.to_owned(), origin, reason };
        let before = self.store.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            self.store.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if self.store.len() == before {
            return Err(wrong("no certificate in it".to_owned()));
        }
        Ok(())
    }

    /// What connections are made with.
    pub(crate) fn client_config(self) -> Result<Arc<ClientConfig>, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.store)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for (text, reason) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "no usable"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Roots::load(Some(&path), " (X)").err().unwrap().to_string();
            assert!(error.contains("ca.pem (X) holds") && error.contains(reason), "{error}");
            let error = Roots::with_bundle(&path).err().unwrap().to_string();
            assert!(error.contains("ca.pem holds"), "{error}");
        }
    }
}
