//! Resolves paths as the guest sees them: in the root tree with the binds mounted over it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::path::{BeneathPath, GuestPath, HostPath};
use super::volume::Bind;

/// The type of a file; symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
    /// Unknown, even whether it exists: the caller may not search the directory.
    Hidden,
}

/// Whether a file can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// The caller may execute it.
    Allowed,
    /// Only other users may execute it.
    ByOthers,
    /// No user may execute it.
    ByNobody,
    /// Its file system is mounted with `noexec`.
    NoExec,
}

/// Read access to the host's file system for planning.
pub trait GuestView {
    /// Returns the type of the file `path`, without following it; `None` if it does not exist.
    fn file_type(&self, path: &Path) -> Option<FileType>;

    /// Returns the type of the file `path` after following links on the host.
    fn file_type_followed(&self, path: &Path) -> Option<FileType>;

    /// Returns the target of the symbolic link `path`.
    fn link_target(&self, path: &Path) -> Option<PathBuf>;

    /// Returns whether the file `path` can be executed.
    fn execution(&self, path: &Path) -> Execution;

    /// Returns the first bytes of the file `path`, at most `limit` of them.
    fn read(&self, path: &BeneathPath, limit: usize) -> Option<Vec<u8>>;
}

/// The number of symbolic links that the kernel follows in one look-up.
pub(super) const MAX_LINKS: usize = 40;

/// The kernel's limit: paths and targets of links must be shorter.
const PATH_MAX: usize = 4096;

/// The number of path components that one look-up may follow, including those of links. The kernel
/// has no such limit, but only hostile links exceed it.
pub(super) const MAX_STEPS: usize = PATH_MAX;

/// A path that cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The path has more than 40 symbolic links, or their targets have too many components.
    #[error("too many symbolic links in '{0}'")]
    Links(GuestPath),
    /// The path is longer than the kernel allows.
    #[error("a path of {0} bytes is too long")]
    TooLong(usize),
}

/// A resolved guest path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The guest path without symbolic links.
    pub guest: GuestPath,
    /// The path on the host.
    pub host: BeneathPath,
    /// The file's type, never a symbolic link; `None` if the file does not exist.
    pub file_type: Option<FileType>,
}

/// Resolves `path` as the kernel would for the guest: symbolic links are relative to the guest's
/// root, `..` does not lead out of it, and a bind covers everything below its target.
///
/// The targets of `binds` must be resolved already. Any component of `path` may be missing.
///
/// # Errors
/// The path has too many symbolic links, or is too long.
pub fn resolve_guest_path(
    view: &dyn GuestView,
    root: &HostPath,
    binds: &[Bind],
    path: &GuestPath,
) -> Result<Resolved, LookupError> {
    resolve_within(view, root, binds, path, &mut MAX_STEPS.clone())
}

/// Like [`resolve_guest_path`], for one of several look-ups that share the limit `steps_left`.
pub(super) fn resolve_within(
    view: &dyn GuestView,
    root: &HostPath,
    binds: &[Bind],
    path: &GuestPath,
    steps_left: &mut usize,
) -> Result<Resolved, LookupError> {
    check_length(path.as_path())?;
    let covered = |guest: &GuestPath| binds.iter().any(|bind| bind.target == *guest);
    // The root and the sources of binds may themselves be symbolic links on the host.
    let followed = |guest: &GuestPath| {
        let host = locate(root, binds, guest);
        view.file_type_followed(host.as_path())
    };
    let mut pending = steps(path.as_path());
    let mut guest = GuestPath::root();
    // The type of the file `guest`, if it has been looked up.
    let mut known = None;
    let mut links = 0;
    while let Some(step) = pending.pop_front() {
        *steps_left = steps_left
            .checked_sub(1)
            .ok_or_else(|| LookupError::Links(path.clone()))?;
        let next = guest.join(&step);
        if step == ".." || covered(&next) {
            guest = next;
            known = None;
            continue;
        }
        let host = locate(root, binds, &next);
        let file_type = view.file_type(host.as_path());
        if file_type != Some(FileType::Symlink) {
            guest = next;
            known = Some(file_type);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(LookupError::Links(path.clone()));
        }
        // The link has been removed meanwhile, or cannot be read.
        let Some(target) = view.link_target(host.as_path()) else {
            guest = next;
            known = Some(None);
            continue;
        };
        check_length(&target)?;
        if target.is_absolute() {
            guest = GuestPath::root();
        }
        known = None;
        for step in steps(&target).into_iter().rev() {
            pending.push_front(step);
        }
    }
    Ok(Resolved {
        file_type: known.unwrap_or_else(|| followed(&guest)),
        host: locate(root, binds, &guest),
        guest,
    })
}

/// Returns the host path of `guest`, which must have no symbolic links in it.
pub fn locate(root: &HostPath, binds: &[Bind], guest: &GuestPath) -> BeneathPath {
    let covering = binds
        .iter()
        .filter(|bind| guest.as_path().starts_with(bind.target.as_path()))
        .max_by_key(|bind| bind.target.depth());
    match covering {
        None => BeneathPath::beneath(root, guest.as_path()),
        Some(bind) => {
            let below = guest.as_path().strip_prefix(bind.target.as_path());
            BeneathPath::beneath(&bind.source, below.unwrap_or(Path::new("")))
        }
    }
}

fn check_length(path: &Path) -> Result<(), LookupError> {
    match path.as_os_str().len() {
        PATH_MAX.. => Err(LookupError::TooLong(path.as_os_str().len())),
        _ => Ok(()),
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_os_string()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::volume::Access;

    /// A file system in memory, keyed by absolute host path.
    #[derive(Default)]
    pub(in crate::spec) struct MemoryView(BTreeMap<PathBuf, Node>);

    enum Node {
        File(Vec<u8>, bool),
        /// A program that only another user may execute.
        Foreign,
        /// A program on a file system mounted with `noexec`.
        NoExec,
        Directory,
        /// A directory that only another user may search.
        Closed,
        Link(PathBuf),
        /// A symbolic link that cannot be read.
        UnreadableLink,
    }

    impl MemoryView {
        pub(in crate::spec) fn directory(mut self, path: &str) -> MemoryView {
            for above in Path::new(path).ancestors() {
                self.0.entry(above.to_path_buf()).or_insert(Node::Directory);
            }
            self
        }

        fn put(mut self, path: &str, node: Node) -> MemoryView {
            let parent = Path::new(path).parent().unwrap().to_str().unwrap();
            self = self.directory(parent);
            self.0.insert(PathBuf::from(path), node);
            self
        }

        pub(in crate::spec) fn file(self, path: &str, content: &str) -> MemoryView {
            self.put(path, Node::File(content.into(), false))
        }

        pub(in crate::spec) fn program(self, path: &str, content: &[u8]) -> MemoryView {
            self.put(path, Node::File(content.into(), true))
        }

        pub(in crate::spec) fn foreign_program(self, path: &str) -> MemoryView {
            self.put(path, Node::Foreign)
        }

        pub(in crate::spec) fn noexec_program(self, path: &str) -> MemoryView {
            self.put(path, Node::NoExec)
        }

        pub(in crate::spec) fn closed_directory(self, path: &str) -> MemoryView {
            self.put(path, Node::Closed)
        }

        fn unreadable_link(self, path: &str) -> MemoryView {
            self.put(path, Node::UnreadableLink)
        }

        pub(in crate::spec) fn link(self, path: &str, target: &str) -> MemoryView {
            self.put(path, Node::Link(PathBuf::from(target)))
        }
    }

    impl GuestView for MemoryView {
        fn file_type(&self, path: &Path) -> Option<FileType> {
            let above = path.ancestors().skip(1);
            let mut above = above.filter_map(|path| self.0.get(path));
            if above.any(|node| matches!(node, Node::Closed)) {
                return Some(FileType::Hidden);
            }
            Some(match self.0.get(path)? {
                Node::File(..) | Node::Foreign | Node::NoExec => FileType::File,
                Node::Closed => FileType::Directory,
                Node::Directory => FileType::Directory,
                Node::Link(_) | Node::UnreadableLink => FileType::Symlink,
            })
        }

        fn file_type_followed(&self, path: &Path) -> Option<FileType> {
            match self.0.get(path)? {
                Node::Link(target) => self.file_type_followed(target),
                _ => self.file_type(path),
            }
        }

        fn link_target(&self, path: &Path) -> Option<PathBuf> {
            match self.0.get(path)? {
                Node::Link(target) => Some(target.clone()),
                _ => None,
            }
        }

        fn execution(&self, path: &Path) -> Execution {
            match self.0.get(path) {
                Some(Node::File(_, true)) => Execution::Allowed,
                Some(Node::Foreign) => Execution::ByOthers,
                Some(Node::NoExec) => Execution::NoExec,
                _ => Execution::ByNobody,
            }
        }

        fn read(&self, path: &BeneathPath, limit: usize) -> Option<Vec<u8>> {
            match self.0.get(path.as_path())? {
                Node::File(content, _) => Some(content.iter().copied().take(limit).collect()),
                _ => None,
            }
        }
    }

    fn bind(source: &str, target: &str) -> Bind {
        Bind {
            source: HostPath::new(source).unwrap(),
            target: GuestPath::new(target).unwrap(),
            access: Access::ReadWrite,
            tmpfs: None,
            is_default: false,
        }
    }

    #[test]
    fn paths_are_resolved_as_the_guest_sees_them() {
        let view = MemoryView::default()
            .program("/r/usr/bin/busybox", b"")
            .link("/r/bin", "usr/bin")
            .link("/r/usr/bin/sh", "/bin/busybox")
            .link("/r/up", "../../../usr/bin/sh")
            .link("/r/dangling", "/run/nothing")
            .unreadable_link("/r/etc/gone")
            .link("/r/data/out", "/usr/bin/busybox")
            .file("/host/data/f", "")
            .link("/host/data/in", "/data/f")
            .file("/host/one", "")
            .link("/host/link", "/host/one");
        let root = HostPath::new("/r").unwrap();
        let binds = [
            bind("/host/data", "/data"),
            bind("/host/one", "/data/sub/single"),
            bind("/host/link", "/etc/l"),
        ];
        let file = Some(FileType::File);
        for (path, guest, host, file_type) in [
            ("/", "/", "/r", Some(FileType::Directory)),
            ("/bin", "/usr/bin", "/r/usr/bin", Some(FileType::Directory)),
            ("/bin/sh", "/usr/bin/busybox", "/r/usr/bin/busybox", file),
            ("/up", "/usr/bin/busybox", "/r/usr/bin/busybox", file),
            ("/dangling", "/run/nothing", "/r/run/nothing", None),
            ("/etc/gone", "/etc/gone", "/r/etc/gone", None),
            ("/etc/gone/f", "/etc/gone/f", "/r/etc/gone/f", None),
            ("/data/f", "/data/f", "/host/data/f", file),
            ("/data/in", "/data/f", "/host/data/f", file),
            ("/data/out", "/data/out", "/host/data/out", None),
            ("/data/sub/single", "/data/sub/single", "/host/one", file),
            ("/etc/l", "/etc/l", "/host/link", file),
            (
                "/nowhere/at/all",
                "/nowhere/at/all",
                "/r/nowhere/at/all",
                None,
            ),
        ] {
            let found =
                resolve_guest_path(&view, &root, &binds, &GuestPath::new(path).unwrap()).unwrap();
            assert_eq!(found.guest.to_string(), guest, "{path}");
            assert_eq!(found.host.to_string(), host, "{path}");
            assert_eq!(found.file_type, file_type, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn symlinks_do_not_leave_the_root(
            links in proptest::collection::vec(("[abc]", "/?([abc.]{1,2}/){0,4}[abc.]{1,2}"), 0..6),
            path in "(/[abc.]{1,2}){0,6}",
        ) {
            let root = HostPath::new("/r").unwrap();
            let view = links.iter().fold(MemoryView::default().directory("/r"), |view, (at, to)| {
                view.link(&format!("/r/{at}"), to)
            });
            let path = GuestPath::root().join(path);
            if let Ok(found) = resolve_guest_path(&view, &root, &[], &path) {
                proptest::prop_assert!(found.host.as_path().starts_with("/r"));
                proptest::prop_assert!(!found.host.to_string().contains("/../"));
                proptest::prop_assert_ne!(found.file_type, Some(FileType::Symlink));
            }
        }
    }

    #[test]
    fn circular_links_are_an_error() {
        let view = MemoryView::default().link("/r/a", "/b").link("/r/b", "a");
        let path = GuestPath::new("/a/x").unwrap();
        let root = HostPath::new("/r").unwrap();
        assert_eq!(
            resolve_guest_path(&view, &root, &[], &path),
            Err(LookupError::Links(path))
        );
    }

    #[test]
    fn overlong_paths_and_links_with_many_components_are_an_error() {
        let root = HostPath::new("/r").unwrap();
        // Each target has as many components as fit in it, and there is no circle.
        let view = (0..30).fold(MemoryView::default().directory("/r/s"), |view, n| {
            let target = format!("{}l{}", "s/../".repeat(800), n + 1);
            view.link(&format!("/r/l{n}"), &target)
        });
        let path = GuestPath::new("/l0").unwrap();
        assert_eq!(
            resolve_guest_path(&view, &root, &[], &path),
            Err(LookupError::Links(path))
        );
        let path = GuestPath::new("/a".repeat(200_000)).unwrap();
        assert_eq!(
            resolve_guest_path(&view, &root, &[], &path),
            Err(LookupError::TooLong(400_000))
        );
    }
}
