//! Asking a backend for its models.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, StatusCode};
use ports::upstream::{ListModelsError, ListedModel, Target};
use reqwest::{Client, ClientBuilder, Url};

use super::{BuildError, framing, model_list};

/// How long connecting may take when a backend is asked. Shorter than the whole, so that a dead address is known soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest list that is read, in bytes.
pub(super) const LIST_MAX_BYTES: usize = 1024 * 1024;

/// Asks backends, each time on a connection of its own.
pub(super) struct ModelsClient {
    client: Client,
    within: Duration,
}

impl ModelsClient {
    pub(super) fn new(within: Duration, user_agent: HeaderValue) -> Result<Self, BuildError> {
        let client = builder(within, user_agent).build().map_err(|error| BuildError(error.to_string()))?;
        Ok(Self { client, within })
    }

    /// Asks for the list of models, once.
    pub(super) async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
        let fault = |error: reqwest::Error| self.fault(&error);
        let mut request = self.client.get(url(target)?);
        if let Some(origin) = &target.origin {
            request = request.header(HOST, &*origin.authority);
        }
        let mut answer = request.send().await.map_err(fault)?;
        if answer.status() == StatusCode::LOOP_DETECTED {
            return Err(ListModelsError::LoopDetected);
        }
        if !answer.status().is_success() {
            return Err(ListModelsError::Status(answer.status().as_u16()));
        }
        // Where requests would fail, there is nothing to be listed.
        framing::check_response(answer.version(), answer.headers_mut()).map_err(ListModelsError::InvalidResponse)?;
        let mut list = Vec::new();
        if answer.content_length().is_some_and(|length| length > LIST_MAX_BYTES as u64) {
            return Err(ListModelsError::TooLarge(LIST_MAX_BYTES));
        }
        while let Some(chunk) = answer.chunk().await.map_err(fault)? {
            if list.len() + chunk.len() > LIST_MAX_BYTES {
                return Err(ListModelsError::TooLarge(LIST_MAX_BYTES));
            }
            list.extend_from_slice(&chunk);
        }
        model_list::read(&list)
    }

    fn fault(&self, error: &reqwest::Error) -> ListModelsError {
        if error.is_timeout() {
            let within = if error.is_connect() { CONNECT_TIMEOUT.min(self.within) } else { self.within };
            return ListModelsError::TimedOut(within);
        }
        match io_kind(error) {
            Some(io::ErrorKind::ConnectionRefused) => ListModelsError::ConnectionRefused,
            _ if error.is_connect() => ListModelsError::Unreachable(root(error)),
            _ => ListModelsError::Broken(root(error)),
        }
    }
}

fn builder(within: Duration, user_agent: HeaderValue) -> ClientBuilder {
    Client::builder()
        // What goes to backends never takes a way that the environment names.
        .no_proxy()
        .user_agent(user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(within)
}

/// `http://{address}{base_path}/models`, put together from its parts: no text can become a host.
fn url(target: &Target) -> Result<Url, ListModelsError> {
    let path = format!("{}/models", target.base_path.as_str());
    let built = Url::parse("http://0.0.0.0/").ok().and_then(|mut url| {
        url.set_ip_host(target.address.ip()).ok()?;
        url.set_port(Some(target.address.port())).ok()?;
        url.set_path(&path);
        let goes_there = url.socket_addrs(|| None).ok()? == [target.address] && url.path() == path;
        goes_there.then_some(url)
    });
    built.ok_or_else(|| ListModelsError::Unreachable(format!("{} with {path} makes no URL", target.address)))
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let outermost: &(dyn Error + 'static) = error;
    std::iter::successors(Some(outermost), |error: &&(dyn Error + 'static)| (**error).source())
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// The innermost cause; the outer ones only repeat the URL.
fn root(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::labels::BasePath;

    #[test]
    fn the_url_is_the_containers_own_address() {
        for (address, base, expected) in [
            ("172.17.0.2:8000", "/v1", "http://172.17.0.2:8000/v1/models"),
            ("172.17.0.2:80", "/", "http://172.17.0.2/models"),
            ("[fd00::2]:8000", "/api/v1", "http://[fd00::2]:8000/api/v1/models"),
        ] {
            let target = address.parse().ok().zip(BasePath::parse(base));
            let Some((address, base_path)) = target else { unreachable!("{address}{base}") };
            let url = url(&Target { address, base_path, origin: None });
            assert_eq!(url.map(String::from), Ok(expected.to_owned()));
        }
    }
}
