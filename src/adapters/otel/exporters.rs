//! OTLP exporters over gRPC and HTTP, with and without TLS.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{
    Compression, ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use rustls::RootCertStore;

use super::http_client::Client;
use super::settings::SignalSettings;
use super::values::Protocol;
use crate::adapters::shared::tls;

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OtelError {
    #[error(
        "{}: {problem}; OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY must name PEM files",
        path.display()
    )]
    File { path: PathBuf, problem: String },
    #[error("TLS to the collector cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    #[error("telemetry cannot be exported: {0}")]
    Exporter(#[from] ExporterBuildError),
}

pub(super) fn spans(signal: &SignalSettings) -> Result<SpanExporter, OtelError> {
    let built = match signal.protocol {
        Protocol::Grpc => grpc(SpanExporter::builder().with_tonic(), signal)?.build(),
        Protocol::Http => http(SpanExporter::builder().with_http(), signal)?.build(),
    };
    Ok(built?)
}

pub(super) fn metrics(signal: &SignalSettings, delta: bool) -> Result<MetricExporter, OtelError> {
    let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
    let builder = MetricExporter::builder().with_temporality(temporality);
    let built = match signal.protocol {
        Protocol::Grpc => grpc(builder.with_tonic(), signal)?.build(),
        Protocol::Http => http(builder.with_http(), signal)?.build(),
    };
    Ok(built?)
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
        None => tls.trust_anchors(tls::system_roots().roots),
    };
    if let Some((certificate, key)) = &signal.identity {
        tls = tls.identity(Identity::from_pem(file(certificate)?, file(key)?));
    }
    Ok(tls)
}

fn http_tls(signal: &SignalSettings) -> Result<rustls::ClientConfig, OtelError> {
    let mut roots = RootCertStore::empty();
    match &signal.certificate {
        None => roots = tls::system_roots(),
        Some(path) => tls::add_roots(&mut roots, path).map_err(file_error(path))?,
    }
    let identity = match &signal.identity {
        None => None,
        Some((certificate, key)) => Some((
            tls::certificates(certificate).map_err(file_error(certificate))?,
            tls::private_key(key).map_err(file_error(key))?,
        )),
    };
    tls::client_config(roots, identity).map_err(OtelError::Tls)
}

fn file(path: &Path) -> Result<Vec<u8>, OtelError> {
    std::fs::read(path).map_err(|error| file_error(path)(error.to_string()))
}

fn file_error(path: &Path) -> impl FnOnce(String) -> OtelError {
    |problem| OtelError::File { path: path.to_owned(), problem }
}
