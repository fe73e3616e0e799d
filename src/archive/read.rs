//! Copying all files of an archive to files of the caller.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::OFlags;
use tar::EntryType;

use super::contents::{Contents, Part, digest_in_path, inside};
use super::error::ArchiveError;
use crate::host::fs::FsError;
use crate::host::space::{self, Need, Room};
use crate::oci::{Algorithm, Digest};
use crate::stream::{copy_hashed, decompress};

/// The files that list the images; an archive has one of these.
const LISTS: [&str; 3] = ["manifest.json", "index.json", "repositories"];

/// How many directories a layout has above its blobs.
const DEPTH_MAX: usize = 4;

/// Reads a tar archive, compressed or not, to its end. `new_file` returns new empty files for its
/// content, with their paths.
///
/// # Errors
/// Those of `new_file`; `ArchiveError::Read`, `NotTar` or `Truncated` if the archive cannot be
/// read; `Escapes` or `TooMuch` if it is refused; `Keep` if a file cannot be copied.
pub fn read_tar<E: From<ArchiveError>>(
    source: impl Read + Send,
    mut new_file: impl FnMut() -> Result<(PathBuf, File), E>,
) -> Result<Contents, E> {
    let (_, plain) = decompress(source).map_err(ArchiveError::Read)?;
    let headers = Rc::new(Cell::new(0));
    let mut archive = tar::Archive::new(LimitedReader {
        inner: plain,
        left: Rc::clone(&headers),
    });
    let mut contents = Contents::default();
    let mut entries = archive.entries().map_err(unreadable)?;
    // The bytes of the last member, if it is skipped.
    let mut skipped = 0;
    loop {
        headers.set(HEADERS_MAX_BYTES.saturating_add(skipped));
        let Some(entry) = entries.next() else { break };
        headers.set(u64::MAX);
        let mut entry = entry.map_err(unreadable)?;
        skipped = entry.header().entry_size().unwrap_or_default();
        let path = path_of(&entry.path_bytes())?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (place, mut file) = new_file()?;
                let declared = entry.size();
                skipped = 0;
                let part = copy(&path, place, declared, &mut entry, &mut file)?;
                if part.size < declared {
                    let name = path.escape_debug().to_string();
                    return Err(ArchiveError::Truncated(name).into());
                }
                contents.add_file(part)?;
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                if entry.header().entry_type() == EntryType::Symlink {
                    contents.add_symlink(path, &target)?;
                } else {
                    contents.add_hard_link(path, &target)?;
                }
            }
            _ => {}
        }
    }
    headers.set(u64::MAX);
    // The end of the compressed data has a checksum.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ArchiveError::Read)?;
    Ok(contents)
}

/// The most bytes between two members: headers and their extensions. Names take far less.
const HEADERS_MAX_BYTES: u64 = 1 << 20;

/// Reads no more than `left` bytes: the `tar` crate keeps extensions of headers in memory, whatever
/// their size.
struct LimitedReader<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the header of a member is larger than {HEADERS_MAX_BYTES} bytes"),
            ));
        }
        let limit = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..limit])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

/// The `tar` crate's own errors are of kind `Other`, and quote the archive. All other kinds are
/// errors of reading.
fn unreadable(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::Other => ArchiveError::NotTar,
        _ => ArchiveError::Read(error),
    }
}

/// The path of a member. One that leads out of the archive is refused: no file would be written
/// there, but the archive has been made to do harm.
fn path_of(bytes: &[u8]) -> Result<String, ArchiveError> {
    let text = String::from_utf8_lossy(bytes);
    let has_dots = text.split('/').any(|component| component == "..");
    if has_dots || text.starts_with('/') {
        return Err(ArchiveError::Escapes(text.escape_debug().to_string()));
    }
    Ok(inside(&text).unwrap_or_default())
}

/// Reads an unpacked archive, such as an OCI layout, without following symbolic links. `new_file`
/// returns new empty files for the copies, with their paths.
///
/// # Errors
/// Those of `new_file`; `ArchiveError::Fs` or `Read` if a directory or file cannot be read;
/// `TooMuch` if there are too many; `Keep` if a file cannot be copied.
pub fn read_directory<E: From<ArchiveError>>(
    directory: &Path,
    mut new_file: impl FnMut() -> Result<(PathBuf, File), E>,
) -> Result<Contents, E> {
    let mut contents = Contents::default();
    // All files are copied, so a directory that is no archive is left alone.
    if !has_list(directory).map_err(ArchiveError::from)? {
        return Ok(contents);
    }
    let mut pending = vec![(directory.to_path_buf(), String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        let at = |error| ArchiveError::from(FsError::at("list", &directory)(error));
        for entry in fs::read_dir(&directory).map_err(at)? {
            let at = |error| ArchiveError::from(FsError::at("list", &directory)(error));
            let entry = entry.map_err(at)?;
            let kind = entry.file_type().map_err(at)?;
            let place = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() && name.split('/').count() < DEPTH_MAX {
                pending.push((place, format!("{name}/")));
            } else if kind.is_symlink() {
                let at = FsError::at("read link", &place);
                let target = fs::read_link(&place)
                    .map_err(at)
                    .map_err(ArchiveError::from)?;
                contents.add_symlink(name, &target.to_string_lossy())?;
            } else if kind.is_file() {
                let mut source = open(&place).map_err(ArchiveError::from)?;
                let size = source.metadata().map_or(0, |meta| meta.len());
                let (path, mut file) = new_file()?;
                contents.add_file(copy(&name, path, size, &mut source, &mut file)?)?;
            }
        }
    }
    Ok(contents)
}

fn has_list(directory: &Path) -> Result<bool, FsError> {
    for list in LISTS {
        let path = directory.join(list);
        if path.try_exists().map_err(FsError::at("examine", &path))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open(path: &Path) -> Result<File, FsError> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(FsError::at("open", path))
}

/// Copies a file of the archive, which should have `declared_bytes`, to `place`.
fn copy(
    name: &str,
    place: PathBuf,
    declared_bytes: u64,
    source: &mut impl Read,
    file: &mut File,
) -> Result<Part, ArchiveError> {
    let directory = place.parent().unwrap_or(Path::new("."));
    let cannot_copy = |source| ArchiveError::Keep {
        name: name.escape_debug().to_string(),
        path: place.clone(),
        source,
    };
    let need = Need {
        bytes: declared_bytes,
        files: 0,
    };
    space::require(directory, need).map_err(|error| cannot_copy(error.source))?;
    let room = Room::at(directory);
    let mut target = Target {
        file,
        failure: None,
    };
    let algorithm =
        digest_in_path(name).map_or(Algorithm::Sha256, |digest| Digest::algorithm(&digest));
    let copied = copy_hashed(source, &mut target, algorithm);
    if let Some(error) = target.failure {
        return Err(cannot_copy(room.explain(error, Some(declared_bytes))));
    }
    let (digest, size) = copied.map_err(|error| {
        ArchiveError::Read(io::Error::new(
            error.kind(),
            format!("'{}': {error}", name.escape_debug()),
        ))
    })?;
    Ok(Part {
        name: name.into(),
        path: place,
        digest,
        size,
    })
}

/// A file that records the error of writing it, since the error of a copy may be that of either
/// side.
struct Target<'a> {
    file: &'a mut File,
    failure: Option<io::Error>,
}

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                let code = error.raw_os_error().unwrap_or_default();
                self.failure = Some(io::Error::from_raw_os_error(code));
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_that_may_not_be_entered_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        fs::create_dir(&layout).unwrap();
        fs::write(layout.join("index.json"), "{}").unwrap();
        fs::set_permissions(&layout, fs::Permissions::from_mode(0o600)).unwrap();
        // Root may enter it all the same.
        if layout.join("index.json").try_exists().is_err() {
            let new_file = || -> Result<_, ArchiveError> { panic!("there is nothing to copy") };
            let error = read_directory(&layout, new_file).unwrap_err().to_string();
            assert!(error.contains("Permission denied"), "{error}");
        }
        fs::set_permissions(&layout, fs::Permissions::from_mode(0o700)).unwrap();
    }
}
