//! Asking backends for their models: again and again until they answer, and once in a while after that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::model_name::{ModelName, unusable};
use domain::table::{DiscoveryRequest, TableEvent};
use ports::activity::ServerActivity;
use ports::upstream::{ListModelsError, ListedModel, Target, UpstreamClient};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::activity::ActivityBook;
use super::link::Link;

/// The wait after the first failure; it doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const RETRY_MOST: Duration = Duration::from_secs(15);
/// How many backends are asked at the same time.
const ASKED_AT_ONCE: usize = 32;
/// The last word on how long one question may take, should the client's own bound fail.
const ASK_AT_MOST: Duration = Duration::from_secs(30);

/// What a backend lists: id and description, as they came.
type Models = Vec<(String, Arc<str>)>;

/// Why a backend's models are not known.
struct Failure {
    why: String,
    unreachable: bool,
    /// Whether it did answer, with a list of nothing.
    is_empty: bool,
}

/// Asks on behalf of the table.
#[derive(Clone)]
pub struct Discovery {
    upstream: Arc<dyn UpstreamClient>,
    events: mpsc::Sender<TableEvent<Link>>,
    drained: Arc<Notify>,
    at_once: Arc<Semaphore>,
    activity: Arc<ActivityBook>,
}

impl Discovery {
    /// Asks through `upstream` and answers to `events`. `drained` goes into the links that are made.
    pub fn new(
        upstream: Arc<dyn UpstreamClient>,
        events: mpsc::Sender<TableEvent<Link>>,
        drained: Arc<Notify>,
    ) -> Self {
        let at_once = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        Self { upstream, events, drained, at_once, activity: Arc::default() }
    }

    /// The same, with what is in flight noted there.
    pub fn with_activity(self, activity: Arc<ActivityBook>) -> Self {
        Self { activity, ..self }
    }

    /// Asks until there is an answer. Ends when it is dropped, or with the answer.
    pub async fn discover(self, question: DiscoveryRequest) {
        let mut wait = RETRY_FIRST;
        loop {
            match self.ask_in_order(&question).await {
                Ok((address, models)) => {
                    let target =
                        Target { address, base_path: question.base_path.clone(), origin: question.origin.clone() };
                    let in_flight = self.activity.link(address);
                    let link = Link::new(
                        self.upstream.open(&target),
                        target.origin.as_deref(),
                        in_flight,
                        Arc::clone(&self.drained),
                    );
                    let DiscoveryRequest { container, generation, .. } = question;
                    return self.tell(TableEvent::Discovered { container, generation, address, models, link }).await;
                }
                Err(failure) => self.tell(discovery_failed(&question, failure)).await,
            }
            sleep(wait).await;
            wait = (wait * 2).min(RETRY_MOST);
        }
    }

    /// Opens the way to a backend whose models are known already.
    pub fn resume(&self, question: DiscoveryRequest) -> TableEvent<Link> {
        let DiscoveryRequest { container, generation, address, base_path, origin, .. } = question;
        let target = Target { address, base_path, origin };
        let channel = self.upstream.open(&target);
        let link = Link::new(channel, target.origin.as_deref(), self.activity.link(address), Arc::clone(&self.drained));
        TableEvent::Resumed { container, generation, link }
    }

    /// Asks once, as soon as that ends nothing that the server generates.
    pub async fn refresh(self, question: DiscoveryRequest) {
        self.activity.until_idle(question.address).await;
        let event = match self.ask(&question, question.address).await {
            Ok(models) => {
                let DiscoveryRequest { container, generation, .. } = question;
                TableEvent::Refreshed { container, generation, models }
            }
            Err(Failure { is_empty: true, .. }) => {
                let DiscoveryRequest { container, generation, .. } = question;
                TableEvent::Refreshed { container, generation, models: Vec::new() }
            }
            Err(failure) => discovery_failed(&question, failure),
        };
        self.tell(event).await;
    }

    /// Asks at each address in turn until a connection is taken. The first failure is the one that counts.
    async fn ask_in_order(&self, question: &DiscoveryRequest) -> Result<(SocketAddr, Models), Failure> {
        let first = match self.ask(question, question.address).await {
            Ok(models) => return Ok((question.address, models)),
            Err(failure) => failure,
        };
        if first.unreachable {
            for address in &question.others {
                match self.ask(question, *address).await {
                    Ok(models) => return Ok((*address, models)),
                    Err(failure) if failure.unreachable => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Err(first)
    }

    async fn ask(&self, question: &DiscoveryRequest, address: SocketAddr) -> Result<Models, Failure> {
        let _turn = self.at_once.acquire().await;
        let target = Target { address, base_path: question.base_path.clone(), origin: question.origin.clone() };
        let failed = |why: &str| Failure { why: describe(&target, why), unreachable: false, is_empty: false };
        let listed = match timeout(ASK_AT_MOST, self.upstream.models(&target)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => {
                let (unreachable, is_empty) = (error.is_unreachable(), error == ListModelsError::Empty);
                return Err(Failure { unreachable, is_empty, ..failed(&error.to_string()) });
            }
            Err(_) => return Err(failed("it did not answer")),
        };
        let fault = |model: &ListedModel| ModelName::parse(&model.id).err().map(|why| unusable(&model.id, why));
        let bad = listed.iter().find_map(fault);
        match (listed.iter().any(|model| ModelName::parse(&model.id).is_ok()), bad) {
            (false, Some(why)) => Err(failed(&format!("no id can be used: {why}"))),
            _ => Ok(listed.into_iter().map(|ListedModel { id, object }| (id, object)).collect()),
        }
    }

    async fn tell(&self, event: TableEvent<Link>) {
        // The writer is gone only when the proxy stops; then nobody needs the answer.
        let _ = self.events.send(event).await;
    }
}

fn describe(target: &Target, failure: &str) -> String {
    format!("GET {}: {failure}", target.models_url())
}

fn discovery_failed(question: &DiscoveryRequest, failure: Failure) -> TableEvent<Link> {
    TableEvent::DiscoveryFailed {
        container: question.container.clone(),
        generation: question.generation,
        failure: Arc::from(failure.why),
        unreachable: failure.unreachable,
    }
}
