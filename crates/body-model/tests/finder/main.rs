//! The model finder, seen from outside: tables of bodies, generated bodies, and other parsers as judges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod find;
mod forms;
mod generated;
mod json_bodies;
mod oracle;
mod prefix;
