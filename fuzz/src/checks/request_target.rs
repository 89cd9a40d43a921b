//! What must hold of a request's target. An input is the target as it stands in the first line of a request.

use app::target;
use bytes::Bytes;
use domain::labels::BasePath;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use lw_inference_proxy::adapters::http::header_set::HeaderSet;
use lw_inference_proxy::adapters::http::validate;

/// The longest target that is passed on, in bytes.
const TARGET_MAX_BYTES: usize = 8 * 1024;

/// A target is passed on exactly when a plain reading finds nothing in it that some server would resolve, and then its
/// bytes are those that came.
pub fn request_target(input: &[u8]) {
    // As hyper reads it.
    let Ok(uri) = Uri::from_maybe_shared(Bytes::copy_from_slice(input)) else {
        return;
    };
    let host = uri.authority().map_or("proxy.test", |authority| authority.as_str()).to_owned();
    // Only the target is in question here, not the host in it.
    let host_is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    // No GET: the id of a model that is read is looked up here, and may be anything.
    let Ok(request) = Request::builder().method(Method::POST).uri(uri.clone()).header(HOST, host).body(()) else {
        return;
    };
    let (parts, ()) = request.into_parts();
    let passed = validate::check(&parts, HeaderSet::of(&parts.headers)).is_ok();
    let shown = input.escape_ascii();

    let Some(sent) = uri.path_and_query() else {
        assert!(!passed, "a target without a path is passed on: {shown}");
        return;
    };
    let expected = is_plain(sent.path()) && sent.as_str().len() <= TARGET_MAX_BYTES;
    assert!(!passed || expected, "passed on: {shown}");
    assert!(passed || !expected || !host_is_plain, "refused: {shown}");
    if passed {
        is_sent_as_it_came(input, sent);
        is_sent_to_each_backend(&uri);
    }
}

/// Whether no reading of a path, however many servers decode it by however many rules, leads anywhere else.
fn is_plain(path: &str) -> bool {
    if !path.starts_with('/') || path.starts_with("//") {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    let escapes_are_whole = lower.split('%').skip(1).all(|behind| {
        let mut digits = behind.chars();
        let mut is_digit = || digits.next().is_some_and(|c| "0123456789abcdef".contains(c));
        is_digit() && is_digit()
    });
    let controls = (0..0x20).chain([0x7f]);
    let escaped_control = controls.map(|byte| format!("%{byte:02x}")).any(|escape| lower.contains(&escape));
    let control = lower.chars().any(|c| c.is_ascii_control());
    let slashes = lower.replace("%2f", "/").replace("%2e", ".");
    let resolved = slashes.split('/').any(|segment| segment == "." || segment == "..");
    let backslash = lower.contains('\\') || lower.contains("%5c");
    escapes_are_whole && !escaped_control && !control && !resolved && !backslash
}

/// What goes out is what came, up to the fragment, which is not part of a target and is left out.
fn is_sent_as_it_came(input: &[u8], sent: &PathAndQuery) {
    let shown = input.escape_ascii();
    let came = input.split(|byte| *byte == b'#').next().unwrap_or_default();
    match came.starts_with(b"/") {
        true => assert_eq!(came, sent.as_str().as_bytes(), "{shown}"),
        false => {
            let path = sent.as_str().as_bytes();
            let path_is_ours = !came.ends_with(path);
            assert!(!path_is_ours || path == b"/" || path.starts_with(b"/?") && came.ends_with(&path[1..]), "{shown}");
        }
    }
}

/// The prefix of a backend's API takes the place of ours, and nothing else changes.
fn is_sent_to_each_backend(uri: &Uri) {
    let Some(rest) = uri.path_and_query().and_then(|whole| whole.as_str().strip_prefix("/v1/")) else {
        return;
    };
    for (written, base) in [("/v1", "/v1"), ("/", ""), ("/other/api", "/other/api")] {
        let expected = format!("{base}/{rest}");
        let base_path = BasePath::parse(written).expect("it is a base path");
        let sent = target::for_backend(uri, &base_path);
        let sent = sent.as_ref().map(|sent| sent.path_and_query().map_or("", PathAndQuery::as_str));
        match expected.starts_with("//") {
            true => assert_eq!(sent, None, "{expected}"),
            false => assert_eq!(sent, Some(expected.as_str())),
        }
    }
}
