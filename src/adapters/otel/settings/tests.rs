//! The variables, as the OpenTelemetry specification has them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Option<OtelSettings>, OtelSettingError> {
    OtelSettings::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
}

fn on(pairs: &[(&str, &str)]) -> OtelSettings {
    read(pairs).unwrap().unwrap()
}

const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

#[test]
fn without_an_endpoint_there_is_nothing() {
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[(GENERAL, ""), ("OTEL_SERVICE_NAME", "x")]), Ok(None), "empty is unset");
    assert_eq!(read(&[(GENERAL, "http://c:4317"), ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
    let none = [(GENERAL, "http://c:4317"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")];
    assert_eq!(read(&none), Ok(None));
}

#[test]
fn the_port_tells_the_protocol_where_none_is_named() {
    for (endpoint, protocol) in [
        ("http://c:4317", Protocol::Grpc),
        ("https://c:4317/", Protocol::Grpc),
        ("http://c:4318", Protocol::Http),
        ("https://c", Protocol::Http),
    ] {
        assert_eq!(on(&[(GENERAL, endpoint)]).traces.unwrap().protocol, protocol, "{endpoint}");
    }
    let named = on(&[(GENERAL, "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
    assert_eq!(named.metrics.unwrap().protocol, Protocol::Http);
    let mixed = on(&[(GENERAL, "http://c:9"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")]);
    assert_eq!(mixed.traces.unwrap().protocol, Protocol::Grpc);
    assert_eq!(mixed.metrics.unwrap().protocol, Protocol::Http);
}

#[test]
fn a_path_goes_behind_the_general_endpoint_and_nothing_behind_an_exact_one() {
    for (endpoint, traces) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otel/", "https://c/otel/v1/traces"),
    ] {
        assert_eq!(on(&[(GENERAL, endpoint)]).traces.unwrap().endpoint, traces, "{endpoint}");
    }
    let exact = on(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:4318/in")]);
    assert_eq!(exact.metrics.unwrap().endpoint, "http://c:4318/in");
    assert_eq!(exact.traces, None, "one signal alone");
    let grpc = on(&[(GENERAL, "https://c:4317/otel")]);
    assert_eq!(grpc.traces.unwrap().endpoint, "https://c:4317/");
}

#[test]
fn the_service_has_a_name() {
    let name = |pairs: &[(&str, &str)]| {
        let all = [&[(GENERAL, "http://c:4318")], pairs].concat();
        on(&all).resource.into_iter().filter(|(key, _)| key == "service.name").map(|(_, v)| v).collect::<Vec<_>>()
    };
    assert_eq!(name(&[]), ["inference-proxy"]);
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20b, team=ml");
    assert_eq!(name(&[attributes]), ["a b"]);
    assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "c")]), ["c"]);
}

#[test]
fn headers_are_decoded_and_a_signals_own_take_the_place_of_the_general_ones() {
    let settings = on(&[
        (GENERAL, "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a,x-b = c"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-d=e"),
    ]);
    let text = |headers: &[(HeaderName, HeaderValue)]| {
        headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(text(&settings.traces.unwrap().headers), ["authorization: Bearer a", "x-b: c"]);
    assert_eq!(text(&settings.metrics.unwrap().headers), ["x-d: e"]);
}

#[test]
fn samplers_are_those_of_the_specification() {
    let sampler = |name: &str, arg: &str| {
        let setting =
            on(&[(GENERAL, "http://c:4318"), ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
        (setting.sampler.ratio, setting.sampler.parent_based)
    };
    assert_eq!(sampler("", ""), (1.0, true));
    assert_eq!(sampler("always_off", ""), (0.0, false));
    assert_eq!(sampler("traceidratio", "0.25"), (0.25, false));
    assert_eq!(sampler("parentbased_traceidratio", ""), (1.0, true));
    assert_eq!(sampler("always_on", "ignored"), (1.0, false));
}

#[test]
fn what_cannot_be_read_is_named_with_an_example() {
    for (variable, value) in [
        (GENERAL, "collector:4317"),
        (GENERAL, "ftp://c"),
        (GENERAL, "http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:port"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "udp"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum"),
    ] {
        let Err(error) = read(&[(variable, value)]) else { panic!("{variable}={value} was taken") };
        assert_eq!(error.variable, variable);
        let line = error.to_string();
        assert!(line.contains(&format!("for example {variable}=")) && !line.contains('\n'), "{line}");
    }
    let line = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "s3cret")]).unwrap_err().to_string();
    assert!(!line.contains("s3cret"), "{line}");
    let two = [(GENERAL, "http://c"), ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    assert_eq!(read(&two).unwrap_err().variable, "OTEL_TRACES_SAMPLER_ARG");
}

#[test]
fn every_variable_is_documented() {
    let read = std::cell::RefCell::new(Vec::new());
    let _ = OtelSettings::read(|name| {
        read.borrow_mut().push(name.to_owned());
        (name == GENERAL).then(|| "http://c".to_owned())
    });
    for name in read.borrow().iter() {
        let general = name.replace("OTLP_TRACES_", "OTLP_").replace("OTLP_METRICS_", "OTLP_");
        let known = |wanted: &str| app::settings::SETTINGS.iter().any(|s| s.variable == wanted);
        assert!(known(name) || known(&general), "{name} is not in SETTINGS");
    }
}
