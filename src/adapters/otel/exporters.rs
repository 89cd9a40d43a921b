//! The exporters of OTLP: over gRPC and over HTTP, with and without TLS.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{
    Compression, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::http_client::Client;
use super::settings::SignalSettings;
use super::values::Protocol;

/// Why telemetry cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OtelError {
    /// A file that a variable names is of no use.
    #[error("{0}: {1}; OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY must name PEM files")]
    File(String, String),
    /// TLS cannot be set up.
    #[error("TLS to the collector cannot be set up: {0}")]
    Tls(String),
    /// An exporter cannot be built.
    #[error("telemetry cannot be exported: {0}")]
    Exporter(String),
}

impl OtelError {
    fn exporter(error: impl fmt::Display) -> Self {
        Self::Exporter(error.to_string())
    }
}

/// What sends spans.
pub(super) fn spans(signal: &SignalSettings) -> Result<SpanExporter, OtelError> {
    let built = match signal.protocol {
        Protocol::Grpc => grpc(SpanExporter::builder().with_tonic(), signal)?.build(),
        Protocol::Http => http(SpanExporter::builder().with_http(), signal)?.build(),
    };
    built.map_err(OtelError::exporter)
}

/// What sends metrics.
pub(super) fn metrics(signal: &SignalSettings, delta: bool) -> Result<MetricExporter, OtelError> {
    let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
    let builder = MetricExporter::builder().with_temporality(temporality);
    let built = match signal.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), signal)?.build(),
        Protocol::Http => http(builder.with_http(), signal)?.build(),
    };
    built.map_err(OtelError::exporter)
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, signal: &SignalSettings) -> Result<B, OtelError> {
    let headers = HeaderMap::from_iter(signal.headers.iter().cloned());
    let mut builder = builder
        .with_endpoint(signal.endpoint.to_string())
        .with_timeout(signal.timeout)
        .with_metadata(MetadataMap::from_headers(headers));
    if signal.gzip {
        builder = builder.with_compression(Compression::Gzip);
    }
    if is_https(signal) {
        builder = builder.with_tls_config(grpc_tls(signal)?);
    }
    Ok(builder)
}

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, signal: &SignalSettings) -> Result<B, OtelError> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: HashMap<_, _> = signal.headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    let tls = is_https(signal).then(|| http_tls(signal)).transpose()?;
    let mut builder = builder
        .with_http_client(Client::new(tls, signal.timeout))
        .with_endpoint(signal.endpoint.to_string())
        .with_timeout(signal.timeout)
        .with_headers(headers);
    if signal.gzip {
        builder = builder.with_compression(Compression::Gzip);
    }
    Ok(builder)
}

fn is_https(signal: &SignalSettings) -> bool {
    signal.endpoint.scheme() == Some(&http::uri::Scheme::HTTPS)
}

fn grpc_tls(signal: &SignalSettings) -> Result<ClientTlsConfig, OtelError> {
    let mut tls = ClientTlsConfig::new();
    tls = match &signal.certificate {
        Some(path) => tls.ca_certificate(Certificate::from_pem(file(path)?)),
        None => tls.trust_anchors(usual_roots().roots),
    };
    if let Some((certificate, key)) = &signal.identity {
        tls = tls.identity(Identity::from_pem(file(certificate)?, file(key)?));
    }
    Ok(tls)
}

fn http_tls(signal: &SignalSettings) -> Result<rustls::ClientConfig, OtelError> {
    let roots = match &signal.certificate {
        None => usual_roots(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| file_error(path, error))?;
            }
            roots
        }
    };
    let identity = match &signal.identity {
        None => None,
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            Some((chain, PrivateKeyDer::from_pem_slice(&file(key)?).map_err(|error| file_error(key, error))?))
        }
    };
    tls_of(roots, identity)
}

fn tls_of(
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<rustls::ClientConfig, OtelError> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OtelError::Tls(error.to_string()))?
        .with_root_certificates(roots);
    match identity {
        None => Ok(tls.with_no_client_auth()),
        Some((chain, key)) => tls.with_client_auth_cert(chain, key).map_err(|error| OtelError::Tls(error.to_string())),
    }
}

/// The roots of the machine; in an image that has none, those that browsers trust.
fn usual_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OtelError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file(path)?).collect();
    match found.map_err(|error| file_error(path, error))? {
        none if none.is_empty() => Err(file_error(path, "it holds no certificate")),
        certificates => Ok(certificates),
    }
}

fn file(path: &Path) -> Result<Vec<u8>, OtelError> {
    std::fs::read(path).map_err(|error| file_error(path, error))
}

fn file_error(path: &Path, error: impl fmt::Display) -> OtelError {
    OtelError::File(path.display().to_string(), error.to_string())
}
