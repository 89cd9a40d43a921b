//! What is printed and logged: for readers that leave, for a disk that is full, and in how many lines.

use super::*;

/// The program with these arguments, and standard output that its reader has left already.
fn unread(arguments: &[&str], settings: &[(&str, &str)]) -> Running {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(arguments, settings);
    command.stdout(writer);
    Running::of(command)
}

#[test]
fn a_reader_that_left_changes_no_exit_code_and_is_no_failure() {
    let (port, backend, nobody) = (free_port(), free_port(), free_port().to_string());
    let base = format!("http://127.0.0.1:{backend}");
    let _sample = Running::sample(backend, "a");
    let _proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base)]);
    until_served(port, "a");
    let own = port.to_string();
    let well = [("PROXY_PORT", own.as_str()), ("PROXY_BACKENDS", &base), ("PROXY_DOCKER", "off")];
    let ill = [("PROXY_PORT", nobody.as_str()), ("PROXY_BACKENDS", &base), ("PROXY_DOCKER", "off")];
    for (arguments, settings, code) in [
        (&["--help"][..], &well, 0),
        (&["status", "--help"], &well, 0),
        (&["--version"], &well, 0),
        (&["status"], &well, 0),
        (&["doctor"], &well, 0),
        (&["healthcheck"], &well, 0),
        (&["status"], &ill, 1),
        (&["doctor"], &ill, 1),
        (&["healthcheck"], &ill, 1),
        (&["nonsense"], &well, 64),
    ] {
        let mut ended = unread(arguments, settings).ended();
        let mut stderr = String::new();
        ended.stderr().read_to_string(&mut stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert_eq!(ended.exit_code(), Some(code), "{arguments:?}: {stderr}");
    }
}

#[test]
fn what_serves_goes_on_when_nobody_reads_what_it_prints() {
    let (port, backend) = (free_port(), free_port());
    let sample = unread(&["sample", "--port", &backend.to_string(), "--models", "a"], &[]);
    let own = port.to_string();
    let demo = unread(&["demo"], &[("PROXY_PORT", &own), ("PROXY_BIND", "127.0.0.1")]);
    until("the sample lives", || get(backend, "/health"));
    until_served(port, "sample/small");
    assert!(chat(port, "sample/small", false).starts_with("HTTP/1.1 200"));
    for running in [sample, demo] {
        running.signal("TERM");
        assert_eq!(running.exit_code(), Some(0));
    }
}

#[test]
fn standard_error_that_nobody_reads_changes_no_exit_code_either() {
    for (arguments, settings, code) in [
        (&["serve"][..], &[("PROXY_PORT", "80a")], 64),
        (&["status"], &[("PROXY_PORT", "1")], 1),
        (&["healthcheck"], &[("PROXY_PORT", "1")], 1),
        (&["nonsense"], &[("PROXY_PORT", "1")], 64),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program(arguments, settings);
        command.stderr(writer);
        assert_eq!(Running::of(command).exit_code(), Some(code), "{arguments:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_said_and_is_a_failure() {
    for arguments in [&["--help"][..], &["--version"], &["doctor"]] {
        let mut command = program(
            arguments,
            &[("PROXY_PORT", "1"), ("PROXY_DOCKER", "off"), ("PROXY_BACKENDS", "http://127.0.0.1:1")],
        );
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let mut ended = Running::of(command).ended();
        let mut stderr = String::new();
        ended.stderr().read_to_string(&mut stderr).unwrap();
        assert!(stderr.contains("cannot be written"), "{arguments:?}: {stderr}");
        assert_eq!(ended.exit_code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn two_servers_with_the_same_models_are_one_line_for_each_change() {
    let (port, old, young) = (free_port(), free_port(), free_port());
    let models = (0..48).map(|number| format!("adapter-{number:02}")).collect::<Vec<_>>().join(",");
    let bases = format!("http://127.0.0.1:{old},http://127.0.0.1:{young}");
    let _old = Running::sample(old, &models);
    let mut proxy = Running::proxy(port, &[("PROXY_BACKENDS", &bases), ("PROXY_LOG_FORMAT", "json")]);
    let served_by = |port: u16| {
        let status = get(port, "/status").unwrap_or_default();
        status.matches("\"container\": \"http").count() == 48 && status.contains("\"well\"")
    };
    until("the first serves", || served_by(port).then_some(()));
    let flips = Running::sample(young, &models);
    let displaced = |port: u16| get(port, "/status").filter(|status| status.contains("\"displaced\""));
    until("the second displaces it", || displaced(port));
    drop(flips);
    // The first failed request tells it sooner than the next look.
    until("a request goes to the first", || chat(port, "adapter-00", false).starts_with("HTTP/1.1 200").then_some(()));
    until("the first took over", || displaced(port).is_none().then_some(()));
    proxy.signal("TERM");
    let log = std::io::read_to_string(proxy.stdout()).unwrap();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    for (words, named) in [("serve the same models", "adapter-00"), ("took models over", "adapter-00")] {
        let [line] = lines(words)[..] else { panic!("{words}:\n{log}") };
        assert!(line.contains("\"count\":48") && line.contains(named) && line.contains("more"), "{line}");
    }
}
