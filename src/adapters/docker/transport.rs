//! Sends bollard's requests to the engine, each on a connection of its own.
//!
//! It replaces bollard's transports, because those hide the head of a response. The head shows the engine's clock
//! (`Date`), Podman, and the moment when the event stream is open. It also keeps the kind of a failed connect, which
//! tells the operator what is wrong with the socket.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::BollardRequest;
use bollard::errors::Error;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, Uri};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::settings::Address;

/// Receives the head of a response. Travels as an extension of the request.
pub type HeadSlot = Arc<watch::Sender<Option<HeaderMap>>>;

/// A failed connect, as the source of an [`io::Error`] of the same kind.
#[derive(Debug)]
pub struct ConnectFailed(pub io::Error);

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConnectFailed {}

/// Sends requests to one engine. Dropping the last clone closes every connection.
#[derive(Clone)]
pub struct Transport {
    address: Arc<Address>,
    tls: Option<TlsConnector>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Transport {
    /// Creates a transport. Nothing is opened yet.
    pub fn new(address: Address, tls: Option<TlsConnector>) -> Self {
        Self { address: Arc::new(address), tls, connections: Arc::default() }
    }

    /// Sends one request for bollard.
    ///
    /// # Errors
    /// An I/O error with [`ConnectFailed`] in it if there was no connection.
    pub async fn send(self, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
        origin_form(&mut request, &self.address)?;
        let slot = request.extensions_mut().remove::<HeadSlot>();
        let failed = |error: io::Error| io::Error::new(error.kind(), ConnectFailed(error));
        let response = match &*self.address {
            Address::Unix(path) => self.exchange(UnixStream::connect(path).await.map_err(failed)?, request).await?,
            Address::Tcp(host) => self.exchange(TcpStream::connect(host).await.map_err(failed)?, request).await?,
            Address::Tls(host) => self.exchange(self.secured(host).await.map_err(failed)?, request).await?,
        };
        if let Some(slot) = slot {
            slot.send_replace(Some(response.headers().clone()));
        }
        Ok(response)
    }

    async fn secured(&self, authority: &str) -> io::Result<TlsStream<TcpStream>> {
        let tls = self.tls.as_ref().ok_or_else(|| io::Error::other("no certificates for TLS"))?;
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        tls.connect(name, TcpStream::connect(authority).await?).await
    }

    async fn exchange<S>(&self, stream: S, request: BollardRequest) -> Result<Response<Incoming>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                // The response shows the error as well.
                let _ = connection.await;
            });
        }
        Ok(sender.send_request(request).await?)
    }
}

/// Puts the target into origin form, and sets `Host`.
fn origin_form(request: &mut BollardRequest, address: &Address) -> Result<(), Error> {
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
    let host = match address {
        Address::Unix(_) => HeaderValue::from_static("docker"),
        Address::Tcp(authority) | Address::Tls(authority) => {
            HeaderValue::from_str(authority).map_err(http::Error::from)?
        }
    };
    request.headers_mut().insert(HOST, host);
    Ok(())
}
