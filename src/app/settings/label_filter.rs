//! `PROXY_LABEL_FILTER`: which containers are looked at.

use super::{SettingError, error};

/// The variable.
const NAME: &str = "PROXY_LABEL_FILTER";

/// A label and its value. White space at an edge is a mistake in quoting rather than a part of either.
pub(super) fn read(get: &impl Fn(&'static str) -> Option<String>) -> Result<Option<(String, String)>, SettingError> {
    let Some(text) = get(NAME) else { return Ok(None) };
    let sane = |part: &&str| !part.is_empty() && part.trim() == *part && !part.chars().any(char::is_control);
    let pair =
        text.split_once('=').filter(|(key, value)| sane(key) && sane(value) && !key.chars().any(char::is_whitespace));
    match pair {
        Some((key, value)) => Ok(Some((key.to_owned(), value.to_owned()))),
        None => Err(error(NAME, &text, "a label and its value, key=value", "com.docker.compose.project=chat")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_filter_is_one_label_and_its_value() {
        let shown = |value: &str| read(&|name| Some(value.to_owned()).filter(|_| name == NAME));
        let pair = |key: &str, value: &str| Ok(Some((key.to_owned(), value.to_owned())));
        assert_eq!(read(&|_| None), Ok(None));
        assert_eq!(shown("com.docker.compose.project=chat"), pair("com.docker.compose.project", "chat"));
        assert_eq!(shown("a=b=c d"), pair("a", "b=c d"));
        for text in ["a", "=b", "a=", " a=b", "a =b", "a= b", "a=b ", "a b=c", "a=b\n", "="] {
            let said = shown(text).map_err(|error| error.to_string());
            assert!(said.is_err_and(|said| said.contains("key=value") && !said.contains('\n')), "{text:?}");
        }
    }
}
