//! An HTTP server in this process that answers as it is told, misbehaviour included.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part, and a broken server is a failed test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut_at: Option<usize>,
    pause: Duration,
    drip: Option<Duration>,
    has_length: bool,
}

impl Reply {
    /// An answer with a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut_at: None,
            pause: Duration::ZERO,
            drip: None,
            has_length: true,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }

    /// Announces the whole body, but closes the connection after `bytes` of it.
    pub fn cut_at(mut self, bytes: usize) -> Reply {
        self.cut_at = Some(bytes);
        self
    }

    /// Leaves out the length of the body, which ends with the connection.
    pub fn without_length(mut self) -> Reply {
        self.has_length = false;
        self
    }

    /// Waits before the body.
    pub fn pause(mut self, pause: Duration) -> Reply {
        self.pause = pause;
        self
    }

    /// Sends one byte at a time, and waits before each.
    pub fn drip(mut self, pause: Duration) -> Reply {
        self.drip = Some(pause);
        self
    }

    /// The part of the body that a `Range` header asks for, as a correct server sends it.
    pub fn ranged(mut self, request: &Received) -> Reply {
        let range = request.header("range").and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        if let Some(start) = range {
            let total = self.body.len();
            if start >= total {
                return Reply::new(416, "");
            }
            self.status = 206;
            self.body.drain(..start);
            let last = total - 1;
            return self.header("Content-Range", format!("bytes {start}-{last}/{total}"));
        }
        self
    }
}

/// The server; dropping it ends it.
pub struct FakeRegistry {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Received>>>,
    is_stopping: Arc<AtomicBool>,
}

impl FakeRegistry {
    /// Starts a server on loopback that answers with `handler`.
    pub fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> FakeRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let handler = Arc::new(handler);
        thread::spawn({
            let (requests, is_stopping) = (requests.clone(), is_stopping.clone());
            move || {
                for stream in listener.incoming().flatten() {
                    if is_stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    let (requests, handler) = (requests.clone(), handler.clone());
                    thread::spawn(move || serve(stream, &requests, &*handler));
                }
            }
        });
        FakeRegistry {
            address,
            requests,
            is_stopping,
        }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// Methods and targets of all requests so far.
    pub fn log(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| format!("{} {}", request.method, request.target))
            .collect()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        // Wakes the accept call.
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves one request per connection. A client that disconnects is no failure.
fn serve(
    mut stream: TcpStream,
    requests: &Mutex<Vec<Received>>,
    handler: &dyn Fn(&Received) -> Reply,
) {
    let Some(request) = receive(&stream) else {
        return;
    };
    requests.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    if reply.has_length {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let end = reply.cut_at.unwrap_or(reply.body.len());
    let _ = stream.write_all(head.as_bytes());
    thread::sleep(reply.pause);
    let Some(pause) = reply.drip else {
        let _ = stream.write_all(&reply.body[..end]);
        return;
    };
    for byte in &reply.body[..end] {
        thread::sleep(pause);
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
}

fn receive(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        method,
        target,
        headers,
        body,
    })
}
