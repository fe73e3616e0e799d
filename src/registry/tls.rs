//! TLS settings, and the certificate authorities that are trusted.

use std::env::split_paths;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

use super::RegistryError;

/// Certificate authorities that are trusted in addition to the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct TrustedCertificates {
    /// A PEM file, as `SSL_CERT_FILE` names it.
    pub file: Option<PathBuf>,
    /// Directories of PEM files, separated by colons, as `SSL_CERT_DIR` names them.
    pub directory: Option<PathBuf>,
}

impl TrustedCertificates {
    /// Returns how many authorities are trusted in addition to the built-in ones.
    ///
    /// # Errors
    /// The named file cannot be used, or none of the directories can.
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
    let directories = trusted.directory.iter().flat_map(split_paths);
    let directories: Vec<PathBuf> = directories
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if trusted.file.is_none() && directories.is_empty() {
        roots.add_parsable_certificates(certificates_of_system());
    }
    if let Some(file) = &trusted.file {
        let mut found = load_certs_from_paths(Some(file), None);
        if let Some(error) = found.errors.pop() {
            return Err(RegistryError::Tls(error.to_string()));
        }
        add_named(&mut roots, file, found)?;
    }
    let mut failures = Vec::new();
    for directory in directories {
        let found = load_certs_from_paths(None, Some(&directory));
        failures.extend(add_named(&mut roots, &directory, found).err());
    }
    // As with OpenSSL, a directory may be missing or empty beside others. If nothing is left, the
    // user would learn of the mistake only from servers that are not trusted.
    match failures.pop() {
        Some(error) if roots.len() == webpki_roots::TLS_SERVER_ROOTS.len() => Err(error),
        _ => Ok(roots),
    }
}

/// Returns the certificates of the system. Damaged files are ignored.
///
/// `load_native_certs` would take variables without any name for names, and find nothing.
fn certificates_of_system() -> Vec<CertificateDer<'static>> {
    let found = openssl_probe::probe();
    let mut certificates = load_certs_from_paths(found.cert_file.as_deref(), None).certs;
    for directory in &found.cert_dir {
        certificates.extend(load_certs_from_paths(None, Some(directory)).certs);
    }
    certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    certificates.dedup();
    certificates
}

/// Adds the certificates of a path that the user named; an error if it holds none.
fn add_named(
    roots: &mut RootCertStore,
    path: &Path,
    found: CertificateResult,
) -> Result<(), RegistryError> {
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match found.errors.first() {
        _ if added > 0 => Ok(()),
        Some(error) => Err(RegistryError::Tls(error.to_string())),
        None => Err(RegistryError::Tls(format!(
            "'{}' holds no certificate in PEM format (-----BEGIN CERTIFICATE-----)",
            path.display()
        ))),
    }
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn mistakes_in_named_paths_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            path
        };
        let pem = certificate.pem();
        let good = write("one/ca.pem", pem.as_bytes());
        write("two/ca.pem", pem.as_bytes());
        write("empty/readme", b"nothing here");
        let trusted = write(
            "trusted.pem",
            pem.replace("BEGIN C", "BEGIN TRUSTED C").as_bytes(),
        );
        let der = write("ca.der", certificate.der());
        let absent = directory.path().join("absent");
        for (file, directories, expected) in [
            (Some(&good), vec![], Some(1)),
            (None, vec!["one", "two"], Some(2)),
            (Some(&good), vec!["two", ""], Some(2)),
            (Some(&der), vec![], None),
            (Some(&trusted), vec![], None),
            (Some(&absent), vec!["one"], None),
            (Some(&good), vec!["absent"], Some(1)),
            (None, vec!["one", "empty"], Some(1)),
            (None, vec!["empty"], None),
            (None, vec!["absent", "empty"], None),
        ] {
            let of = |name: &&str| match *name {
                "" => String::new(),
                name => directory.path().join(name).display().to_string(),
            };
            let directories: Vec<String> = directories.iter().map(of).collect();
            let trusted = TrustedCertificates {
                file: file.cloned(),
                directory: (!directories.is_empty()).then(|| directories.join(":").into()),
            };
            assert_eq!(trusted.count().ok(), expected, "{trusted:?}");
        }
    }
}
