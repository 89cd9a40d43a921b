//! The model finder from outside: tables of bodies, generated bodies, and other parsers as oracles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod find;
mod forms;
mod generated;
mod json_bodies;
mod oracle;
mod prefix;
