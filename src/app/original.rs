//! Points a request at one backend after the other.

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};
use ports::upstream::BoxBody;

use super::Backend;
use super::proxy::ProxyError;
use super::target::{self, API_PREFIX};

/// What the client asked for, as far as it was replaced for a backend, so that it can be replaced again for the next.
#[derive(Default)]
pub(super) struct Original {
    uri: Option<Uri>,
    host: Option<Option<HeaderValue>>,
}

impl Original {
    /// Points a request at a backend.
    pub(super) fn point(&mut self, request: &mut http::Request<BoxBody>, backend: &Backend) -> Result<(), ProxyError> {
        self.rewrite_uri(request, backend).ok_or(ProxyError::Target)?;
        self.set_host(request.headers_mut(), backend.link.host());
        Ok(())
    }

    /// Returns `None` if the target cannot be written.
    fn rewrite_uri(&mut self, request: &mut http::Request<BoxBody>, backend: &Backend) -> Option<()> {
        if self.uri.is_none() && backend.base_path.as_str() == API_PREFIX && request.uri().authority().is_none() {
            // It is what it has to be.
            return request.uri().path_and_query().map(drop);
        }
        let original = self.uri.get_or_insert_with(|| std::mem::take(request.uri_mut()));
        *request.uri_mut() = target::for_backend(original, &backend.base_path)?;
        Some(())
    }

    /// Puts the backend's own name into `Host`; a backend without one gets the client's.
    fn set_host(&mut self, headers: &mut HeaderMap, host: Option<&HeaderValue>) {
        match host {
            Some(host) => {
                let before = headers.insert(HOST, host.clone());
                self.host.get_or_insert(before);
            }
            None => match self.host.take() {
                Some(Some(host)) => drop(headers.insert(HOST, host)),
                Some(None) => drop(headers.remove(HOST)),
                None => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_host_comes_back_for_a_backend_without_a_name() {
        for client in [Some("llm.example"), None] {
            let mut headers = HeaderMap::new();
            headers.extend(client.map(|host| (HOST, HeaderValue::from_static(host))));
            let mut original = Original::default();
            for host in [None, Some("box.example:8080"), Some("other.example"), None, Some("box.example:8080"), None] {
                let value = host.map(HeaderValue::from_static);
                original.set_host(&mut headers, value.as_ref());
                let sent = headers.get(HOST).and_then(|sent| sent.to_str().ok());
                assert_eq!(sent, host.or(client));
            }
        }
    }
}
