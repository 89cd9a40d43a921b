//! Backends that are no containers: how their health and their addresses show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "contracts/container_source.rs"]
mod contract;
#[path = "support/heard.rs"]
mod heard;
#[path = "support/static_stage.rs"]
mod static_stage;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::backend_url::BackendUrl;
use domain::container::{Condition, ContainerEvent, ContainerId, Reach};
use heard::Heard;
use lw_inference_proxy::adapters::static_backends::{Resolve, StaticSettings, StaticSource};
use ports::container_source::ContainerSource;
use ports::upstream::{ListModelsError, UpstreamClient};
use static_stage::{Answers, a_list, quick};

/// A resolver that says what a test has it say.
#[derive(Default)]
struct Names(Mutex<Option<Vec<IpAddr>>>);

impl Names {
    fn are(&self, addresses: &[&str]) {
        *self.0.lock().unwrap() = Some(addresses.iter().map(|a| a.parse().unwrap()).collect());
    }

    fn are_gone(&self) {
        *self.0.lock().unwrap() = None;
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.lock().unwrap().clone().ok_or_else(|| io::Error::other("no such name"))
    }
}

struct Scene {
    answers: Arc<Answers>,
    names: Arc<Names>,
    source: StaticSource,
    id: ContainerId,
}

fn scene(settings: StaticSettings) -> Scene {
    let (answers, names) = (Arc::<Answers>::default(), Arc::<Names>::default());
    let url = BackendUrl::parse("http://desktop:8080/v1").unwrap();
    let id = StaticSource::id_of(&url);
    let upstream = Arc::clone(&answers) as Arc<dyn UpstreamClient>;
    let source = StaticSource::new(vec![url], upstream, settings).with_resolver(Arc::clone(&names) as Arc<dyn Resolve>);
    Scene { answers, names, source, id }
}

impl Scene {
    fn answers(&self, ip: &str, answer: Result<Vec<ports::upstream::ListedModel>, ListModelsError>) {
        self.answers.set((ip.parse::<IpAddr>().unwrap(), 8080).into(), "/v1", answer);
    }

    fn watch(&self) -> Heard {
        Heard::new(self.source.watch())
    }
}

fn at(ip: &str) -> Reach {
    Reach::At(ip.parse::<IpAddr>().unwrap().into())
}

async fn until_at(heard: &mut Heard, ip: &str) {
    heard.until(|event| matches!(event, ContainerEvent::Inspected(c) if c.reach == at(ip))).await;
}

#[tokio::test(start_paused = true)]
async fn two_failures_in_a_row_make_it_unhealthy_and_one_answer_makes_it_well() {
    let scene = scene(StaticSettings::default());
    scene.names.are(&["10.0.0.1"]);
    scene.answers("10.0.0.1", a_list());
    let mut heard = scene.watch();
    let before = heard.snapshot().await[&scene.id].clone();
    assert_eq!((before.condition, &before.reach), (Condition::Healthy, &at("10.0.0.1")));
    scene.answers("10.0.0.1", Err(ListModelsError::Status(503)));
    let doubted = heard.until_observed(&scene.id).await;
    assert_eq!(doubted.condition, Condition::Healthy, "once is nothing yet");
    let unhealthy = heard.until_observed(&scene.id).await;
    assert_eq!(unhealthy.condition, Condition::Unresponsive);
    assert_eq!(
        unhealthy.health_output.as_deref(),
        Some("GET http://desktop:8080/v1/models at 10.0.0.1: it responded with status 503")
    );
    scene.answers("10.0.0.1", a_list());
    let well = heard.until_condition(&scene.id, Condition::Healthy).await;
    assert_eq!(well.started_at, before.started_at, "it answered all the time: no other run");
    assert_eq!(well.health_output, None);
}

#[tokio::test(start_paused = true)]
async fn what_never_answered_is_starting_and_then_unhealthy_with_the_reason() {
    let scene = scene(StaticSettings::default());
    scene.names.are(&["10.0.0.1"]);
    let mut heard = scene.watch();
    let first = heard.snapshot().await[&scene.id].clone();
    assert_eq!(first.condition, Condition::Starting);
    let then = heard.until_condition(&scene.id, Condition::Unresponsive).await;
    assert!(then.health_output.unwrap().contains("refused"));
}

#[tokio::test(start_paused = true)]
async fn any_answer_of_2xx_is_health_for_its_list_is_judged_elsewhere() {
    for answer in [ListModelsError::Empty, ListModelsError::NotAList("html".into()), ListModelsError::TooLarge(9)] {
        let scene = scene(StaticSettings::default());
        scene.names.are(&["10.0.0.1"]);
        scene.answers("10.0.0.1", Err(answer));
        assert_eq!(scene.watch().snapshot().await[&scene.id].condition, Condition::Healthy);
    }
}

#[tokio::test]
async fn another_address_of_the_name_is_a_move() {
    let scene = scene(quick());
    scene.names.are(&["10.0.0.1"]);
    scene.answers("10.0.0.1", a_list());
    scene.answers("10.0.0.2", a_list());
    let mut heard = scene.watch();
    assert_eq!(heard.snapshot().await[&scene.id].reach, at("10.0.0.1"));
    scene.names.are(&["10.0.0.2"]);
    until_at(&mut heard, "10.0.0.2").await;
}

#[tokio::test]
async fn addresses_told_in_turn_are_no_move_while_the_present_one_answers() {
    let scene = scene(quick());
    scene.names.are(&["10.0.0.1", "10.0.0.2"]);
    scene.answers("10.0.0.1", a_list());
    scene.answers("10.0.0.2", a_list());
    let mut heard = scene.watch();
    assert_eq!(heard.snapshot().await[&scene.id].reach, at("10.0.0.1"));
    scene.names.are(&["10.0.0.2", "10.0.0.1"]);
    scene.source.refresh(&scene.id);
    assert_eq!(heard.until_observed(&scene.id).await.reach, at("10.0.0.1"));
    scene.answers("10.0.0.1", Err(ListModelsError::ConnectionRefused));
    until_at(&mut heard, "10.0.0.2").await;
}

#[tokio::test]
async fn ipv4_comes_first_and_ipv6_where_nothing_answers_on_it() {
    let scene = scene(quick());
    scene.names.are(&["::1", "127.0.0.1"]);
    scene.answers("::1", a_list());
    scene.answers("127.0.0.1", a_list());
    assert_eq!(scene.watch().snapshot().await[&scene.id].reach, at("127.0.0.1"));
    scene.answers("127.0.0.1", Err(ListModelsError::ConnectionRefused));
    assert_eq!(scene.watch().snapshot().await[&scene.id].reach, at("::1"));
}

#[tokio::test]
async fn a_name_that_is_lost_keeps_its_address_and_one_never_found_says_so() {
    let scene = scene(quick());
    let mut heard = scene.watch();
    heard.snapshot().await;
    let lost = heard.until_condition(&scene.id, Condition::Unresponsive).await;
    assert_eq!(lost.health_output.as_deref(), Some("desktop cannot be resolved: no such name"));
    scene.names.are(&["10.0.0.1"]);
    scene.answers("10.0.0.1", a_list());
    heard.until_condition(&scene.id, Condition::Healthy).await;
    scene.names.are_gone();
    scene.source.refresh(&scene.id);
    let looked = heard.until_observed(&scene.id).await;
    assert_eq!((looked.condition, looked.reach), (Condition::Healthy, at("10.0.0.1")));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_changes_nothing_tells_nothing() {
    let scene = scene(StaticSettings::default());
    scene.names.are(&["10.0.0.1"]);
    scene.answers("10.0.0.1", a_list());
    let mut heard = scene.watch();
    heard.snapshot().await;
    let asked = scene.answers.asked();
    heard.silent_for(std::time::Duration::from_secs(60)).await.unwrap();
    let probes = scene.answers.asked() - asked;
    assert!((11..=12).contains(&probes), "one every 5 s: {probes}");
}
