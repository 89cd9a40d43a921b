//! Asks `/healthz` without a pause that is worth the name, from a thread of its own that no load keeps waiting.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The time between two questions.
const EVERY: Duration = Duration::from_millis(50);
/// The longest wait for an answer, after which there is none.
const PATIENCE: Duration = Duration::from_secs(10);
const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

pub struct Health {
    over: Arc<AtomicBool>,
    asking: JoinHandle<(usize, Duration)>,
}

impl Health {
    /// Connects anew for each question.
    pub fn on_new_connections(address: SocketAddr) -> Self {
        Self::start(move || connected(address))
    }

    /// Connects once.
    pub fn on_one_connection(address: SocketAddr) -> Self {
        let mut first = connected(address);
        // Before anybody else is there.
        ask(&mut first);
        Self::start(move || first.try_clone().unwrap())
    }

    #[allow(clippy::disallowed_methods, reason = "a busy runtime must not be what is measured; end() waits for it")]
    fn start(connection: impl Fn() -> TcpStream + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let asking = std::thread::spawn(move || {
            let (mut asked, mut slowest) = (0, Duration::ZERO);
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                ask(&mut connection());
                slowest = slowest.max(begun.elapsed());
                asked += 1;
                std::thread::sleep(EVERY);
            }
            (asked, slowest)
        });
        Self { over, asking }
    }

    /// Says how long the slowest answer took. Fails when one took longer than `within`, or never came.
    pub fn end(self, within: Duration) {
        self.over.store(true, Ordering::Relaxed);
        let (asked, slowest) = self.asking.join().expect("every question was answered");
        println!("/healthz: {asked} answers, the slowest after {slowest:?}");
        assert!(asked > 0 && slowest < within, "{slowest:?}");
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(QUESTION).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"{\"status\":\"ok\"}") {
        let read = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..read]);
        assert_ne!(read, 0, "no answer but {}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}
