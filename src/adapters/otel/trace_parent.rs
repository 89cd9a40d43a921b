//! The headers `traceparent` and `tracestate` (W3C Trace Context, level 1).

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate`. The standard requires at least 512 bytes.
const TRACESTATE_MAX_BYTES: usize = 2048;
/// The length of `00-<32 digits>-<16 digits>-<2 digits>`.
const TRACEPARENT_BYTES: usize = 55;

/// Returns the caller's span. Returns `None` if the header is missing, repeated or invalid.
pub(super) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (all.next(), all.next()) else { return None };
    let (trace, span, flags) = parse(parent.to_str().ok()?.trim())?;
    let context = SpanContext::new(trace, span, flags, true, state(headers));
    context.is_valid().then_some(context)
}

fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.get(..TRACEPARENT_BYTES)?.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sized = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    // A later version may add fields after a dash; this one may not.
    let rest = text.get(TRACEPARENT_BYTES..)?;
    let ends = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    if !sized || !ends || version == "ff" || ![version, trace, span, flags].into_iter().all(hex) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags))
}

/// Parses the vendors' entries. An invalid list is dropped, and the trace continues.
fn state(headers: &HeaderMap) -> TraceState {
    let values: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let text = values.join(",");
    match text.len() {
        1..=TRACESTATE_MAX_BYTES => TraceState::from_str(&text).unwrap_or_default(),
        _ => TraceState::default(),
    }
}

/// Replaces the caller's span with the proxy's.
pub(super) fn inject(span: &SpanContext, headers: &mut HeaderMap) {
    let flags = (span.trace_flags() & TraceFlags::SAMPLED).to_u8();
    let parent = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    let Ok(parent) = HeaderValue::try_from(parent) else { return };
    headers.insert(TRACEPARENT, parent);
    match HeaderValue::try_from(span.trace_state().header()) {
        Ok(state) if !state.is_empty() => headers.insert(TRACESTATE, state),
        _ => headers.remove(TRACESTATE),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn from(values: &[&str]) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        });
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        extract(&headers)
    }

    #[test]
    fn a_callers_span_is_taken_up_with_its_state() {
        let context = from(&[GOOD]).unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(context.trace_state().header(), "a=1,b=2");
        assert!(!from(&[&GOOD.replace("-01", "-00")]).unwrap().is_sampled());
        assert!(from(&[&format!("cc{}-more", &GOOD[2..])]).is_some(), "a later version");
    }

    #[test]
    fn what_is_no_traceparent_begins_a_trace_of_its_own() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &format!("ff{}", &GOOD[2..]),
            &GOOD.to_uppercase(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
        ] {
            assert_eq!(from(&[bad]), None, "{bad}");
        }
        assert_eq!(from(&[GOOD, GOOD]), None, "twice");
    }

    #[test]
    fn ours_takes_the_callers_place() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static("x"));
        headers.append(TRACESTATE, HeaderValue::from_static("old=1"));
        let context = from(&[GOOD]).unwrap();
        inject(&context, &mut headers);
        assert_eq!(headers.get(TRACEPARENT).unwrap(), GOOD);
        assert_eq!(headers.get(TRACESTATE).unwrap(), "a=1,b=2");
        let (trace, span) = (context.trace_id(), context.span_id());
        inject(&SpanContext::new(trace, span, TraceFlags::default(), false, TraceState::default()), &mut headers);
        assert!(headers.get(TRACEPARENT).unwrap().to_str().unwrap().ends_with("-00"));
        assert_eq!(headers.get(TRACESTATE), None);
    }
}
