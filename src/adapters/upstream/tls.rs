//! TLS to backends whose URL begins with `https://`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::adapters::shared::tls::{add_roots, client_config, system_roots};

/// The roots that certificates of backends are checked against cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of further roots cannot be read, or holds no certificate.
    #[error("PROXY_BACKENDS_CA_FILE is \"{}\"; it must be a file of certificates in PEM: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The library refuses to be set up.
    #[error("TLS to backends cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What opens TLS to backends.
#[derive(Clone)]
pub struct BackendTls(Arc<ClientConfig>);

impl BackendTls {
    /// Trusts what the machine trusts (in an image that has no roots: what browsers trust), and the certificates of this
    /// file, such as the root of a private authority.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(further_roots: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = system_roots();
        if let Some(path) = further_roots {
            add_roots(&mut roots, path).map_err(|problem| TlsError::File { path: path.to_owned(), problem })?;
        }
        let mut config = client_config(roots, None)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// TLS to the server of this name or address; `None` if it is neither.
    pub(super) fn to(&self, host: &str) -> Option<ServerTls> {
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.to_owned()).ok()?,
        };
        Some(ServerTls { connector: TlsConnector::from(Arc::clone(&self.0)), name })
    }
}

/// TLS to one server.
#[derive(Clone)]
pub(super) struct ServerTls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl ServerTls {
    /// Opens it on a connection. The server's certificate has to be for its name.
    ///
    /// # Errors
    /// The connection broke, or the certificate is not trusted.
    pub(super) async fn open(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
