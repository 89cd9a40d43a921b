//! The contract of the way to backends, kept by the real adapter and by the fake that stands for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

/// The adapter on hyper and reqwest, against scripted servers.
mod http {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use http_body_util::BodyExt;
    use lw_inference_proxy::adapters::upstream::{HttpUpstream, UpstreamSettings};

    use crate::support::fake_upstream::Reply;
    use crate::support::raw_backend::{Blackhole, Peer, RawBackend, RawRequest, nobody};
    use crate::support::upstream_contract::{Listing, Rig, Scene, SeenRequest, target};

    /// Scripted servers of this version.
    struct OnTheWire {
        version: &'static str,
    }

    #[async_trait]
    impl Rig for OnTheWire {
        async fn listing(&self, listing: Listing) -> Scene {
            let (status, body) = match listing {
                Listing::Data(data) => (200, format!(r#"{{"object":"list","data":[{data}]}}"#)),
                Listing::Status(status) => (status, String::new()),
                Listing::NoList => (200, "<html>".to_owned()),
                Listing::Refused => return refused(),
            };
            let version = self.version;
            let head = format!("{version} {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            scene(RawBackend::answering(format!("{head}{body}")).await)
        }

        async fn playing(&self, replies: Vec<Reply>) -> Scene {
            match replies[..] {
                [Reply::Refused] => return refused(),
                [Reply::Connects(..)] => return connecting().await,
                _ => {}
            }
            let (version, replies) = (self.version, Arc::new(Mutex::new(VecDeque::from(replies))));
            let play_all = move |mut peer: Peer| {
                let replies = Arc::clone(&replies);
                async move {
                    loop {
                        // The head first: a reply belongs to a request, not to a connection.
                        let head = peer.head_unrecorded().await?;
                        let reply = replies.lock().unwrap().pop_front().expect("a reply for every request");
                        if play(&mut peer, version, head, reply).await?.is_none() {
                            return Ok(());
                        }
                    }
                }
            };
            scene(RawBackend::start(play_all).await)
        }
    }

    fn refused() -> Scene {
        Scene { client: client(), target: target(nobody()), seen: Box::new(Vec::new), keep: Box::new(()) }
    }

    async fn connecting() -> Scene {
        let hole = Blackhole::dig().await;
        Scene { client: client(), target: target(hole.address()), seen: Box::new(Vec::new), keep: Box::new(hole) }
    }

    fn scene(backend: RawBackend) -> Scene {
        let backend = Arc::new(backend);
        let seen = Arc::clone(&backend);
        Scene {
            client: client(),
            target: target(backend.address()),
            seen: Box::new(move || seen.requests().iter().map(seen_request).collect()),
            keep: Box::new(backend),
        }
    }

    fn client() -> Arc<HttpUpstream> {
        Arc::new(HttpUpstream::new(UpstreamSettings::default()).unwrap())
    }

    fn seen_request(raw: &RawRequest) -> SeenRequest {
        let mut line = raw.line().split(' ').map(str::to_owned);
        let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
        SeenRequest {
            method: line.next().unwrap(),
            target: line.next().unwrap(),
            headers: raw.headers().into_iter().map(header).collect(),
            body: String::from_utf8(raw.body.clone()).unwrap(),
        }
    }

    /// Answers whether the connection goes on.
    async fn play(peer: &mut Peer, version: &str, head: String, reply: Reply) -> io::Result<Option<()>> {
        if let Reply::Early(status, body) = reply {
            let body = body.collect().await.unwrap().to_bytes();
            peer.send(format!("{version} {} X\r\ncontent-length: {}\r\n\r\n", status.as_u16(), body.len())).await?;
            peer.send(&body).await?;
            peer.ended().await;
            return Ok(None);
        }
        peer.rest(head).await?;
        match reply {
            // Delimited by the end of the connection, or broken off before the length that was said.
            Reply::Answer(status, headers, pieces) if version == "HTTP/1.0" => {
                let mut head = format!("{version} {} X\r\n", status.as_u16());
                headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                peer.send(head + "\r\n" + &pieces.concat()).await.map(|()| None)
            }
            Reply::BreaksOff(pieces) if version == "HTTP/1.0" => {
                peer.send(format!("{version} 200 OK\r\ncontent-length: 1000\r\n\r\n{}", pieces.concat())).await?;
                Ok(None)
            }
            Reply::Answer(status, headers, pieces) => {
                let mut head = format!("HTTP/1.1 {} X\r\ntransfer-encoding: chunked\r\n", status.as_u16());
                headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                peer.send(head + "\r\n").await?;
                for piece in pieces {
                    peer.send_chunk(piece).await?;
                }
                peer.send("0\r\n\r\n").await?;
                Ok(Some(()))
            }
            Reply::BreaksOff(pieces) => {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                for piece in pieces {
                    peer.send_chunk(piece).await?;
                }
                Ok(None)
            }
            Reply::Breaks => Ok(None),
            Reply::UnexpectedResponse => peer.send("what?\r\n\r\n").await.map(|()| None),
            Reply::Switches(early) => {
                let head = "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
                peer.send(format!("{head}{early}")).await?;
                loop {
                    let bytes = peer.some().await?;
                    peer.send(&bytes).await?;
                }
            }
            Reply::Refused | Reply::Early(..) | Reply::After(..) | Reply::Connects(..) => {
                unreachable!("no part of this suite")
            }
        }
    }

    crate::upstream_client_contract!(OnTheWire { version: "HTTP/1.1" });

    /// Servers that speak HTTP/1.0; only a switch of protocols is in HTTP/1.1, where alone there is one.
    mod in_http_1_0 {
        use super::OnTheWire;

        crate::upstream_client_contract!(OnTheWire { version: "HTTP/1.0" });
    }
}

/// The fake passes the suite as well.
mod fake {
    use std::sync::Arc;

    use async_trait::async_trait;
    use ports::upstream::{ListModelsError, ListedModel};

    use crate::support::fake_upstream::{FakeUpstream, Recorded, Reply};
    use crate::support::upstream_contract::{Listing, Rig, Scene, SeenRequest, target};

    struct InMemory;

    #[async_trait]
    impl Rig for InMemory {
        async fn listing(&self, listing: Listing) -> Scene {
            let answer = match listing {
                Listing::Data(data) => Ok(read(data)),
                Listing::Status(status) => Err(ListModelsError::Status(status)),
                Listing::NoList => Err(ListModelsError::NotAList("no JSON".into())),
                Listing::Refused => Err(ListModelsError::ConnectionRefused),
            };
            let answer = answer.and_then(|list| if list.is_empty() { Err(ListModelsError::Empty) } else { Ok(list) });
            let fake = FakeUpstream::new();
            fake.lists(address(), answer);
            scene(fake)
        }

        async fn playing(&self, replies: Vec<Reply>) -> Scene {
            let fake = FakeUpstream::new();
            replies.into_iter().for_each(|reply| fake.replies(address(), reply));
            scene(fake)
        }
    }

    /// The fake is told its models, not their text; this tells it what the port says of the text.
    fn read(data: &str) -> Vec<ListedModel> {
        let objects: Vec<&serde_json::value::RawValue> = serde_json::from_str(data_array(data).leak()).unwrap();
        let mut models: Vec<ListedModel> = Vec::new();
        for object in objects {
            let value: serde_json::Value = serde_json::from_str(object.get()).unwrap();
            let Some(id) = value["id"].as_str().map(str::to_owned) else { continue };
            if models.iter().all(|model| model.id != id) {
                models.push(ListedModel { id, object: Arc::from(object.get()) });
            }
        }
        models
    }

    fn data_array(data: &str) -> String {
        format!("[{data}]")
    }

    fn address() -> std::net::SocketAddr {
        "192.0.2.1:8000".parse().unwrap()
    }

    fn scene(fake: FakeUpstream) -> Scene {
        let seen = fake.clone();
        Scene {
            client: Arc::new(fake),
            target: target(address()),
            seen: Box::new(move || seen.requests().iter().map(seen_request).collect()),
            keep: Box::new(()),
        }
    }

    fn seen_request(request: &Recorded) -> SeenRequest {
        let headers = request.headers.iter();
        SeenRequest {
            method: request.method.to_string(),
            target: request.uri.to_string(),
            headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
            body: String::from_utf8(request.body.clone()).unwrap(),
        }
    }

    crate::upstream_client_contract!(InMemory);
}
