//! Docker's container source over TLS, as `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` ask for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/fake_engine/mod.rs"]
mod fake_engine;
#[path = "support/heard.rs"]
mod heard;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::container::ContainerEvent;
use fake_engine::FakeEngine;
use heard::Heard;
use lw_inference_proxy::adapters::docker::{DockerSettings, DockerSource};
use ports::container_source::ContainerSource;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A folder as `DOCKER_CERT_PATH` names it: who is trusted, and who one is oneself.
fn folder(name: &str, trusted: &Authority, own: &Authority) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lw-docker-tls-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&key, own).unwrap();
    for (file, text) in [("ca.pem", trusted.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    folder
}

/// Stands in front of an engine and wants to see a certificate of this authority, as `dockerd --tlsverify` does.
async fn tls_before(engine: &FakeEngine, authority: &Authority) -> u16 {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), engine.socket());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut engine = UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut client, &mut engine).await
            });
        }
    });
    port
}

fn over_tls(engine: &FakeEngine, port: u16, folder: &Path) -> DockerSettings {
    DockerSettings {
        host: Some(format!("tcp://localhost:{port}")),
        tls_verify: true,
        cert_path: Some(folder.to_owned()),
        ..engine.settings()
    }
}

#[tokio::test]
async fn an_engine_is_watched_over_tls() {
    let (engine, authority) = (FakeEngine::start(), authority());
    let id = engine.add("llm", &[("inference.enable", "true")], Some("healthy"));
    let port = tls_before(&engine, &authority).await;
    let folder = folder("good", &authority, &authority);
    let source = DockerSource::new(over_tls(&engine, port, &folder)).unwrap();
    assert!(Heard::new(source.watch()).snapshot().await.contains_key(&id));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn an_engine_whose_certificate_is_of_another_authority_is_not_believed() {
    let (engine, ours, theirs) = (FakeEngine::start(), authority(), authority());
    let port = tls_before(&engine, &theirs).await;
    let folder = folder("strange", &ours, &theirs);
    let source = DockerSource::new(over_tls(&engine, port, &folder)).unwrap();
    let event = Heard::new(source.watch()).next().await;
    assert!(matches!(&event, ContainerEvent::Disconnected(reason) if reason.contains("certificate")), "{event:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn without_the_files_the_start_is_refused_with_the_name_of_the_first() {
    let engine = FakeEngine::start();
    let Err(error) = DockerSource::new(over_tls(&engine, 1, Path::new("/nowhere"))) else { panic!("taken") };
    let text = error.to_string();
    assert!(text.contains("/nowhere/ca.pem") && text.contains("DOCKER_CERT_PATH") && !text.contains('\n'), "{text}");
}
