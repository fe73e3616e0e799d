//! Blob downloads: written to a sink, checked on the way, resumed after a broken connection.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use url::Url;

use crate::oci::{Descriptor, RegistryUrl};
use crate::progress::{Silent, Task};
use crate::stream::BackgroundHasher;

use super::auth::Scope;
use super::client::endpoint;
use super::transport::{Content, Request, Response};
use super::{BlobFault, Client, RegistryError, Unreachable};

/// Size of one read from the network; large enough that the cost of the calls does not matter.
const BUFFER_BYTES: usize = 256 * 1024;

/// How many buffers may wait to be written.
const READ_AHEAD_BUFFERS: usize = 4;

/// A download that has progressed by so many bytes gets its retries back: a large blob gets through
/// over a bad connection, while a server that sends one byte at a time does not keep the client
/// busy for ever.
const REWARDED_BYTES: u64 = 1 << 20;

/// Fewer bytes than this within the longest allowed silence count as a broken connection.
const LEAST_BYTES: u64 = 64 * 1024;

/// How often a waiting download looks whether it is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The destination of a blob's bytes. It need not check them.
pub trait BlobSink: Send {
    /// Returns the bytes that are already present, from the blob's beginning. They are hashed and
    /// not fetched again. Called once, before anything is written.
    ///
    /// # Errors
    /// They cannot be read.
    fn existing(&mut self) -> io::Result<Box<dyn Read + '_>>;

    /// Appends bytes.
    ///
    /// # Errors
    /// They cannot be stored.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Discards all bytes.
    ///
    /// # Errors
    /// The sink cannot be emptied.
    fn restart(&mut self) -> io::Result<()>;

    /// Whether the download should go on. If not, it ends with an error soon, even while the server
    /// is silent.
    fn is_wanted(&self) -> bool {
        true
    }
}

/// A blob in memory.
impl BlobSink for Vec<u8> {
    fn existing(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.as_slice()))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Client {
    /// Fetches a blob into `sink`, which then holds exactly the bytes that the descriptor names.
    ///
    /// Only the bytes that the sink does not have yet are fetched. A download that breaks off is
    /// resumed. Wrong bytes are fetched once more from the beginning. A foreign layer that the
    /// registry does not have is fetched from its `urls`, without a login.
    ///
    /// # Errors
    /// `Blob` if the bytes are wrong, `Interrupted` if the connection keeps breaking, `Sink` if the
    /// bytes cannot be stored or are not wanted any more; else as for any request.
    pub fn fetch_blob(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        descriptor: &Descriptor,
        sink: &mut dyn BlobSink,
        task: &dyn Task,
    ) -> Result<(), RegistryError> {
        Download {
            source: Source {
                client: self.clone(),
                registry: registry.clone(),
                repository: repository.to_string(),
                descriptor: descriptor.clone(),
            },
            descriptor,
            hasher: BackgroundHasher::new(descriptor.digest.algorithm()),
            received: 0,
            sink,
            task,
        }
        .run()
    }

    /// Fetches a blob into memory. The caller has checked that it is small.
    pub(super) fn fetch_small_blob(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        self.fetch_blob(registry, repository, descriptor, &mut bytes, &Silent)?;
        Ok(bytes)
    }
}

struct Download<'a> {
    source: Source,
    descriptor: &'a Descriptor,
    hasher: BackgroundHasher,
    received: u64,
    sink: &'a mut dyn BlobSink,
    task: &'a dyn Task,
}

/// Where a blob comes from.
#[derive(Clone)]
struct Source {
    client: Client,
    registry: RegistryUrl,
    repository: String,
    descriptor: Descriptor,
}

/// How the body of one answer ended.
enum BodyEnd {
    /// The server sent all of it.
    Complete,
    /// The connection broke.
    Broken { url: String, source: Unreachable },
    /// The bytes do not belong to the blob.
    Faulty(BlobFault),
}

impl Download<'_> {
    fn run(mut self) -> Result<(), RegistryError> {
        self.take_existing()?;
        let mut is_second_chance = false;
        let mut retry = 0;
        // Bytes that come again, because the server cannot resume, are no progress.
        let mut rewarded = self.received;
        loop {
            let before = self.received;
            let outcome = if before > 0 && self.descriptor.size == Some(before) {
                BodyEnd::Complete
            } else {
                let response = self.open()?;
                self.receive(response)?
            };
            let fault = match outcome {
                BodyEnd::Broken { url, source } => {
                    if self.received.saturating_sub(rewarded) >= REWARDED_BYTES {
                        retry = 0;
                        rewarded = self.received;
                    }
                    let policy = &self.source.client.transport.options().retry;
                    let delay = policy
                        .delay(retry, None)
                        .filter(|_| retry < source.retries_worthwhile());
                    let Some(delay) = delay else {
                        return Err(RegistryError::Interrupted {
                            digest: self.descriptor.digest.clone(),
                            url,
                            received: self.received,
                            source,
                        });
                    };
                    self.wait_for(move || thread::sleep(delay))?;
                    retry += 1;
                    continue;
                }
                BodyEnd::Complete => match self.check() {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault,
                },
                BodyEnd::Faulty(fault) => fault,
            };
            // Wrong bytes are discarded, so that the next try does not build on them.
            self.restart()?;
            if is_second_chance {
                return Err(RegistryError::Blob {
                    registry: self.source.registry.clone(),
                    digest: self.descriptor.digest.clone(),
                    fault,
                });
            }
            is_second_chance = true;
        }
    }

    /// Hashes the bytes in the sink. If there are more than the blob has, they are discarded.
    fn take_existing(&mut self) -> Result<(), RegistryError> {
        let limit = self.descriptor.size.unwrap_or(u64::MAX);
        let hasher = &mut self.hasher;
        let outcome = self.sink.existing().and_then(|existing| {
            let mut existing = existing.take(limit.saturating_add(1));
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut taken = 0;
            loop {
                match existing.read(&mut buffer) {
                    Ok(0) => return Ok(taken),
                    Ok(count) => {
                        taken += count as u64;
                        buffer = hasher.update(buffer, count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        });
        let taken = outcome.map_err(|source| self.sink_error(source))?;
        if taken > limit {
            return self.restart();
        }
        self.received = taken;
        self.task.reset(taken);
        Ok(())
    }

    /// Requests the bytes that are missing.
    fn open(&self) -> Result<Response, RegistryError> {
        let (source, from) = (self.source.clone(), self.received);
        self.wait_for(move || source.open(from))?
    }

    /// Does `work` on a thread that is left alone when the bytes are not wanted any more.
    fn wait_for<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        let (done, outcome) = sync_channel(1);
        thread::spawn(move || done.send(work()));
        self.next(&outcome)?.ok_or_else(|| self.given_up())
    }

    /// Waits for what comes through a channel; `None` means its end.
    fn next<T>(&self, arriving: &Receiver<T>) -> Result<Option<T>, RegistryError> {
        while self.sink.is_wanted() {
            match arriving.recv_timeout(LOOK_INTERVAL) {
                Ok(next) => return Ok(Some(next)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Err(self.given_up())
    }

    fn given_up(&self) -> RegistryError {
        self.sink_error(io::Error::other("the download was given up"))
    }

    fn receive(&mut self, mut response: Response) -> Result<BodyEnd, RegistryError> {
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // The server's blob is shorter than what the sink has.
            return Ok(BodyEnd::Faulty(BlobFault::TooShort {
                expected: self.descriptor.size.unwrap_or(self.received + 1),
                found: self.received,
            }));
        }
        if self.received > 0 && !continues_at(&response, self.received) {
            self.restart()?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                // It is a different part of the blob.
                response = self.open()?;
            }
        }
        let url = response.shown_url();
        let time_limit = response.time_limit();
        let ends_with_connection = response.ends_with_connection();
        let mut last_look = (Instant::now(), self.received);
        let (filled, arriving) = sync_channel(READ_AHEAD_BUFFERS);
        let (emptied, empty) = channel();
        thread::spawn(move || read_ahead(response, &filled, &empty));
        while let Some(read) = self.next(&arriving)? {
            let (buffer, count) = match read {
                Ok(read) => read,
                Err(source) => return Ok(BodyEnd::Broken { url, source }),
            };
            let total = self.received + count as u64;
            if let Some(expected) = self.descriptor.size
                && total > expected
            {
                return Ok(BodyEnd::Faulty(BlobFault::TooLong { expected }));
            }
            self.sink
                .write(&buffer[..count])
                .map_err(|source| self.sink_error(source))?;
            // At the end of the body, the reader takes no more buffers.
            let _ = emptied.send(self.hasher.update(buffer, count));
            self.received = total;
            self.task.advance(count as u64);
            if last_look.0.elapsed() > time_limit {
                if total - last_look.1 < LEAST_BYTES {
                    let source = Unreachable::TooSlow(time_limit);
                    return Ok(BodyEnd::Broken { url, source });
                }
                last_look = (Instant::now(), total);
            }
        }
        if ends_with_connection
            && self
                .descriptor
                .size
                .is_some_and(|size| self.received < size)
        {
            let source = Unreachable::Body(io::ErrorKind::UnexpectedEof.into());
            return Ok(BodyEnd::Broken { url, source });
        }
        Ok(BodyEnd::Complete)
    }

    fn check(&mut self) -> Result<(), BlobFault> {
        if let Some(expected) = self.descriptor.size
            && self.received != expected
        {
            return Err(BlobFault::TooShort {
                expected,
                found: self.received,
            });
        }
        let found = self.hasher.finish();
        if found != self.descriptor.digest {
            return Err(BlobFault::Digest { found });
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), RegistryError> {
        self.sink
            .restart()
            .map_err(|source| self.sink_error(source))?;
        self.hasher.restart();
        self.received = 0;
        self.task.reset(0);
        Ok(())
    }

    fn sink_error(&self, source: io::Error) -> RegistryError {
        RegistryError::Sink {
            digest: self.descriptor.digest.clone(),
            source,
        }
    }
}

impl Source {
    /// Requests the bytes from number `from` on.
    fn open(&self, from: u64) -> Result<Response, RegistryError> {
        let scope = Scope::Repository(&self.repository);
        let path = format!("/v2/{}/blobs/{}", self.repository, self.descriptor.digest);
        let range_from = (from > 0).then_some(from);
        let response = self.client.send(&self.registry, scope, &|base| Request {
            content: Content::Blob,
            range_from,
            ..Request::get(endpoint(base, &path))
        })?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            StatusCode::NOT_FOUND if !self.descriptor.urls.is_empty() => {
                self.open_foreign(range_from)
            }
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound {
                registry: self.registry.clone(),
                what: self.descriptor.digest.to_string(),
                message: String::new(),
            }),
            _ => self.client.expect_success(&self.registry, scope, response),
        }
    }

    fn open_foreign(&self, range_from: Option<u64>) -> Result<Response, RegistryError> {
        let mut last_error = RegistryError::NotFound {
            registry: self.registry.clone(),
            what: self.descriptor.digest.to_string(),
            message: String::new(),
        };
        for url in &self.descriptor.urls {
            let Ok(url) = Url::parse(url) else { continue };
            if !matches!(url.scheme(), "http" | "https") {
                continue;
            }
            let request = Request {
                content: Content::Blob,
                range_from,
                ..Request::get(url)
            };
            let answer = self.client.transport.send(&request);
            match answer {
                Ok(response) if response.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                    return Ok(response);
                }
                answer => match answer.and_then(Response::into_failure) {
                    Ok(response) => return Ok(response),
                    Err(error) => last_error = error,
                },
            }
        }
        Err(last_error)
    }
}

/// A buffer and how many of its bytes were read, or why reading failed.
type Piece = Result<(Vec<u8>, usize), Unreachable>;

/// Reads a body ahead of the writer, until its end or until the writer stops.
fn read_ahead(mut response: Response, filled: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES]);
        let read = match response.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok((buffer, count)),
            Err(error) => Err(error),
        };
        let is_last = read.is_err();
        if filled.send(read).is_err() || is_last {
            return;
        }
    }
}

/// Whether the answer begins at `offset`. A server that ignores `Range` sends the whole blob with
/// status 200.
fn continues_at(response: &Response, offset: u64) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
        && response
            .header("content-range")
            .and_then(range_start)
            .is_some_and(|start| start == offset)
}

/// Reads the first number of `bytes 5-9/10`.
fn range_start(header: &str) -> Option<u64> {
    let (unit, rest) = header.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    rest.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_parsed() {
        for (header, expected) in [
            ("bytes 5-9/10", Some(5)),
            ("BYTES 0-1/*", Some(0)),
            ("bytes */10", None),
            ("lines 1-2/3", None),
            ("", None),
        ] {
            assert_eq!(range_start(header), expected, "{header}");
        }
    }
}
