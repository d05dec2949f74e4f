//! DTLS 1.2, which is what all peers of WebRTC have, by dimpl.

use std::{sync::Arc, time::Instant};

use dimpl::{Config, Dtls};
use str0m::crypto::{
    CryptoError,
    dtls::{DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion},
};

use crate::{Ring, certificate, exchange, record};

fn provider() -> dimpl::crypto::CryptoProvider {
    dimpl::crypto::CryptoProvider {
        kx_groups: exchange::GROUPS,
        signature_verification: &Ring,
        key_provider: &Ring,
        secure_random: &Ring,
        hash_provider: &Ring,
        hmac_provider: &Ring,
        cipher_suites: record::SUITES,
        dtls13_cipher_suites: record::SUITES_13,
    }
}

impl DtlsProvider for Ring {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        certificate::generate().ok()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        if version != DtlsVersion::Dtls12 {
            return Err(CryptoError::Other(format!("{version} was asked for, and there is DTLS 1.2 alone")));
        }
        // A cookie asks whether the other side is where it says (RFC 6347 section 4.2.1): ICE has.
        let mut config = Config::builder().use_server_cookie(false).with_crypto_provider(provider());
        if let Some(mtu) = mtu {
            config = config.mtu(mtu);
        }
        let config = config.build().map_err(CryptoError::DtlsImpl)?;
        Ok(Box::new(Connection(Dtls::new_12(Arc::new(config), certificate.clone(), now))))
    }
}

struct Connection(Dtls);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl DtlsInstance for Connection {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// dimpl holds ciphers, hashes, agreements and signatures against vectors of the standards.
    #[test]
    fn dimpl_finds_nothing_wrong() {
        provider().validate().unwrap();
    }

    #[test]
    fn another_version_is_refused() {
        let certificate = certificate::generate().unwrap();
        for version in [DtlsVersion::Dtls13, DtlsVersion::Auto] {
            assert!(Ring.new_dtls(&certificate, Instant::now(), version, None).is_err());
        }
        Ring.new_dtls(&certificate, Instant::now(), DtlsVersion::Dtls12, Some(1200)).unwrap();
    }
}
