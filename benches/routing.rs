//! How long choosing a backend for a model takes, by how many models there are.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::container::{Container, ContainerEvent, ContainerId, EngineTime};
use domain::drain::DrainPolicy;
use domain::table::{
    Generation, MAX_CLAIMS, MAX_MODELS_PER_BACKEND, Resolution, RoutingTable, SourceId, TableEvent, TableRules,
};
use testkit::container::ContainerBuilder;

/// The last one is as many as the table takes.
const MODELS: [usize; 3] = [1, 100, MAX_CLAIMS];

fn main() {
    divan::main();
}

/// Every lookup asks for another model, so that no cache line stays warm by chance.
#[divan::bench(args = MODELS)]
fn a_model_that_is_served(bencher: divan::Bencher<'_, '_>, models: usize) {
    let table = table(models);
    let names: Vec<String> = (0..models).map(name).collect();
    let mut asked = names.iter().cycle().step_by(7);
    bencher.bench_local(|| {
        let Resolution::Claimed(claims) = table.resolve(divan::black_box(asked.next().unwrap())) else {
            panic!("a model that is in the table was not found")
        };
        Arc::clone(&claims.first().unwrap().backend)
    });
}

#[divan::bench(args = MODELS)]
fn a_model_that_is_not_served(bencher: divan::Bencher<'_, '_>, models: usize) {
    let table = table(models);
    bencher.bench_local(|| matches!(table.resolve(divan::black_box("org/nobody-has-this")), Resolution::Unknown));
}

fn name(number: usize) -> String {
    format!("organisation/model-{number}-instruct")
}

/// A table that serves so many models, as few backends as can be.
fn table(models: usize) -> RoutingTable<()> {
    let drain = DrainPolicy { timeout: Duration::from_secs(60), readmit_after: Duration::from_secs(300) };
    let rules = TableRules {
        drain,
        refresh_every: Duration::from_secs(30),
        replicas: Default::default(),
        balance: Default::default(),
    };
    let (mut table, now) = (RoutingTable::new(rules), Instant::now());
    let numbers: Vec<usize> = (0..models).collect();
    for (at, numbers) in numbers.chunks(MAX_MODELS_PER_BACKEND).enumerate() {
        let container = container(at);
        let id = container.id.clone();
        (table, _) = table.apply(TableEvent::Source(SourceId(0), ContainerEvent::Inspected(container)), now);
        let generation: Generation = table.entries().find(|(other, _)| **other == id).unwrap().1.generation;
        let models = numbers.iter().map(|number| (name(*number), Arc::from("{}"))).collect();
        let address = ([10, 0, 0, 1], 8000).into();
        (table, _) = table.apply(TableEvent::Discovered { container: id, generation, address, models, link: () }, now);
    }
    assert_eq!(table.models().len(), models);
    table
}

fn container(number: usize) -> Container {
    let started_at = u64::try_from(number).unwrap() + 1;
    Container {
        id: ContainerId::new(format!("{number:064x}")),
        started_at: EngineTime(started_at),
        ..ContainerBuilder::new(&format!("backend-{number}")).at([[10, 0, 0, 1].into()]).build()
    }
}
