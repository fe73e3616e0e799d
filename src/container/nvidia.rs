//! Copying the host's NVIDIA driver into a container, as udocker.py does.
//!
//! The libraries come from the host, since they have to match the driver in the kernel. They are
//! copied rather than bound, so that udocker.py finds them in the container, too.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::ContainerError;
use crate::host::fs::{FsError, open_beneath};
use crate::host::process;
use crate::store::Container;

/// A directory with one of these libraries holds the driver.
const MAIN_LIBRARIES: [&str; 2] = ["libnvidia-cfg.so", "libcuda.so"];

const LIBRARIES: [&str; 15] = [
    "libOpenCL.",
    "libcuda.",
    "libcudadebugger.",
    "libnvcuvid.",
    "libnvidia-cfg.",
    "libnvidia-compiler.",
    "libnvidia-encode.",
    "libnvidia-fatbinaryloader.",
    "libnvidia-fbc.",
    "libnvidia-ifr.",
    "libnvidia-ml.",
    "libnvidia-nvvm.",
    "libnvidia-opencl.",
    "libnvidia-ptxjitcompiler.",
    "libnvidia-tls.",
];

/// Further files, below the root of the host and of the container.
const OTHERS: [&str; 7] = [
    "etc/vulkan/icd.d/nvidia_icd.json",
    "etc/OpenCL/vendors/nvidia.icd",
    "usr/bin/nvidia-cuda-mps-control",
    "usr/bin/nvidia-cuda-mps-server",
    "usr/bin/nvidia-debugdump",
    "usr/bin/nvidia-persistenced",
    "usr/bin/nvidia-smi",
];

/// Where distributions keep libraries, on the host and in the container.
const LIBRARY_DIRECTORIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

/// Copies the driver's libraries and programs into the container, marks it, and returns the number
/// of files. `library_path` is the caller's `LD_LIBRARY_PATH`.
///
/// # Errors
/// `NoNvidia` if the host has no driver; `NvidiaPresent` if the container has one of the files and
/// `force` is not set; `NoLibraryDirectory`; or a file cannot be read or written.
pub fn add_nvidia(
    container: &Container,
    library_path: Option<&OsStr>,
    force: bool,
) -> Result<usize, ContainerError> {
    let sources = host_directories(library_path);
    if sources.is_empty() {
        return Err(ContainerError::NoNvidia);
    }
    let root = container.root();
    let libraries = LIBRARY_DIRECTORIES
        .iter()
        .map(|path| path.trim_start_matches('/'))
        .find(|path| root.join(path).is_dir())
        .ok_or(ContainerError::NoLibraryDirectory)?;
    let mut copies: Vec<(PathBuf, PathBuf)> = Vec::new();
    for source in sources.iter().flat_map(|directory| libraries_in(directory)) {
        if let Some(name) = source.file_name() {
            copies.push((source.clone(), Path::new(libraries).join(name)));
        }
    }
    for other in OTHERS {
        let source = Path::new("/").join(other);
        if source.exists() {
            copies.push((source, PathBuf::from(other)));
        }
    }
    if !force && let Some((_, present)) = copies.iter().find(|(_, to)| root.join(to).exists()) {
        return Err(ContainerError::NvidiaPresent(present.clone()));
    }
    for (source, target) in &copies {
        copy(source, &root, target)?;
    }
    container.set_nvidia()?;
    Ok(copies.len())
}

fn host_directories(library_path: Option<&OsStr>) -> BTreeSet<PathBuf> {
    let mut candidates: Vec<PathBuf> = LIBRARY_DIRECTORIES.iter().map(PathBuf::from).collect();
    let library_path = library_path.map(OsStr::as_bytes).unwrap_or_default();
    let named = library_path.split(|byte| *byte == b':');
    candidates.extend(named.map(|path| PathBuf::from(OsStr::from_bytes(path))));
    // Without a linker cache, only the directories above are searched.
    let cache = process::output(Path::new("/sbin/ldconfig"), &["-p"], &[]).unwrap_or_default();
    candidates.extend(cached_directories(&cache));
    candidates
        .into_iter()
        .filter(|path| path.is_absolute())
        .filter(|path| {
            names_in(path)
                .iter()
                .any(|name| starts_with(name, &MAIN_LIBRARIES))
        })
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect()
}

/// The directories of the driver's libraries in the output of `ldconfig -p`:
/// `libcuda.so.1 (libc6,x86-64) => /usr/lib/libcuda.so.1`
fn cached_directories(cache: &str) -> impl Iterator<Item = PathBuf> {
    cache
        .lines()
        .filter(|line| starts_with(line.trim(), &MAIN_LIBRARIES))
        // Libraries for 32 bits are left out.
        .filter(|line| line.contains("64"))
        .filter_map(|line| line.split_once(" => "))
        .filter_map(|(_, path)| Path::new(path.trim()).parent().map(Path::to_path_buf))
}

fn libraries_in(directory: &Path) -> Vec<PathBuf> {
    let names = names_in(directory).into_iter();
    names
        .filter(|name| starts_with(name, &LIBRARIES))
        .map(|name| directory.join(name))
        .collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn starts_with(name: &str, beginnings: &[&str]) -> bool {
    beginnings
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// Copies a file, or a link as a link, to `target` below `root`, and replaces what is there. No
/// link inside the container is followed.
fn copy(source: &Path, root: &Path, target: &Path) -> Result<(), ContainerError> {
    let name = target.file_name().unwrap_or_default();
    let directory = open_beneath(root, target.parent().unwrap_or(Path::new("")), true)?;
    // Usually nothing is there; any other error shows when the file is made.
    let _ = rustix::fs::unlinkat(&directory, name, AtFlags::empty());
    let copied = match fs::read_link(source) {
        Ok(link) => rustix::fs::symlinkat(&link, &directory, name).map_err(io::Error::from),
        Err(_) => copy_content(source, &directory, name),
    };
    Ok(copied.map_err(FsError::at("copy to", &root.join(target)))?)
}

fn copy_content(source: &Path, directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let mut from = File::open(source)?;
    let is_program = rustix::fs::fstat(&from)?.st_mode & 0o100 != 0;
    let mode = Mode::from_raw_mode(if is_program { 0o755 } else { 0o644 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let to = rustix::fs::openat(directory.as_fd(), name, flags, mode)?;
    io::copy(&mut from, &mut File::from(to))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_found_in_the_linker_cache() {
        let cache = "3 libs found in cache `/etc/ld.so.cache'\n\
            \tlibcuda.so.1 (libc6,x86-64) => /opt/nvidia/lib/libcuda.so.1\n\
            \tlibcuda.so.1 (libc6) => /opt/nvidia/lib32/libcuda.so.1\n\
            \tlibc.so.6 (libc6,x86-64) => /usr/lib/libc.so.6\n";
        let found: Vec<PathBuf> = cached_directories(cache).collect();
        assert_eq!(found, [PathBuf::from("/opt/nvidia/lib")]);
    }
}
