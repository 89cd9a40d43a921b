//! An [`UpstreamClient`] without a network: it answers what a test tells it to, and records what it was given.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::BodyExt;
use ports::upstream::{
    BodyError, BoxBody, Channel, ListModelsError, ListedModel, RequestSlot, SendError, SendFailure, Sent, Target,
    UpstreamClient, UpstreamResponse,
};
use tokio::io::AsyncWriteExt;

use super::bodies;
use super::raw_backend::Signal;

/// What a fake backend does with a request.
pub enum Reply {
    /// Reads the request's body, then answers with these headers and these pieces of a body.
    Answer(StatusCode, Vec<(&'static str, &'static str)>, Vec<&'static str>),
    /// Answers at once, with a body that a test writes, and never reads the request's body.
    Early(StatusCode, BoxBody),
    /// Reads the request's body, answers 200 with these pieces, and breaks off.
    BreaksOff(Vec<&'static str>),
    /// Reads the request's body and breaks without an answer.
    Breaks,
    /// Reads the request's body and answers something that is no HTTP.
    UnexpectedResponse,
    /// Nobody listens.
    Refused,
    /// Switches protocols, sends these bytes, then echoes.
    Switches(&'static str),
    /// Takes the request, and replies as the reply within, once the signal is given.
    Connects(Signal, Box<Reply>),
    /// Answers as the reply within, once the signal is given.
    After(Signal, Box<Reply>),
}

/// A request as it was given.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub address: SocketAddr,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    /// What was read of the body; complete once the reply has read it.
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    lists: HashMap<SocketAddr, Result<Vec<ListedModel>, ListModelsError>>,
    replies: HashMap<SocketAddr, VecDeque<Reply>>,
    asked: Vec<SocketAddr>,
    opened: Vec<SocketAddr>,
    retired: Vec<SocketAddr>,
    requests: Vec<Recorded>,
}

/// The fake. Clones share everything.
#[derive(Clone, Default)]
pub struct FakeUpstream(Arc<Mutex<State>>);

impl FakeUpstream {
    pub fn new() -> Self {
        Self::default()
    }

    /// What this backend answers from now on when it is asked for its models. Without it: refused.
    pub fn lists(&self, address: SocketAddr, answer: Result<Vec<ListedModel>, ListModelsError>) {
        self.state().lists.insert(address, answer);
    }

    /// What this backend does with its next request, after those already queued. With an empty queue: refused.
    pub fn replies(&self, address: SocketAddr, reply: Reply) {
        self.state().replies.entry(address).or_default().push_back(reply);
    }

    /// The backends that were asked for their models, in order.
    pub fn asked(&self) -> Vec<SocketAddr> {
        self.state().asked.clone()
    }

    /// The backends to which channels were opened, in order.
    pub fn opened(&self) -> Vec<SocketAddr> {
        self.state().opened.clone()
    }

    /// The backends whose channels were retired, in order.
    pub fn retired(&self) -> Vec<SocketAddr> {
        self.state().retired.clone()
    }

    /// The requests that were sent, in order; those that were refused are not among them.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// A model whose object holds its id and nothing else.
pub fn listed(id: &str) -> ListedModel {
    ListedModel { id: id.to_owned(), object: Arc::from(format!(r#"{{"id":"{id}","object":"model"}}"#)) }
}

#[async_trait]
impl UpstreamClient for FakeUpstream {
    async fn models(&self, target: &Target) -> Result<Vec<ListedModel>, ListModelsError> {
        let mut state = self.state();
        state.asked.push(target.address);
        state.lists.get(&target.address).cloned().unwrap_or(Err(ListModelsError::ConnectionRefused))
    }

    fn open(&self, target: &Target) -> Arc<dyn Channel> {
        self.state().opened.push(target.address);
        Arc::new(FakeChannel { upstream: self.clone(), address: target.address })
    }
}

struct FakeChannel {
    upstream: FakeUpstream,
    address: SocketAddr,
}

#[async_trait]
impl Channel for FakeChannel {
    async fn send(&self, slot: &RequestSlot) -> Result<UpstreamResponse, SendError> {
        let mut reply = self
            .upstream
            .state()
            .replies
            .get_mut(&self.address)
            .and_then(VecDeque::pop_front)
            .unwrap_or(Reply::Refused);
        while let Reply::Connects(signal, then) = reply {
            signal.until_given().await;
            reply = *then;
        }
        if let Reply::Refused = reply {
            return Err(SendError { sent: Sent::NotSent, failure: SendFailure::ConnectionRefused });
        }
        let (head, body) = slot.take().expect("a request").into_parts();
        let recorded = Recorded {
            address: self.address,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: Vec::new(),
        };
        let index = {
            let mut state = self.upstream.state();
            state.requests.push(recorded);
            state.requests.len() - 1
        };
        while let Reply::After(signal, then) = reply {
            signal.given().await;
            reply = *then;
        }
        if let Reply::Early(status, answer) = reply {
            return Ok(UpstreamResponse::Response(response(status, &[], answer)));
        }
        self.read(index, body).await.map_err(|error| maybe_sent(SendFailure::RequestBody(error)))?;
        play(reply)
    }

    fn retire(&self) {
        self.upstream.state().retired.push(self.address);
    }
}

impl FakeChannel {
    async fn read(&self, index: usize, mut body: BoxBody) -> Result<(), BodyError> {
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                self.upstream.state().requests[index].body.extend_from_slice(data);
            }
        }
        Ok(())
    }
}

fn play(reply: Reply) -> Result<UpstreamResponse, SendError> {
    match reply {
        Reply::Answer(status, headers, pieces) => {
            let body = bodies::frames(pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece)))));
            Ok(UpstreamResponse::Response(response(status, &headers, body)))
        }
        Reply::BreaksOff(pieces) => {
            let pieces = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece))));
            let broken = Err(BodyError::Broken("the backend closed it".into()));
            let body = bodies::frames(pieces.chain([broken]));
            Ok(UpstreamResponse::Response(response(StatusCode::OK, &[], body)))
        }
        Reply::Breaks => Err(maybe_sent(SendFailure::Broken("the backend closed it".into()))),
        Reply::UnexpectedResponse => Err(maybe_sent(SendFailure::InvalidResponse("no HTTP".into()))),
        Reply::Switches(early) => {
            let head = Response::builder().status(101).header("upgrade", "websocket").body(()).unwrap();
            let (ours, mut theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                theirs.write_all(early.as_bytes()).await?;
                let (mut read, mut write) = tokio::io::split(theirs);
                tokio::io::copy(&mut read, &mut write).await
            });
            Ok(UpstreamResponse::Tunnel(head, Box::new(ours)))
        }
        Reply::Refused | Reply::Early(..) | Reply::After(..) | Reply::Connects(..) => {
            unreachable!("handled before the body was read")
        }
    }
}

fn response(status: StatusCode, headers: &[(&'static str, &'static str)], body: BoxBody) -> Response<BoxBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn maybe_sent(failure: SendFailure) -> SendError {
    SendError { sent: Sent::MaybeSent, failure }
}
