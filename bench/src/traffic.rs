//! The bytes of requests and answers: what the backend and the load agree on.

use std::sync::OnceLock;
use std::time::Instant;

/// The models that the two backends serve, one each.
pub const MODELS: [&str; 2] = ["bench-model", "bench-model-2"];

/// What an event begins with; the moment at which it was sent follows, in [`STAMP_DIGITS`] digits.
pub const EVENT_START: &[u8] = b"data: {\"t\":";
/// How many digits a moment has.
pub const STAMP_DIGITS: usize = 20;

/// Nanoseconds since the bench began. Backend and load share the clock: they are one process.
pub fn now_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// One event as an inference server streams it, about 230 bytes, as one chunk.
pub fn event_chunk() -> Vec<u8> {
    let event = format!(
        "data: {{\"t\":{:0width$},\"id\":\"chatcmpl-6f1c0b7e5a2d4f83\",\"object\":\"chat.completion.chunk\",\
         \"created\":1700000000,\"model\":\"{}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" token\"}},\
         \"logprobs\":null,\"finish_reason\":null}}]}}\n\n",
        now_nanos(),
        MODELS[0],
        width = STAMP_DIGITS
    );
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// What ends a stream.
pub const LAST_CHUNK: &[u8] = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// The head of a stream.
pub const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\nserver: uvicorn\r\n\
    cache-control: no-cache\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// A whole answer in JSON.
pub fn json_answer(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\nserver: uvicorn\r\ncontent-length: {}\r\n\
         content-type: application/json\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A small answer to a chat request.
pub fn small_answer() -> Vec<u8> {
    json_answer(
        "{\"id\":\"chatcmpl-6f1c0b7e5a2d4f83\",\"object\":\"chat.completion\",\"created\":1700000000,\
         \"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\
         \"content\":\"Hello! How can I help you today?\"},\"finish_reason\":\"stop\"}],\
         \"usage\":{\"prompt_tokens\":12,\"completion_tokens\":9,\"total_tokens\":21}}",
    )
}

/// Where the model stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelStands {
    /// Before the prompt.
    First,
    /// Behind the prompt.
    Last,
}

/// A chat request with the headers that a Python client sends, and a prompt of about `size` bytes.
pub fn request(model: &str, stands: ModelStands, size: usize, stream: bool) -> Vec<u8> {
    let prompt = "The harbour was quiet that morning, and nobody on the quay spoke\\n".repeat(size / 66 + 1);
    let messages = format!("\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]");
    let (before, behind) = match stands {
        ModelStands::First => (format!("\"model\":\"{model}\",{messages}"), String::new()),
        ModelStands::Last => (messages, format!(",\"model\":\"{model}\"")),
    };
    let body = format!("{{{before},\"temperature\":0.7,\"stream\":{stream}{behind}}}");
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: gzip, deflate\r\n\
         Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
         User-Agent: OpenAI/Python 1.55.0\r\nAuthorization: Bearer sk-bench-0123456789abcdef\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
