//! Blobs: streamed into a sink, checked on the way, resumed where the connection broke.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use reqwest::StatusCode;
use url::Url;

use crate::oci::{Descriptor, RegistryUrl};
use crate::progress::{Silent, Task};
use crate::stream::BackgroundHasher;

use super::auth::Scope;
use super::client::at;
use super::transport::{Request, Response};
use super::{BlobFault, Client, RegistryError, Unreachable};

/// What is read from the network at once; large enough to make the calls in between vanish.
const BUFFER_BYTES: usize = 256 * 1024;

/// How many buffers may wait to be written.
const READ_AHEAD_BUFFERS: usize = 4;

/// So much progress makes up for a failed try, so that a large blob over a bad line gets through
/// while a server that sends a byte at a time does not keep us forever.
const REWARDED_BYTES: u64 = 1 << 20;

/// So much has to come in the time that a whole document may take, or the line counts as broken.
const LEAST_BYTES: u64 = 64 * 1024;

/// Where the bytes of a blob go. It need not check them.
pub trait BlobSink: Send {
    /// The bytes that are there already, from the blob's beginning; they are hashed and not
    /// fetched again. Called once, before anything is written.
    ///
    /// # Errors
    /// They cannot be read.
    fn existing(&mut self) -> io::Result<Box<dyn Read + '_>>;

    /// Appends bytes.
    ///
    /// # Errors
    /// They cannot be kept.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Forgets all bytes.
    ///
    /// # Errors
    /// That fails.
    fn restart(&mut self) -> io::Result<()>;
}

/// Keeps a blob in memory.
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
    /// Fetches a blob into `sink`. On success the sink holds exactly the bytes the descriptor
    /// names.
    ///
    /// Bytes that are in the sink already are kept, and only the rest is fetched. A download that
    /// breaks off goes on where it stopped. Bytes that turn out wrong are fetched once more from
    /// the beginning. A foreign layer that the registry does not have is fetched from its `urls`,
    /// without any login.
    ///
    /// # Errors
    /// `Blob` where the bytes are wrong, `Interrupted` where the line does not hold, `Sink` where
    /// they cannot be kept; else as any request.
    pub fn fetch_blob(
        &self,
        registry: &RegistryUrl,
        repository: &str,
        descriptor: &Descriptor,
        sink: &mut dyn BlobSink,
        task: &dyn Task,
    ) -> Result<(), RegistryError> {
        Download {
            client: self,
            registry,
            repository,
            descriptor,
            hasher: BackgroundHasher::new(descriptor.digest.algorithm()),
            received: 0,
            sink,
            task,
        }
        .run()
    }

    /// Fetches a blob into memory. The caller has checked that its size is modest.
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
    client: &'a Client,
    registry: &'a RegistryUrl,
    repository: &'a str,
    descriptor: &'a Descriptor,
    hasher: BackgroundHasher,
    received: u64,
    sink: &'a mut dyn BlobSink,
    task: &'a dyn Task,
}

/// How one answer ended.
enum BodyEnd {
    /// Its end was reached.
    Complete,
    /// The connection broke.
    Broken { url: String, source: Unreachable },
    /// The bytes cannot be the blob's.
    Faulty(BlobFault),
}

impl Download<'_> {
    fn run(mut self) -> Result<(), RegistryError> {
        self.take_existing()?;
        let mut is_second_chance = false;
        let mut retry = 0;
        // What comes again, since the server cannot go on where it stopped, is no progress.
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
                    let policy = &self.client.transport.options().retry;
                    let Some(delay) = policy.delay(retry, None) else {
                        return Err(RegistryError::Interrupted {
                            digest: self.descriptor.digest.clone(),
                            url,
                            received: self.received,
                            source,
                        });
                    };
                    thread::sleep(delay);
                    retry += 1;
                    continue;
                }
                BodyEnd::Complete => match self.check() {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault,
                },
                BodyEnd::Faulty(fault) => fault,
            };
            // Whatever is wrong is not kept, so that the next try does not build on it.
            self.restart()?;
            if is_second_chance {
                return Err(RegistryError::Blob {
                    registry: self.registry.clone(),
                    digest: self.descriptor.digest.clone(),
                    fault,
                });
            }
            is_second_chance = true;
        }
    }

    /// Hashes what the sink has. More than the blob can hold is thrown away.
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

    /// Asks for the bytes that are missing.
    fn open(&self) -> Result<Response, RegistryError> {
        let scope = Scope::Repository(self.repository);
        let path = format!("/v2/{}/blobs/{}", self.repository, self.descriptor.digest);
        let range_from = (self.received > 0).then_some(self.received);
        let response = self.client.send(self.registry, scope, &|base| Request {
            range_from,
            ..Request::get(at(base, &path))
        })?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            StatusCode::NOT_FOUND if !self.descriptor.urls.is_empty() => self.open_foreign(),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound {
                registry: self.registry.clone(),
                what: self.descriptor.digest.to_string(),
                message: String::new(),
            }),
            _ => self.client.expect_success(self.registry, scope, response),
        }
    }

    fn open_foreign(&self) -> Result<Response, RegistryError> {
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
                range_from: (self.received > 0).then_some(self.received),
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

    fn receive(&mut self, mut response: Response) -> Result<BodyEnd, RegistryError> {
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // The server's blob ends before what we have of it.
            return Ok(BodyEnd::Faulty(BlobFault::TooShort {
                expected: self.descriptor.size.unwrap_or(self.received + 1),
                found: self.received,
            }));
        }
        if self.received > 0 && !continues_at(&response, self.received) {
            self.restart()?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                // Some other part of it, which is of no use.
                response = self.open()?;
            }
        }
        let url = response.shown_url();
        let patience = response.patience();
        let mut last_look = (Instant::now(), self.received);
        let (filled, arriving) = sync_channel(READ_AHEAD_BUFFERS);
        let (emptied, empty) = channel();
        thread::spawn(move || read_ahead(response, &filled, &empty));
        for read in arriving {
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
            // The body may have ended; then nobody needs it.
            let _ = emptied.send(self.hasher.update(buffer, count));
            self.received = total;
            self.task.advance(count as u64);
            if last_look.0.elapsed() > patience {
                if total - last_look.1 < LEAST_BYTES {
                    let source = Unreachable::TooSlow(patience);
                    return Ok(BodyEnd::Broken { url, source });
                }
                last_look = (Instant::now(), total);
            }
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

/// A buffer and how many of its bytes were read, or why no more can be.
type Piece = Result<(Vec<u8>, usize), Unreachable>;

/// Reads a body to its end, or until nobody wants more, while what came before is written.
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

/// Whether the answer begins where we stopped. A server that ignores `Range` sends 200 and all.
fn continues_at(response: &Response, offset: u64) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
        && response
            .header("content-range")
            .and_then(range_start)
            .is_some_and(|start| start == offset)
}

/// The first number of `bytes 5-9/10`.
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
    fn ranges_are_read() {
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
