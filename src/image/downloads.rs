//! Layers on their way: a container can be unpacked from them while they are still downloaded.
//!
//! The pull tells what it has, and readers wait for it. A reader may see bytes that later turn
//! out wrong; so what is made of them must not be used before the pull has ended well.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::oci::{DiffId, Digest, ImageConfig};

/// What a pull has so far; shared by the one who pulls and those who read.
#[derive(Debug, Default)]
pub struct Downloads {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    content: Option<PendingContent>,
    blobs: HashMap<Digest, Download>,
    has_ended: bool,
}

/// What the image will consist of, known before its layers are there.
#[derive(Clone, Debug)]
pub struct PendingContent {
    /// The configuration document.
    pub config_bytes: Vec<u8>,
    /// The layers, base first, with the digests of their uncompressed bytes where those are known.
    pub layers: Vec<(Digest, Option<DiffId>)>,
}

/// How much of a blob is there.
#[derive(Clone, Debug)]
struct Download {
    /// The file it is in now.
    path: PathBuf,
    bytes: u64,
    is_whole: bool,
    /// How often it was begun anew, whatever had been there.
    restarts: u32,
}

impl Downloads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// The manifest and the configuration are there.
    pub(super) fn has_content(&self, config_bytes: Vec<u8>, layers: &[Digest]) {
        let Ok(config) = ImageConfig::parse(&config_bytes) else {
            return;
        };
        let diff_ids = config.diff_ids_of(layers.len());
        let layers = layers.iter().cloned().zip(diff_ids).collect();
        self.change(|state| {
            state.content = Some(PendingContent {
                config_bytes,
                layers,
            });
        });
    }

    /// A blob has so many bytes in this file.
    pub(super) fn has_bytes(&self, digest: &Digest, path: &Path, bytes: u64) {
        self.change(|state| {
            let arrival = state.blobs.entry(digest.clone()).or_insert(Download {
                path: path.to_path_buf(),
                bytes,
                is_whole: false,
                restarts: 0,
            });
            arrival.bytes = bytes;
        });
    }

    /// A blob begins anew.
    pub(super) fn has_restarted(&self, digest: &Digest) {
        self.change(|state| {
            if let Some(arrival) = state.blobs.get_mut(digest) {
                arrival.bytes = 0;
                arrival.restarts += 1;
            }
        });
    }

    /// A blob is whole and has its name.
    pub(super) fn is_whole(&self, digest: &Digest, path: &Path) {
        self.change(|state| {
            let arrival = state.blobs.entry(digest.clone()).or_insert(Download {
                path: path.to_path_buf(),
                bytes: 0,
                is_whole: true,
                restarts: 0,
            });
            arrival.is_whole = true;
            arrival.path = path.to_path_buf();
        });
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.change(|state| state.has_ended = true);
    }

    /// Waits until the image's content is known; `None` if that is never, because the pull failed
    /// or the image is of an old form.
    pub fn wait_for_content(&self) -> Option<PendingContent> {
        let state = self.lock();
        let state = self
            .changed
            .wait_while(state, |state| state.content.is_none() && !state.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.content.clone()
    }

    /// Waits until something of a blob is there, and opens it.
    ///
    /// # Errors
    /// The pull ended without it, or it cannot be opened.
    pub fn open(&self, digest: &Digest) -> io::Result<BlobReader<'_>> {
        let mut arrival = self.wait_for(digest, |_| true)?;
        let file = match File::open(&arrival.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !arrival.is_whole => {
                // It has just got its name, and is about to tell.
                arrival = self.wait_for(digest, |_| false)?;
                File::open(&arrival.path)?
            }
            opened => opened?,
        };
        Ok(BlobReader {
            downloads: self,
            digest: digest.clone(),
            file,
            offset: 0,
            restarts: arrival.restarts,
        })
    }

    fn wait_for(
        &self,
        digest: &Digest,
        is_enough: impl Fn(&Download) -> bool,
    ) -> io::Result<Download> {
        let mut state = self.lock();
        loop {
            match state.blobs.get(digest) {
                Some(arrival) if arrival.is_whole || is_enough(arrival) => {
                    return Ok(arrival.clone());
                }
                _ if state.has_ended => return Err(io::Error::other("the download failed")),
                _ => {}
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Reads a blob, waiting where it has not arrived yet.
#[derive(Debug)]
pub struct BlobReader<'a> {
    downloads: &'a Downloads,
    digest: Digest,
    file: File,
    offset: u64,
    restarts: u32,
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (offset, restarts) = (self.offset, self.restarts);
        let arrival = self.downloads.wait_for(&self.digest, |arrival| {
            arrival.bytes > offset || arrival.restarts != restarts
        })?;
        if arrival.restarts != restarts {
            return Err(io::Error::other("the download began anew"));
        }
        let available = if arrival.is_whole {
            buffer.len()
        } else {
            usize::try_from(arrival.bytes - offset).unwrap_or(buffer.len())
        };
        let wanted = buffer.len().min(available);
        let count = self.file.read_at(&mut buffer[..wanted], offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_reader_follows_the_writer_to_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        let digest = Digest::of(b"hello world");
        let downloads = Downloads::default();
        let mut file = File::create(&path).unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut text = String::new();
                downloads.open(&digest)?.read_to_string(&mut text)?;
                io::Result::Ok(text)
            });
            for (part, total) in [("hello ", 6), ("world", 11)] {
                file.write_all(part.as_bytes()).unwrap();
                downloads.has_bytes(&digest, &path, total);
            }
            downloads.is_whole(&digest, &path);
            downloads.end();
            assert_eq!(reader.join().unwrap().unwrap(), "hello world");
        });
    }

    #[test]
    fn a_download_that_fails_or_begins_anew_ends_the_reader() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, "abc").unwrap();
        let digest = Digest::of(b"abcdef");
        for fail in [
            (|downloads: &Downloads, _: &Digest| downloads.end()) as fn(&Downloads, &Digest),
            |downloads, digest| downloads.has_restarted(digest),
        ] {
            let downloads = Downloads::default();
            downloads.has_bytes(&digest, &path, 3);
            let mut blob = downloads.open(&digest).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(blob.read(&mut buffer).unwrap(), 3);
            fail(&downloads, &digest);
            assert!(blob.read(&mut buffer).is_err());
        }
    }

    #[test]
    fn a_blob_that_gets_its_name_meanwhile_is_found_under_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, "abc").unwrap();
        let digest = Digest::of(b"abc");
        let downloads = Downloads::default();
        downloads.has_bytes(&digest, &directory.path().join("moved"), 3);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut text = String::new();
                downloads.open(&digest)?.read_to_string(&mut text)?;
                io::Result::Ok(text)
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            downloads.is_whole(&digest, &path);
            assert_eq!(reader.join().unwrap().unwrap(), "abc");
        });
    }

    #[test]
    fn nobody_waits_for_what_never_comes() {
        let downloads = Downloads::default();
        downloads.end();
        assert!(downloads.wait_for_content().is_none());
        assert!(downloads.open(&Digest::of(b"x")).is_err());
    }
}
