//! Prefixes of prompts: what counts, what does not, and that chunks make no difference.

use body_model::{ModelFinder, PREFIX_MAX_BYTES, Prefix};
use serde_json::{Value, json};

fn in_chunks_of(body: &[u8], size: usize) -> Option<Prefix> {
    let mut finder = ModelFinder::json();
    finder.hash_prefix();
    for chunk in body.chunks(size.max(1)) {
        finder.feed(chunk).expect("it is JSON");
    }
    finder.finish().expect("it names a model");
    assert!(!finder.awaits_prefix(), "the body has ended");
    finder.prefix()
}

fn prefix(body: &Value) -> Option<Prefix> {
    let body = body.to_string();
    let whole = in_chunks_of(body.as_bytes(), body.len());
    for size in [1, 2, 3, 7, 16, 31, 100] {
        assert_eq!(in_chunks_of(body.as_bytes(), size), whole, "chunks of {size}: {body}");
    }
    whole
}

fn chat(messages: Value) -> Option<Prefix> {
    prefix(&json!({"model": "m", "temperature": 0.5, "messages": messages, "stream": true}))
}

const SYSTEM: &str = "You are \"terse\".\nAnswer in ünicode \u{1f600}, with \\ and \u{7}.";

#[test]
fn a_conversation_keeps_its_beginning_while_it_grows() {
    let begun = json!([{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hi"}]);
    let mut grown = begun.clone();
    grown.as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": "Hello."}),
        json!({"role": "system", "content": "late"}),
        json!({"role": "user", "content": "And now?"}),
    ]);
    let first = chat(begun).unwrap();
    assert_eq!(chat(grown), Some(first));
    assert_ne!(first.shared, first.conversation);
}

#[test]
fn conversations_with_one_system_prompt_share_that_and_nothing_else() {
    let of = |user: &str| chat(json!([{"role": "developer", "content": SYSTEM}, {"role": "user", "content": user}]));
    let (one, other) = (of("one").unwrap(), of("other").unwrap());
    assert_eq!(one.shared, other.shared);
    assert_ne!(one.conversation, other.conversation);
    let changed = chat(json!([{"role": "developer", "content": "x"}, {"role": "user", "content": "one"}])).unwrap();
    assert_ne!((changed.shared, changed.conversation), (one.shared, one.conversation));
}

#[test]
fn the_role_may_stand_behind_the_content() {
    let of = |user: &str| {
        let body = format!(
            r#"{{"messages":[{{"content":"be kind","role":"system"}},{{"content":[{{"type":"text","text":"{user}"}}],"role":"user"}}],"model":"m"}}"#
        );
        in_chunks_of(body.as_bytes(), 5).unwrap()
    };
    assert_eq!(of("a").shared, of("b").shared);
    assert_ne!(of("a").conversation, of("b").conversation);
}

#[test]
fn a_system_prompt_counts_wherever_it_stands() {
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]);
    let before = in_chunks_of(format!(r#"{{"system":"be kind","messages":{messages},"model":"m"}}"#).as_bytes(), 9);
    let behind = in_chunks_of(format!(r#"{{"messages":{messages},"model":"m","system":"be kind"}}"#).as_bytes(), 9);
    assert_eq!(before, behind);
    let without = chat(messages).unwrap();
    assert_ne!(before.unwrap().shared, without.shared);
    assert_eq!(without.shared, without.conversation, "all that there is");
}

#[test]
fn other_dialects_have_beginnings_too() {
    let of = |body: &Value| prefix(body).unwrap();
    let responses = |input: Value| of(&json!({"model": "m", "instructions": "be kind", "input": input}));
    assert_eq!(responses(json!("a")).shared, responses(json!([{"role": "user", "content": "b"}])).shared);
    assert_ne!(responses(json!("a")).conversation, responses(json!("b")).conversation);
    let prompt = |text: &str| of(&json!({"model": "m", "prompt": text, "max_tokens": 3}));
    let long = "word ".repeat(2000);
    let (one, other) = (prompt(&format!("{long} one")), prompt(&format!("{long} other")));
    assert_eq!(one.shared, other.shared, "the first 4 kB");
    assert_ne!(one.conversation, other.conversation);
    assert_ne!(prompt("a").shared, prompt("b").shared);
    assert_ne!(of(&json!({"model": "m", "prompt": ["ab", "c"]})), of(&json!({"model": "m", "prompt": ["a", "bc"]})));
}

#[test]
fn a_cache_key_of_the_caller_goes_before_everything() {
    let of = |key: &str, text: &str| {
        prefix(&json!({"model": "m", "messages": [{"role": "user", "content": text}], "prompt_cache_key": key}))
            .unwrap()
    };
    assert_eq!(of("tenant-1", "a"), of("tenant-1", "b"));
    assert_ne!(of("tenant-1", "a"), of("tenant-2", "a"));
}

#[test]
fn a_body_without_a_prompt_has_no_beginning() {
    for body in
        [json!({"model": "m"}), json!({"model": "m", "prompt": [1, 2, 3]}), json!({"model": "m", "tools": ["a"]})]
    {
        assert_eq!(prefix(&body), None, "{body}");
    }
    let mut form = ModelFinder::multipart("b").unwrap();
    form.hash_prefix();
    assert!(!form.awaits_prefix() && form.prefix().is_none());
}

#[test]
fn no_more_than_a_bounded_part_of_the_body_is_looked_at() {
    let filler = "x".repeat(usize::try_from(PREFIX_MAX_BYTES).unwrap());
    let late = |system: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "x": filler, "zystem": 1});
        let body = body.to_string().replace("\"zystem\":1", &format!("\"system\":\"{system}\""));
        let whole = in_chunks_of(body.as_bytes(), body.len());
        assert_eq!(in_chunks_of(body.as_bytes(), 1000), whole);
        whole
    };
    assert_eq!(late("a"), late("b"));
}
