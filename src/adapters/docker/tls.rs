//! TLS to an engine, with the files that the docker command uses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// A file of the folder that `DOCKER_CERT_PATH` names cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "TLS to the engine needs {}: {problem}; DOCKER_CERT_PATH names the folder of ca.pem, cert.pem and key.pem",
    path.display()
)]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

/// What opens TLS to an engine: its certificate is checked against `ca.pem`, and `cert.pem` with `key.pem` is shown to it.
///
/// # Errors
/// A file is missing, or is not what it should be.
pub fn connector(folder: &Path) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    let (ca, cert, key) = (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"));
    for authority in certificates(&ca)? {
        roots.add(authority).map_err(|error| wrong(&ca, &error))?;
    }
    let identity = (certificates(&cert)?, PrivateKeyDer::from_pem_file(&key).map_err(|error| wrong(&key, &error))?);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_root_certificates(roots).with_client_auth_cert(identity.0, identity.1))
        .map_err(|error| wrong(&cert, &error))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, &error))?.collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, &"it holds no certificate")),
        found => found.map_err(|error| wrong(path, &error)),
    }
}

fn wrong(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), problem: problem.to_string() }
}
