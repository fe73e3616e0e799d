//! TLS settings, and the certificate authorities that are trusted.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::RegistryError;

/// Certificate authorities that are trusted in addition to the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct TrustedCertificates {
    /// A PEM file, as `SSL_CERT_FILE` names it.
    pub file: Option<PathBuf>,
    /// A directory of PEM files, as `SSL_CERT_DIR` names it.
    pub directory: Option<PathBuf>,
}

impl TrustedCertificates {
    /// Returns how many authorities are trusted in addition to the built-in ones.
    ///
    /// # Errors
    /// A named file or directory cannot be used.
    pub fn count(&self) -> Result<usize, RegistryError> {
        Ok(roots(self)?.len() - webpki_roots::TLS_SERVER_ROOTS.len())
    }
}

/// Returns the TLS settings of all connections. Without `trusted`, no server is trusted.
///
/// Trusted are Mozilla's authorities, which are built in so that the program works in a bare
/// container, and those of the named files; if none are named, those of the system. With
/// `insecure`, every certificate is accepted.
pub(super) fn config(
    trusted: Option<&TrustedCertificates>,
    insecure: bool,
) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|source| RegistryError::Tls(source.to_string()))?;
    let mut config = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        let roots = trusted.map_or_else(|| Ok(RootCertStore::empty()), roots)?;
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(trusted: &TrustedCertificates) -> Result<RootCertStore, RegistryError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let is_named = trusted.file.is_some() || trusted.directory.is_some();
    let found = if is_named {
        rustls_native_certs::load_certs_from_paths(
            trusted.file.as_deref(),
            trusted.directory.as_deref(),
        )
    } else {
        rustls_native_certs::load_native_certs()
    };
    // A damaged file of the system is ignored; a named one is an error.
    if is_named
        && found.certs.is_empty()
        && let Some(error) = found.errors.first()
    {
        return Err(RegistryError::Tls(error.to_string()));
    }
    roots.add_parsable_certificates(found.certs);
    Ok(roots)
}

/// Accepts any certificate, for `--insecure`. Signatures are still checked, so that a broken TLS
/// server is noticed.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
