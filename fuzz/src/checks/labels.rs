//! What must hold of a container's labels. An input is `name=value` pairs with a zero byte between them.

use std::collections::BTreeMap;

use domain::labels::{self, BASE_PATH, BasePath, ENABLE, InferenceLabels, LabelError, PORT};

/// The longest base path, and the longest error that a person is shown.
const BASE_PATH_MAX_BYTES: usize = 256;
const ERROR_MAX_CHARS: usize = 200;

/// What is taken is a port and a plain path, by a reading that shares nothing with the parser; what is refused is
/// refused for a reason that can be shown; the order of labels, and other labels, change nothing.
pub fn labels(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let labels: BTreeMap<&str, &str> = text.split('\0').filter_map(|pair| pair.split_once('=')).collect();
    let read = labels::parse(|name| labels.get(name).copied());
    order_changes_nothing(&labels, &read);
    assert_eq!(labels::has_opted_in(|name| labels.get(name).copied()), labels.get(ENABLE) == Some(&"true"));

    let expected_port = labels.get(PORT).map_or(Some(8000), |value| port(value));
    let expected_path = labels.get(BASE_PATH).map_or(Some("/v1"), |value| path(value));
    match (&read, expected_port, expected_path) {
        (Ok(read), Some(port), Some(path)) => {
            assert_eq!((read.port, read.base_path.as_str()), (port, path), "{text:?}");
            stays_on_the_container(read);
        }
        (Err(error), None, _) => refused(error, PORT),
        (Err(error), Some(_), None) => refused(error, BASE_PATH),
        _ => panic!("{read:?} where {expected_port:?} and {expected_path:?} were expected: {text:?}"),
    }
}

fn order_changes_nothing(labels: &BTreeMap<&str, &str>, read: &Result<InferenceLabels, LabelError>) {
    let mut pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, *value)).collect();
    pairs.reverse();
    let get = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    assert_eq!(&labels::parse(get), read);
    let ours = |name: &str| get(name).filter(|_| [ENABLE, PORT, BASE_PATH].contains(&name));
    assert_eq!(&labels::parse(ours), read);
}

/// The number that these digits are, however many zeros stand before it.
fn port(value: &str) -> Option<u16> {
    let mut number = 0_u64;
    for digit in value.chars() {
        number = (number * 10 + u64::from("0123456789".find(digit)? as u8)).min(1 << 20);
    }
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// A path without the slash at its end, if nothing in it can mean anything but itself.
fn path(value: &str) -> Option<&str> {
    const PLAIN: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    let path = value.strip_suffix('/').unwrap_or(value);
    let plain = value.starts_with('/')
        && path.len() <= BASE_PATH_MAX_BYTES
        && path.chars().all(|c| PLAIN.contains(c))
        && !format!("{path}/").contains("//")
        && !format!("{path}/").contains("/./")
        && !format!("{path}/").contains("/../");
    (plain || value == "/").then_some(path)
}

/// Whatever a label says, the URL made with it leads to the container's own address.
fn stays_on_the_container(read: &InferenceLabels) {
    let InferenceLabels { port, base_path, weight, priority, .. } = read;
    assert!((1..=1000).contains(weight) && *priority <= 9);
    let base = base_path.as_str();
    let url = format!("http://192.0.2.1:{port}{base}/models");
    let url: http::Uri = url.parse().expect("address, port and path make a URL");
    assert_eq!((url.host(), url.port_u16()), (Some("192.0.2.1"), Some(*port)));
    assert_eq!((url.path(), url.query()), (format!("{base}/models").as_str(), None));
    let again = if base.is_empty() { "/" } else { base };
    assert_eq!(BasePath::parse(again).as_ref(), Some(base_path));
}

fn refused(error: &LabelError, label: &str) {
    let text = error.to_string();
    assert_eq!(error.label, label, "{text}");
    let shown = |c: char| c == ' ' || c.is_ascii_graphic() || c == '\u{fffd}' || c == '…';
    assert!(text.chars().all(shown), "{text:?}");
    assert!(text.chars().count() <= ERROR_MAX_CHARS, "{text:?}");
}
