//! The `status` command.

use std::net::SocketAddr;
use std::process::ExitCode;

use app::settings::Settings;
use app::status::Report;

use super::report_text::{Style, text};
use super::{local_client, out, unwritten};
use crate::adapters::status::from_json;

/// Prints the report of the running proxy. Returns exit code 1 if anything needs attention.
pub fn status(settings: &Settings, style: Style) -> ExitCode {
    match fetch_report(local_client::proxy_address(settings)) {
        Ok(report) => {
            if let Err(error) = out::print(&text(&report, style)) {
                return unwritten(&error);
            }
            ExitCode::from(u8::from(!report.is_well()))
        }
        Err(reason) => {
            out::complain(reason);
            ExitCode::FAILURE
        }
    }
}

/// Fetches the report of the proxy at this address.
///
/// # Errors
/// The reason why there is none, and what to do.
pub fn fetch_report(address: SocketAddr) -> Result<Report, String> {
    let response = local_client::get(address, "/status").map_err(|error| {
        format!("no proxy answers at http://{address}: {error}; start it, or set PROXY_PORT to its port")
    })?;
    match response.has_status(200) {
        true => from_json(&response.body)
            .map_err(|error| format!("the server at http://{address} is not a proxy of this version: {error}")),
        false => Err(format!(
            "the proxy at http://{address} does not show its status ({}): PROXY_STATUS=off is set for it",
            response.status_line
        )),
    }
}
