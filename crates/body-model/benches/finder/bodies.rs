//! Request bodies with the model last, after prompts of the costliest kinds.

/// The kinds of body, by name.
#[allow(dead_code)]
pub const KINDS: [&str; 8] =
    ["chat", "prose", "ascii", "image", "non_ascii", "escaped_unicode", "tools_pretty", "form"];

/// The boundary of the `form` body.
pub const BOUNDARY: &str = "5f8e2d1c9b7a40368d2f1e0c9b8a7d65";

/// Returns a body of about `size` bytes of one of the [`KINDS`].
pub fn body(kind: &str, size: usize) -> Vec<u8> {
    match kind {
        // Short messages, an escape every 60 characters or so.
        "chat" => json(&messages(
            size,
            &[
                "Can you explain how the borrow checker decides that a value is dead?",
                "Sure.\\n\\nA value is dead once nothing that could be run later reads it. The compiler follows each path\\n",
                "He said \\\"fine\\\" and left. What does this mean in the second chapter of the book?\\nPlease be brief.",
                "ok",
                "Thanks! One more: why does `let x = &mut v[0];` keep `v` borrowed until the last use of `x`, and not\\n\
             until the end of the block as older versions of the language did? I read about it somewhere but forgot.",
            ],
        )),
        // Messages of some 1,000 characters, an escape every 60 or so.
        "prose" => json(&messages(
            size,
            &["The harbour was quiet that morning, and nobody on the quay spoke\\n".repeat(15).as_str()],
        )),
        // One long plain text.
        "ascii" => json(&messages(size, &[&"the quick brown fox jumps over the lazy dog ".repeat(size / 44)])),
        "image" => json(&messages(
            size,
            &[&format!("data:image/png;base64,{}", "iVBORw0KGgoAAAANSUhEUgAAB4AAAAQ4".repeat(size / 32))],
        )),
        "non_ascii" => json(&messages(
            size,
            &[
                "借用检查器如何判断一个值已经失效？请用中文简要说明。\\n谢谢",
                "Как это работает? Объясни, пожалуйста, подробно и с примерами на языке, который ты знаешь.",
            ],
        )),
        "escaped_unicode" => json(&messages(size, &[&"\\u501f\\u7528\\u68c0\\u67e5\\u5668, ".repeat(30)])),
        "tools_pretty" => json(&pretty(size)),
        "form" => form(size),
        other => panic!("no such kind of body: {other}"),
    }
}

fn json(messages: &str) -> Vec<u8> {
    format!(r#"{{"messages":[{messages}],"temperature":0.7,"stream":true,"model":"org/model-7b"}}"#).into_bytes()
}

fn messages(size: usize, contents: &[&str]) -> String {
    let mut text = String::with_capacity(size * 2);
    for (i, content) in contents.iter().cycle().enumerate() {
        let role = if i % 2 == 0 { "user" } else { "assistant" };
        if i > 0 {
            text.push(',');
        }
        text.push_str(&format!(r#"{{"role":"{role}","content":"{content}"}}"#));
        if text.len() >= size {
            break;
        }
    }
    text
}

/// Returns much structure and white space with few letters: tool descriptions, indented.
fn pretty(size: usize) -> String {
    let tool = "\n    {\n      \"type\": \"function\",\n      \"strict\": true,\n      \"index\": 12,\n      \
                \"required\": [\n        \"a\",\n        \"b\"\n      ]\n    }";
    vec![tool; size / tool.len() + 1].join(",")
}

fn form(size: usize) -> Vec<u8> {
    let mut body = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n")
        .into_bytes();
    // A fixed sequence that looks random, as compressed audio does.
    let mut state = 1_u32;
    body.extend((0..size).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    body.extend(
        format!(
            "\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--{BOUNDARY}--\r\n"
        )
        .bytes(),
    );
    body
}
