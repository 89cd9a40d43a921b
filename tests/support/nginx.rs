//! nginx as a process of its own, configured as `examples/nginx/nginx.conf` shows, in front of proxies of a test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::not_run;

/// Of this only the addresses are replaced, and where nginx writes.
const EXAMPLE: &str = include_str!("../../examples/nginx/nginx.conf");
/// Longest wait for it to listen.
const START: Duration = Duration::from_secs(10);

/// It ends when dropped.
pub struct Nginx {
    /// Where clients connect to.
    pub address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

/// A loopback address that no other process uses: what is free there stays free while a server restarts, as neither
/// clients' connections nor other tests take ports of it.
pub fn own_loopback() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low)
}

/// A port of it that is free.
pub fn own_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind((own_loopback(), 0)).expect("some port is free");
    listener.local_addr().expect("a bound socket has an address")
}

impl Nginx {
    /// Starts it in front of these proxies. `None`: it is not installed, and a line has said so.
    pub fn start(proxies: &[SocketAddr]) -> Option<Self> {
        let Some(program) = program() else {
            not_run("nginx is not installed (Debian: apt-get install nginx-light)");
            return None;
        };
        let address = own_port();
        let folder = std::env::temp_dir().join(format!("lw-nginx-{}-{}", std::process::id(), address.port()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(&folder, address, proxies)).expect("a file can be written");
        let child = Command::new(program).arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut nginx = Self { address, child: child.expect("nginx can be started"), folder };
        let until = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            let ended = nginx.child.try_wait().expect("it can be looked at");
            assert!(ended.is_none() && Instant::now() < until, "{ended:?}: {}", nginx.errors());
            std::thread::yield_now();
        }
        Some(nginx)
    }

    /// Its log of errors: one line for each try that failed, also where the next one succeeded.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.join("error.log")).unwrap_or_default()
    }

    /// How often a proxy that does not listen was tried.
    pub fn refusals(&self) -> usize {
        self.errors().matches("Connection refused").count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn program() -> Option<PathBuf> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].iter().map(PathBuf::from).find(|at| at.is_file())
}

/// The example, in the foreground and as one process, which leaves nothing behind when it is killed.
fn configuration(folder: &std::path::Path, address: SocketAddr, proxies: &[SocketAddr]) -> String {
    let at = folder.display();
    let servers: String = proxies.iter().map(|proxy| format!("    server {proxy} max_fails=0;\n")).collect();
    let mut text = format!("daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/error.log error;\n");
    for line in EXAMPLE.lines() {
        match line.trim() {
            "server proxy-a:8080 max_fails=0;" => text.push_str(&servers),
            "server proxy-b:8080 max_fails=0;" => {}
            "listen 8080;" => text.push_str(&format!("    listen {address};\n")),
            "http {" => text.push_str(&format!(
                "http {{\n  access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n  \
                 fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n"
            )),
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    assert!(text.contains(&servers) && text.contains(&address.to_string()), "the example has other lines now");
    text
}
