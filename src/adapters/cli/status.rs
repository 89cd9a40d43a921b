//! Asks the running proxy how it stands, and prints it.

use std::net::SocketAddr;
use std::process::ExitCode;

use app::settings::Settings;
use app::status::Report;

use super::report_text::{Style, text};
use super::{ask, out, report_wire, unwritten};

/// Prints the report. Exit code 0 if nothing needs a person, else 1.
pub fn status(settings: &Settings, style: Style) -> ExitCode {
    match running(ask::proxy(settings)) {
        Ok(report) => {
            if let Err(error) = out::print(&text(&report, style)) {
                return unwritten(&error);
            }
            ExitCode::from(u8::from(!report.is_well()))
        }
        Err(why) => {
            out::complain(why);
            ExitCode::FAILURE
        }
    }
}

/// The report of the proxy that runs at this address.
///
/// # Errors
/// Why there is none, and what to do.
pub fn running(address: SocketAddr) -> Result<Report, String> {
    let answer = ask::get(address, "/status").map_err(|error| {
        format!("no proxy answers at http://{address}: {error}; start it, or name its port in PROXY_PORT")
    })?;
    match answer.is(200) {
        true => report_wire::read(&answer.body)
            .map_err(|error| format!("what answers at http://{address} is no proxy of this version: {error}")),
        false => Err(format!(
            "the proxy at http://{address} does not tell its status ({}): PROXY_STATUS=off is set for it",
            answer.status_line
        )),
    }
}
