//! Archives on the command line: files, or `-` for stdin and stdout.

use std::convert::Infallible;
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;

use super::{CommandError, Context};
use crate::host::fs::FsError;
use crate::host::new_file::NewFile;

/// Buffer size. It collects headers and small files, which would cost a system call each.
const BUFFER_BYTES: usize = 256 * 1024;

/// The source or destination of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArchivePath {
    /// `-`: stdin or stdout.
    Standard,
    /// A file or directory.
    Path(PathBuf),
}

impl FromStr for ArchivePath {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<ArchivePath, Infallible> {
        Ok(match text {
            "-" => ArchivePath::Standard,
            path => ArchivePath::Path(PathBuf::from(path)),
        })
    }
}

impl ArchivePath {
    /// Opens the archive for reading, and returns its name for messages.
    pub(super) fn open(&self) -> Result<(File, String), CommandError> {
        match self {
            ArchivePath::Path(path) => {
                let file = File::open(path).map_err(FsError::at("open", path));
                let file = file.map_err(CommandError::from_error)?;
                let label = path.file_name().unwrap_or(path.as_os_str());
                Ok((file, label.to_string_lossy().escape_debug().to_string()))
            }
            ArchivePath::Standard => {
                let stdin = std::io::stdin().as_fd().try_clone_to_owned();
                let stdin = stdin.map_err(|error| {
                    CommandError::failed(format_args!("cannot read standard input: {error}"))
                })?;
                Ok((File::from(stdin), "standard input".to_string()))
            }
        }
    }

    /// Lets `write` write the archive. A file appears when it is complete; an existing one is
    /// replaced only if `replace` is set.
    pub(super) fn write(
        &self,
        context: &Context,
        replace: bool,
        write: impl FnOnce(BufWriter<&File>) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        match self {
            ArchivePath::Standard => {
                let stdout = context.printer.binary_out()?.ok_or_else(|| {
                    CommandError::usage("cannot write an archive to a terminal")
                        .with_hint("name a file with `-o FILE`, or redirect the output")
                })?;
                write(BufWriter::with_capacity(BUFFER_BYTES, &stdout))
            }
            ArchivePath::Path(path) => {
                let file = NewFile::create(path).map_err(CommandError::from_error)?;
                if !replace && file.replaces() {
                    return Err(CommandError::failed(format_args!(
                        "there is a file '{}' already",
                        path.display()
                    )));
                }
                write(BufWriter::with_capacity(BUFFER_BYTES, file.file())).map_err(|error| {
                    error.while_doing(format_args!("cannot write '{}'", path.display()))
                })?;
                file.publish(replace).map_err(CommandError::from_error)
            }
        }
    }
}

/// Returns the size of a regular file; `None` for pipes and other files.
pub(super) fn size_of(file: &File) -> Option<u64> {
    let meta = file.metadata().ok()?;
    meta.is_file().then_some(meta.len())
}
