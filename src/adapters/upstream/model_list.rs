//! Reading a list of models as a backend answers it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use ports::upstream::{ListModelsError, ListedModel};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The most of the parser's complaint that is repeated, in characters.
const SHOWN_REASON_CHARS: usize = 160;

#[derive(Deserialize)]
struct List<'a> {
    /// Ollama without a model answers `null`; a missing field is not a list.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    data: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The models of an answer, in its order, each id once.
///
/// # Errors
/// It is not a list, or is one without a model.
pub(super) fn read(answer: &[u8]) -> Result<Vec<ListedModel>, ListModelsError> {
    let list: List<'_> = serde_json::from_slice(answer)
        .map_err(|error| ListModelsError::NotAList(error.to_string().chars().take(SHOWN_REASON_CHARS).collect()))?;
    let mut seen = HashSet::new();
    let models: Vec<ListedModel> = list
        .data
        .unwrap_or_default()
        .into_iter()
        .filter_map(|object| {
            let id = serde_json::from_str::<Entry<'_>>(object.get()).ok()?.id.into_owned();
            seen.insert(id.clone()).then(|| ListedModel { id, object: Arc::from(object.get()) })
        })
        .collect();
    if models.is_empty() { Err(ListModelsError::Empty) } else { Ok(models) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(answer: &str) -> Result<Vec<String>, ListModelsError> {
        read(answer.as_bytes()).map(|models| models.into_iter().map(|model| model.id).collect())
    }

    #[test]
    fn ids_come_unescaped_in_order_and_once_and_the_first_object_stays() {
        let models = read(br#"{"data":[{"id":"b", "x":1.50},{"id":"a\/\u00e9"},{"id":"b","x":2}],"object":"list"}"#)
            .unwrap_or_default();
        let all: Vec<_> = models.iter().map(|model| (model.id.as_str(), &*model.object)).collect();
        assert_eq!(all, [("b", r#"{"id":"b", "x":1.50}"#), ("a/é", r#"{"id":"a\/\u00e9"}"#)]);
    }

    #[test]
    fn entries_without_a_string_id_are_left_out() {
        let answer = r#"{"data":[null,7,"x",[],{},{"id":null},{"id":7},{"id":["a"]},{"id":"\ud800"},{"id":"ok"}]}"#;
        assert_eq!(ids(answer), Ok(vec!["ok".to_owned()]));
    }

    #[test]
    fn what_is_no_list_is_refused_with_a_short_reason() {
        let long = format!("{{\"data\":{}}}", "x".repeat(2000));
        for answer in ["", "[]", "null", "{}", r#"{"data":{}}"#, "<html>", r#"{"data":[]"#, &long] {
            match ids(answer) {
                Err(ListModelsError::NotAList(reason)) => {
                    assert!(reason.chars().count() <= SHOWN_REASON_CHARS, "{reason}")
                }
                other => unreachable!("{answer}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_list_without_a_model_is_empty() {
        for answer in [r#"{"data":[]}"#, r#"{"object":"list","data":null}"#, r#"{"data":[{"name":"x"}]}"#] {
            assert_eq!(ids(answer), Err(ListModelsError::Empty));
        }
    }

    #[test]
    fn deep_nesting_in_an_entry_does_no_harm() {
        let answer = format!(r#"{{"data":[{{"id":"a","x":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(ids(&answer), Ok(_) | Err(ListModelsError::Empty | ListModelsError::NotAList(_))));
    }
}
