//! What must hold of the engine's event stream. The first byte of an input says how the rest, the stream, is cut into
//! pieces. Where it ends in four ones, a `FILLER` in the stream, with the byte behind it, stands for many spaces: so
//! small inputs make lines that are too long, and most inputs are read quickly.

use std::sync::Arc;

use bytes::Bytes;
use domain::container::LifecycleEvent;
use futures_util::{FutureExt, stream};
use lw_inference_proxy::adapters::docker::engine::EngineError;
use lw_inference_proxy::adapters::docker::event::{self, ACTIONS, EngineEvent, Line, Network};
use lw_inference_proxy::adapters::docker::reader::{self, Notes};
use serde_json::Value;
use tokio::sync::mpsc;

/// The longest line that is read.
const LINE_MAX_BYTES: usize = 1024 * 1024;
const FILLER: &[u8] = b"\x00fill";
/// So many spaces for each unit of the byte behind it: the longest filler is longer than a line may be.
const FILLER_UNIT: usize = 4608;
/// Longer streams are not read byte by byte, which would take long.
const BY_BYTE_MAX: usize = 64 * 1024;

/// Each line that is not too long is read by itself, whatever the pieces; and a line says what a plain reading of its
/// JSON says.
pub fn engine_event(input: &[u8]) {
    let Some((&size, written)) = input.split_first() else {
        return;
    };
    let stream = if size & 0xf == 0xf { filled(written) } else { written.to_vec() };
    let read = read_in_pieces(&stream, stream.len());
    if stream.len() <= BY_BYTE_MAX {
        assert_eq!(read_in_pieces(&stream, 1), read);
        assert_eq!(read_in_pieces(&stream, usize::from(size)), read);
    }
    assert_eq!(read_in_pieces(&stream, (1 + usize::from(size)) * 1024), read);

    let mut start = 0;
    let lines = memchr::memchr_iter(b'\n', &stream).map(|end| &stream[std::mem::replace(&mut start, end + 1)..end]);
    let each: Vec<Line> = lines.map(read_line).collect();
    assert_eq!(read.1, each.contains(&Line::Unreadable));
    let happened = each.into_iter().filter_map(|line| match line {
        Line::Event(event) => Some(event),
        _ => None,
    });
    assert_eq!(read.0, happened.collect::<Vec<_>>());
}

/// What the reader makes of a stream in pieces of this size: what happened, and whether a line could not be read.
fn read_in_pieces(stream: &[u8], size: usize) -> (Vec<EngineEvent>, bool) {
    let lines = memchr::memchr_iter(b'\n', stream).count();
    let (queue, mut events) = mpsc::channel(lines + 1);
    let notes = Arc::<Notes>::default();
    let mut rest = Bytes::copy_from_slice(stream);
    let pieces = std::iter::from_fn(|| (!rest.is_empty()).then(|| Ok(rest.split_to(size.clamp(1, rest.len())))));
    let end = reader::drain(stream::iter(pieces), queue, Arc::clone(&notes)).now_or_never();
    assert_eq!(end, Some(EngineError::EventsEnded));
    assert!(!notes.overflowed());
    let read = std::iter::from_fn(|| events.try_recv().ok()).collect();
    (read, notes.unreadable())
}

fn read_line(line: &[u8]) -> Line {
    if line.len() > LINE_MAX_BYTES {
        return Line::Unreadable;
    }
    let read = event::read(line);
    let object = line.trim_ascii();
    let object = object.strip_prefix(b"\x1e").unwrap_or(object);
    if let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(object) {
        says_what_json_says(&value, &read);
    }
    if let (Line::Event(_), Some(members)) = (&read, object.trim_ascii_start().strip_prefix(b"{")) {
        let more = [br#"{"Unheard":{"Type":[null]},"actor":{"ID":"other"},"#, members].concat();
        assert_eq!(event::read(&more), read, "a field that nobody knows changes it: {}", line.escape_ascii());
    }
    read
}

/// A plain reading of an event: whom it is about, and what its action is there for.
fn says_what_json_says(value: &Value, read: &Line) {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let action = text("/Action").unwrap_or_default();
    let (action, detail) = action.split_once(':').unwrap_or((action, text("/HealthStatus").unwrap_or_default()));
    let id = match text("/Type") {
        Some("container") => text("/Actor/ID"),
        Some("network") => text("/Actor/Attributes/container"),
        _ => None,
    };
    let (Line::Event(event), Some(id)) = (read, id) else {
        assert!(!matches!(read, Line::Event(_)), "an event that names no container: {value}");
        return;
    };
    assert!(!id.is_empty() && event.id.as_str() == id, "{value}");
    assert!(ACTIONS.contains(&action), "{value}");
    assert_eq!(event.at.0, value["timeNano"].as_u64().unwrap_or(0), "{value}");
    // Whatever is not plainly a no may be meant as a yes.
    let is_no = |value: &str| {
        ["", "false", "no", "off", "0", "f", "n", "disabled"].contains(&value.trim().to_ascii_lowercase().as_str())
    };
    let labelled = text("/Actor/Attributes/inference.enable").is_some_and(|value| !is_no(value));
    assert_eq!(event.opted_in.is_some(), labelled && text("/Type") == Some("container"), "{value}");

    let run_changes = ["start", "restart", "die", "stop", "destroy", "remove"];
    assert_eq!(event.network == Network::NewRun, run_changes.contains(&action), "{value}");
    let edge_is_right = match &event.lifecycle {
        None => !["die", "stop", "oom", "pause", "destroy", "remove", "disconnect"].contains(&action),
        Some(LifecycleEvent::Signal(_)) => action == "kill" && text("/Actor/Attributes/signal").is_some(),
        Some(LifecycleEvent::Ended { exit_code: None }) => action == "stop" || action == "die",
        Some(LifecycleEvent::Ended { exit_code: Some(code) }) => {
            // Zero has no digits left then, whatever its sign.
            let digits = code.unsigned_abs().to_string();
            let same = |text: &str| {
                let written = text.trim_start_matches(['+', '-', '0']);
                written == digits.trim_start_matches('0') && (*code < 0) == (text.starts_with('-') && *code != 0)
            };
            action == "die" && text("/Actor/Attributes/exitCode").is_some_and(same)
        }
        Some(LifecycleEvent::Removed) => action == "destroy" || action == "remove",
        Some(LifecycleEvent::OutOfMemory) => action == "oom",
        Some(LifecycleEvent::Paused) => action == "pause",
        Some(LifecycleEvent::Unhealthy) => action == "health_status" && detail.trim() == "unhealthy",
        Some(LifecycleEvent::LeftNetwork(_)) => action == "disconnect",
        Some(LifecycleEvent::Renamed(name)) => action == "rename" && !name.starts_with('/'),
    };
    assert!(edge_is_right, "{:?} of {value}", event.lifecycle);
    // Coming into service needs a look; going out of it may do without.
    assert!(event.needs_inspection || event.lifecycle.is_some() || action == "rename", "it would be lost: {value}");
}

/// The stream with its filler in place.
fn filled(written: &[u8]) -> Vec<u8> {
    let place = written.windows(FILLER.len() + 1).position(|window| window.starts_with(FILLER));
    let Some(at) = place else {
        return written.to_vec();
    };
    let (before, behind) = written.split_at(at);
    let count = usize::from(behind[FILLER.len()]);
    [before, &vec![b' '; count * FILLER_UNIT], &behind[FILLER.len() + 1..]].concat()
}
