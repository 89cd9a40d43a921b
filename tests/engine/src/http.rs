//! A plain HTTP client for tests, with a bound on every request.

use serde_json::Value;
use std::time::Duration;

/// Longest time for one whole exchange.
const EXCHANGE: Duration = Duration::from_secs(60);

/// A client without proxies, redirects or a shared pool.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(EXCHANGE)
        .build()
        .expect("a client without TLS can always be built")
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header `x-mock-name`: which mock answered, if one did.
    pub mock: Option<String>,
    /// All headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Reads a response to its end; an error is one of the transfer.
    pub async fn of(response: reqwest::Response) -> reqwest::Result<Self> {
        let headers = response.headers().clone();
        Ok(Self {
            status: response.status().as_u16(),
            mock: headers.get("x-mock-name").map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()),
            headers,
            text: response.text().await?,
        })
    }

    /// The body as JSON; panics with the body when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why} in: {}", self.text))
    }
}
