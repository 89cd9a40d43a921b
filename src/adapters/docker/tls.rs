//! TLS to an engine, with the files that the docker command uses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use tokio_rustls::TlsConnector;

use crate::adapters::shared::tls::{add_roots, certificates, client_config, private_key};

/// A file in the folder of `DOCKER_CERT_PATH` is invalid.
#[derive(Debug, thiserror::Error)]
#[error(
    "TLS to the engine needs {}: {problem}; DOCKER_CERT_PATH names the folder of ca.pem, cert.pem and key.pem",
    path.display()
)]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

/// Returns a connector that checks the engine against `ca.pem`, and shows it `cert.pem` with `key.pem`.
pub fn connector(folder: &Path) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    let (ca, cert, key) = (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"));
    let of = |path: &Path| {
        let path = path.to_owned();
        |problem| TlsError { path, problem }
    };
    add_roots(&mut roots, &ca).map_err(of(&ca))?;
    let identity = (certificates(&cert).map_err(of(&cert))?, private_key(&key).map_err(of(&key))?);
    let config = client_config(roots, Some(identity)).map_err(|error| of(&cert)(error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config)))
}
