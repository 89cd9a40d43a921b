//! Backends whose URL begins with `https://`, with the certificate of a private authority.

use std::path::PathBuf;
use std::sync::Arc;

use lw_inference_proxy::adapters::upstream::{BackendTls, TlsError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::EVENTS;
use crate::stage::Stage;
use crate::support::raw_backend::RawBackend;
use crate::support::raw_client::{End, RawClient, post};

const LIST: &str = r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#;
const CHAT: &str = r#"{"model":"m"}"#;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A file as `PROXY_BACKENDS_CA_FILE` names it.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lw-backend-tls-{}-{name}.pem", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn trusting(name: &str, authority: &Authority) -> BackendTls {
    BackendTls::new(Some(&file(name, &authority.pem()))).unwrap()
}

/// Stands before a server with a certificate for this name. What the server breaks off ends without TLS's own sign of an end.
async fn tls_before(backend: &RawBackend, name: &str, authority: &Authority) -> u16 {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, server) = (listener.local_addr().unwrap().port(), backend.address());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let client = acceptor.accept(client).await?;
                let (mut from_client, mut to_client) = tokio::io::split(client);
                let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
                let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
                let down = async {
                    let mut bytes = [0; 4096];
                    loop {
                        match from_server.read(&mut bytes).await? {
                            0 => return to_client.shutdown().await,
                            read => to_client.write_all(&bytes[..read]).await?,
                        }
                        to_client.flush().await?;
                    }
                };
                tokio::try_join!(up, down)
            });
        }
    });
    port
}

/// Lists `m`, streams, breaks off, and ends a body without a length, as it is asked.
async fn server() -> RawBackend {
    RawBackend::start(|mut peer| async move {
        loop {
            let request = peer.request().await?;
            let line = request.line();
            if line.starts_with("GET /v1/models ") {
                let length = LIST.len();
                peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{LIST}")).await?;
            } else if line.contains("break") {
                peer.send("HTTP/1.1 200 OK\r\n\r\nhalf").await?;
                return peer.reset();
            } else if line.contains("close") {
                peer.send("HTTP/1.1 200 OK\r\n\r\nwhole").await?;
                return Ok(());
            } else if line.contains("stream") {
                peer.send(EVENTS).await?;
                for _ in 0..20 {
                    peer.send("8\r\ndata: x\n\r\n").await?;
                }
                peer.send("0\r\n\r\n").await?;
            } else {
                let body = format!("{} {}", request.header("host").unwrap_or_default(), request.body.len());
                let length = body.len();
                peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")).await?;
            }
        }
    })
    .await
}

#[tokio::test]
async fn models_are_listed_and_requests_forwarded_under_the_name_of_the_certificate() {
    for name in ["localhost", "127.0.0.1"] {
        let (authority, backend) = (authority(), server().await);
        let port = tls_before(&backend, name, &authority).await;
        let tls = Some(trusting(&format!("carry-{name}"), &authority));
        let stage = Stage::with_tls(tls, |_| vec![format!("https://{name}:{port}/v1")]);
        stage.until("a backend", |shared| shared.load().table.active() == 1).await;
        let mut client = RawClient::connect(stage.address).await;
        let large = format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "a".repeat(3 << 20));
        for body in [CHAT, &*large, CHAT] {
            let answer = client.ask(post("/v1/x", body)).await;
            assert_eq!((answer.status, answer.text()), (200, format!("{name}:{port} {}", body.len())));
        }
        let answer = client.ask(post("/v1/stream", CHAT)).await;
        assert_eq!((answer.status, answer.text(), answer.end), (200, "data: x\n".repeat(20), End::Complete));
    }
}

#[tokio::test]
async fn an_answer_that_is_broken_off_under_tls_does_not_look_complete() {
    let (authority, backend) = (authority(), server().await);
    let port = tls_before(&backend, "localhost", &authority).await;
    let stage = Stage::with_tls(Some(trusting("broken", &authority)), |_| vec![format!("https://localhost:{port}/v1")]);
    stage.until("a backend", |shared| shared.load().table.active() == 1).await;
    let whole = RawClient::connect(stage.address).await.ask(post("/v1/close", CHAT)).await;
    assert_eq!((whole.text(), whole.end), ("whole".to_owned(), End::Complete));
    let broken = RawClient::connect(stage.address).await.ask(post("/v1/break", CHAT)).await;
    assert_eq!(broken.status, 200);
    assert_ne!(broken.end, End::Complete, "half of it came");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_for_another_name_keeps_the_backend_out_with_the_reason() {
    let (known, stranger, backend) = (authority(), authority(), server().await);
    let other_name = tls_before(&backend, "box.example", &known).await;
    let not_trusted = tls_before(&backend, "localhost", &stranger).await;
    for (case, port, reason) in
        [("name", other_name, "not valid for name"), ("root", not_trusted, "invalid peer certificate")]
    {
        let stage = Stage::with_tls(Some(trusting(case, &known)), |_| vec![format!("https://localhost:{port}/v1")]);
        stage
            .until(reason, |shared| shared.report().containers.first().is_some_and(|line| line.line.contains(reason)))
            .await;
        assert_eq!(stage.shared.load().table.active(), 0);
    }
    assert!(backend.requests().is_empty(), "nothing was sent to it");
}

#[test]
fn a_file_of_roots_that_cannot_be_used_is_named() {
    for (name, text) in [("empty", ""), ("text", "no certificate"), ("no-end", "-----BEGIN CERTIFICATE-----\nx\n")] {
        let path = file(name, text);
        let error = BackendTls::new(Some(&path)).err().unwrap();
        assert!(matches!(error, TlsError::File { .. }), "{name}");
        let shown = error.to_string();
        assert!(shown.contains("PROXY_BACKENDS_CA_FILE") && shown.contains(name), "{shown}");
    }
    assert!(BackendTls::new(Some(&PathBuf::from("/nowhere.pem"))).is_err());
}
