//! What a container does, and what the proxy makes of it: each subject is a module, each row of the contract a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carry;
mod discovery;
mod ends;
mod health;
mod learning;
mod moves;
mod networks;
mod pause;
mod pools;
mod refresh;
mod replicas;
mod restart_engine;
mod scene;
mod second_engine;
mod sight;
mod signals;
mod stop;
