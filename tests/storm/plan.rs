//! What both ends of a visit do. A plan is plain data: it is drawn from a seed, played twice, and made simpler once it failed.

/// A backend, by what it does with its connections. Each has an address and a model of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// HTTP/1.1, keeps every connection.
    Keeps,
    /// Closes after each stream without saying so.
    ClosesAfterStreams,
    /// Closes after each response without saying so.
    Closes,
    /// HTTP/1.0, closes after each response.
    Old,
    /// HTTP/1.0, keeps a connection where a length allows it.
    OldKeeps,
    /// Breaks off in or before its heads.
    Breaks,
    /// Listed its model, and refuses connections since.
    Gone,
    /// No backend: no server has the model.
    Unknown,
}

impl Server {
    /// Every one that there is.
    pub const ALL: [Self; 7] =
        [Self::Keeps, Self::ClosesAfterStreams, Self::Closes, Self::Old, Self::OldKeeps, Self::Breaks, Self::Gone];

    pub fn model(self) -> &'static str {
        match self {
            Self::Keeps => "m",
            Self::ClosesAfterStreams => "closes-after-streams",
            Self::Closes => "closes",
            Self::Old => "old",
            Self::OldKeeps => "old-keeps",
            Self::Breaks => "breaks",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    pub fn is_old(self) -> bool {
        matches!(self, Self::Old | Self::OldKeeps)
    }

    /// Whether a client that speaks to it directly has to expect that its connection is gone.
    pub fn closes(self) -> bool {
        !matches!(self, Self::Keeps | Self::Unknown)
    }
}

/// One connection of a client, and what is exchanged on it.
#[derive(Debug, Clone)]
pub struct Visit {
    pub server: Server,
    pub exchanges: Vec<RequestTracker>,
    /// All requests are sent before the first response is read.
    pub is_pipelined: bool,
    /// The client reads little at a time, with pauses, into a small buffer.
    pub reads_slowly: bool,
}

#[derive(Debug, Clone)]
pub struct RequestTracker {
    pub request: Request,
    pub response: Response,
    pub leave: Option<Leave>,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub version: Version,
    /// The value of its `Connection` header.
    pub connection: Option<&'static str>,
    pub body: Body,
    pub model_at: ModelAt,
    pub segments: Segments,
    pub expects_continue: bool,
    /// The client sends all of its body before it looks for a response.
    pub sends_all_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// A body of so many letters, besides what surrounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    None,
    Length(usize),
    /// In chunks of at most so many bytes, of odd sizes.
    Chunked {
        letters: usize,
        most: usize,
        trailers: bool,
    },
    /// Delimited by the end of the connection; responses only.
    UntilClose(usize),
}

impl Body {
    pub fn letters(self) -> usize {
        match self {
            Self::None => 0,
            Self::Length(letters) | Self::Chunked { letters, .. } | Self::UntilClose(letters) => letters,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelAt {
    Query,
    First,
    Last,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments {
    AtOnce,
    /// The first bytes one by one, each a segment of its own.
    Bytes,
    /// Odd sizes, some of them with a pause behind.
    Odd,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub body: Body,
    pub segments: Segments,
    pub begins: Begins,
    pub sends_continue: bool,
    pub ending: Ending,
}

/// When a response begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// When the request is complete.
    Behind,
    /// Behind the head of the request; the rest of the request is read afterwards.
    EarlyThenReads,
    /// Behind the head; then the connection is closed with the rest unread.
    EarlyThenCloses,
}

/// How a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// After so many bytes of its body, once the client has read them.
    BrokenAt(usize, How),
    /// After so many bytes of its head.
    BrokenInHead(usize, How),
    /// So many bytes of its body are sent (`None`: not even the head), and the rest is never sent.
    WaitsAt(Option<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Fin,
    Reset,
}

/// A client that goes before its exchange is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    pub when: When,
    pub how: How,
    pub behind: Behind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    InHead,
    InUpload,
    Waiting,
    InResponse,
}

/// What stands behind the request of a client that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Nothing,
    LineEnd,
    Byte,
    NextRequest,
}

impl Visit {
    /// Versions of this visit with one thing less in them, the greatest simplification first.
    pub fn simpler(&self) -> Vec<Self> {
        let mut versions = Vec::new();
        for at in 0..self.exchanges.len() {
            if self.exchanges.len() > 1 {
                let mut exchanges = self.exchanges.clone();
                exchanges.remove(at);
                versions.push(Self { exchanges, ..self.clone() });
            }
        }
        versions.push(Self { is_pipelined: false, ..self.clone() });
        versions.push(Self { reads_slowly: false, ..self.clone() });
        for at in 0..self.exchanges.len() {
            for simpler in self.exchanges[at].simpler() {
                let mut visit = self.clone();
                visit.exchanges[at] = simpler;
                versions.push(visit);
            }
        }
        let own = format!("{self:?}");
        versions.retain(|version| format!("{version:?}") != own);
        versions
    }
}

impl RequestTracker {
    fn simpler(&self) -> Vec<Self> {
        let with = |change: &dyn Fn(&mut Self)| {
            let mut simpler = self.clone();
            change(&mut simpler);
            simpler
        };
        let mut versions = vec![
            with(&|one| one.request.segments = Segments::AtOnce),
            with(&|one| one.response.segments = Segments::AtOnce),
            with(&|one| one.request.connection = None),
            with(&|one| one.request.expects_continue = false),
            with(&|one| one.request.sends_all_first = false),
            with(&|one| one.request.version = Version::Http11),
            with(&|one| one.response.sends_continue = false),
            with(&|one| one.request.body = smaller(one.request.body)),
            with(&|one| one.request.body = plainer(one.request.body)),
        ];
        if self.request.model_at == ModelAt::Last {
            versions.push(with(&|one| one.request.model_at = ModelAt::First));
        }
        if let Some(Leave { behind, .. }) = self.leave
            && behind != Behind::Nothing
        {
            versions.push(with(&|one| one.leave = one.leave.map(|leave| Leave { behind: Behind::Nothing, ..leave })));
        }
        if self.response.ending == Ending::Complete {
            versions.push(with(&|one| one.response.body = smaller(one.response.body)));
            versions.push(with(&|one| one.response.body = plainer(one.response.body)));
        }
        versions
    }
}

fn smaller(body: Body) -> Body {
    match body {
        Body::None => Body::None,
        Body::Length(letters) => Body::Length(letters / 2),
        Body::UntilClose(letters) => Body::UntilClose(letters / 2),
        Body::Chunked { letters, most, trailers } => Body::Chunked { letters: letters / 2, most, trailers },
    }
}

fn plainer(body: Body) -> Body {
    match body {
        Body::Chunked { letters, most, trailers: true } => Body::Chunked { letters, most, trailers: false },
        Body::Chunked { letters, .. } => Body::Length(letters),
        other => other,
    }
}
