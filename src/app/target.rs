//! The target of a request, as its backend gets it.

use domain::labels::BasePath;
use http::uri::{PathAndQuery, Uri};

/// The prefix of the proxy's own API; a backend's base path takes its place.
pub const API_PREFIX: &str = "/v1";

/// The backend's base path in place of `/v1`; every other byte of path and query stays.
///
/// `None` where that makes no target: without a base path, `/v1//host/x` would begin with two slashes, and some servers
/// read a host behind them.
pub fn for_backend(target: &Uri, base_path: &BasePath) -> Option<Uri> {
    let whole = target.path_and_query()?;
    let base = base_path.as_str();
    if base == API_PREFIX {
        return Some(Uri::from(whole.clone()));
    }
    let rest = whole.as_str().strip_prefix(API_PREFIX)?;
    if base.is_empty() && rest.starts_with("//") {
        return None;
    }
    PathAndQuery::try_from(format!("{base}{rest}")).ok().map(Uri::from)
}
