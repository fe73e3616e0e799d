//! Layers being downloaded, from which a container can be unpacked meanwhile.
//!
//! The pull announces what it has, and readers wait for it. A reader may get bytes that later turn
//! out to be wrong. So a container that is made from them must not be used before the pull has
//! succeeded.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::oci::{DiffId, Digest, ImageConfig};

/// What a pull has so far, shared by the thread that pulls and those that read.
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

/// What the image of a pull consists of, known before its layers are there.
#[derive(Clone, Debug)]
pub struct PendingContent {
    /// The configuration document.
    pub config_bytes: Vec<u8>,
    /// The layers, base first, with the digests of their uncompressed bytes where those are known.
    pub layers: Vec<(Digest, Option<DiffId>)>,
}

/// A blob that is being downloaded, or has been.
#[derive(Clone, Debug)]
struct Download {
    /// The file it is in now.
    path: PathBuf,
    available: Available,
    /// How often the download has discarded what it had and begun again.
    restarts: u32,
}

/// How much of a blob can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Available {
    /// So many bytes, from its beginning.
    Bytes(u64),
    /// All of it.
    Whole,
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
    pub(super) fn announce_content(&self, config_bytes: Vec<u8>, layers: &[Digest]) {
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

    /// The first `bytes` bytes of a blob are in the file at `path`.
    pub(super) fn announce_bytes(&self, digest: &Digest, path: &Path, bytes: u64) {
        self.announce(digest, path, Available::Bytes(bytes));
    }

    /// A blob is whole and has its name.
    pub(super) fn announce_whole(&self, digest: &Digest, path: &Path) {
        self.announce(digest, path, Available::Whole);
    }

    fn announce(&self, digest: &Digest, path: &Path, available: Available) {
        self.change(|state| {
            let known = state.blobs.get(digest);
            let download = Download {
                path: path.to_path_buf(),
                available,
                restarts: known.map_or(0, |known| known.restarts),
            };
            state.blobs.insert(digest.clone(), download);
        });
    }

    /// The download of a blob begins again.
    pub(super) fn announce_restart(&self, digest: &Digest) {
        self.change(|state| {
            if let Some(download) = state.blobs.get_mut(digest) {
                download.available = Available::Bytes(0);
                download.restarts += 1;
            }
        });
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.change(|state| state.has_ended = true);
    }

    /// Waits until the content of the image is known; `None` if the pull fails, or the image is of
    /// an old form.
    pub fn wait_for_content(&self) -> Option<PendingContent> {
        let state = self.lock();
        let state = self
            .changed
            .wait_while(state, |state| state.content.is_none() && !state.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.content.clone()
    }

    /// Waits until some bytes of a blob are there, and opens it.
    ///
    /// # Errors
    /// The pull ended without the blob, or its file cannot be opened.
    pub fn open(&self, digest: &Digest) -> io::Result<DownloadReader<'_>> {
        let mut download = self.wait_for(digest, |_| true)?;
        let file = match File::open(&download.path) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && download.available != Available::Whole =>
            {
                // It has just been renamed, which will be announced.
                download = self.wait_for(digest, |_| false)?;
                File::open(&download.path)?
            }
            opened => opened?,
        };
        Ok(DownloadReader {
            downloads: self,
            digest: digest.clone(),
            file,
            offset: 0,
            restarts: download.restarts,
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
                Some(download) if download.available == Available::Whole || is_enough(download) => {
                    return Ok(download.clone());
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

/// Reads a blob, and waits for bytes that have not been downloaded yet.
#[derive(Debug)]
pub struct DownloadReader<'a> {
    downloads: &'a Downloads,
    digest: Digest,
    file: File,
    offset: u64,
    restarts: u32,
}

impl Read for DownloadReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (offset, restarts) = (self.offset, self.restarts);
        let download = self.downloads.wait_for(&self.digest, |download| {
            download.available > Available::Bytes(offset) || download.restarts != restarts
        })?;
        if download.restarts != restarts {
            return Err(io::Error::other("the download began again"));
        }
        let wanted = match download.available {
            Available::Whole => buffer.len(),
            Available::Bytes(bytes) => {
                usize::try_from(bytes - offset).map_or(buffer.len(), |left| buffer.len().min(left))
            }
        };
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
    fn reader_follows_the_writer_to_the_end() {
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
                downloads.announce_bytes(&digest, &path, total);
            }
            downloads.announce_whole(&digest, &path);
            downloads.end();
            assert_eq!(reader.join().unwrap().unwrap(), "hello world");
        });
    }

    #[test]
    fn a_download_that_fails_or_begins_again_ends_the_reader() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, "abc").unwrap();
        let digest = Digest::of(b"abcdef");
        for fail in [
            (|downloads: &Downloads, _: &Digest| downloads.end()) as fn(&Downloads, &Digest),
            |downloads, digest| downloads.announce_restart(digest),
        ] {
            let downloads = Downloads::default();
            downloads.announce_bytes(&digest, &path, 3);
            let mut blob = downloads.open(&digest).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(blob.read(&mut buffer).unwrap(), 3);
            fail(&downloads, &digest);
            assert!(blob.read(&mut buffer).is_err());
        }
    }

    #[test]
    fn published_blob_is_found_under_its_final_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, "abc").unwrap();
        let digest = Digest::of(b"abc");
        let downloads = Downloads::default();
        downloads.announce_bytes(&digest, &directory.path().join("moved"), 3);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut text = String::new();
                downloads.open(&digest)?.read_to_string(&mut text)?;
                io::Result::Ok(text)
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            downloads.announce_whole(&digest, &path);
            assert_eq!(reader.join().unwrap().unwrap(), "abc");
        });
    }

    #[test]
    fn readers_do_not_wait_after_the_end() {
        let downloads = Downloads::default();
        downloads.end();
        assert!(downloads.wait_for_content().is_none());
        assert!(downloads.open(&Digest::of(b"x")).is_err());
    }
}
