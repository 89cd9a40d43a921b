//! Carries bollard's requests to the engine, each on a connection of its own.
//!
//! It takes the place of bollard's built-in transports, because those keep the head of a response to themselves: from it
//! come the engine's clock (`Date`), the sign of Podman, and the moment when the event stream is open. It also keeps the
//! kind of a failed connect, so that the operator is told what is wrong with the socket.

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

/// Where the head of a response is put as soon as it is in. Travels with the request as an extension.
pub type HeadSlot = Arc<watch::Sender<Option<HeaderMap>>>;

/// A connect that failed, as the source of the [`io::Error`] of the same kind.
#[derive(Debug)]
pub struct ConnectFailed(pub io::Error);

impl fmt::Display for ConnectFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConnectFailed {}

/// The transport. Dropping the last copy ends every connection.
#[derive(Clone)]
pub struct Transport {
    address: Arc<Address>,
    tls: Option<TlsConnector>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Transport {
    /// A transport to this address. Nothing is opened yet.
    pub fn new(address: Address, tls: Option<TlsConnector>) -> Self {
        Self { address: Arc::new(address), tls, connections: Arc::default() }
    }

    /// Sends one request; what bollard calls for each.
    ///
    /// # Errors
    /// There was no connection, as an I/O error with [`ConnectFailed`] in it, or it broke.
    pub async fn carry(self, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
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
        let tls = self.tls.as_ref().ok_or_else(|| io::Error::other("there are no certificates for TLS"))?;
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
                // What goes wrong here also shows in the response, where somebody looks at it.
                let _ = connection.await;
            });
        }
        Ok(sender.send_request(request).await?)
    }
}

/// Puts the target into the form that a server takes, and the name of the host beside it.
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
