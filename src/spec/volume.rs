//! Parses volumes, and plans the binds: the user's volumes and the default ones.
//!
//! A volume is `HOST[:CONTAINER[:ro|rw]]`. Both paths may contain colons, so Docker's option words
//! are first removed from the end, and the rest is split only at a `:` before a `/`. A text with
//! several such places is refused as ambiguous. An ending that looks like an option but is none is
//! refused too: it is more often a typing error than part of a name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::guest::{FileType, GuestView, LookupError, MAX_LINKS, resolve_guest_path};
use super::name_files::is_name_file;
use super::path::{GuestPath, HostPath, NotAbsolute};
use super::tmpfs::Tmpfs;
use super::{Preparation, Warning};

/// The default binds; those that the host does not have are left out.
const SYSTEM_DIRECTORIES: [&str; 6] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/resolv.conf",
    "/etc/host.conf",
    "/lib/modules",
];

/// The directory for POSIX shared memory.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// The binds of `--dri`; those that the host does not have are left out.
const DRI_DIRECTORIES: [&str; 4] = ["/usr/lib64/dri", "/lib64/dri", "/usr/lib/dri", "/lib/dri"];

/// Whether the guest may write through a bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The guest may write.
    #[default]
    ReadWrite,
    /// The guest may not write, if the engine can enforce that.
    ReadOnly,
}

/// A host path that the guest sees at a guest path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The path on the host.
    pub source: HostPath,
    /// The path in the container, without symbolic links.
    pub target: GuestPath,
    /// Whether the guest may write.
    pub access: Access,
    /// A file system in memory to mount instead of the source, if the engine can.
    pub tmpfs: Option<Tmpfs>,
    /// Whether the bind is of a system directory, of `--dri`, or of a name file. The namespace
    /// engine runs the container without such a bind if it cannot be mounted.
    pub is_default: bool,
}

/// The value of `-v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The path on the host.
    pub source: HostPath,
    /// The path in the container, as the user gave it.
    pub target: GuestPath,
    /// Whether the guest may write.
    pub access: Access,
    /// A file system in memory to mount instead of the source, if the engine can.
    pub tmpfs: Option<Tmpfs>,
}

/// An invalid volume or device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// The host path is relative.
    #[error("invalid volume '{volume}': the host path must be absolute: {source}")]
    RelativeSource {
        /// The value of `-v`.
        volume: String,
        /// The host path.
        source: NotAbsolute,
    },
    /// The path in the container is relative.
    #[error("invalid volume '{0}': the path inside the container must be absolute")]
    RelativeTarget(String),
    /// The text after the second path is not an option.
    #[error("invalid volume '{volume}': '{option}' is neither ro nor rw")]
    UnknownOption {
        /// The value of `-v`.
        volume: String,
        /// The text in place of an option.
        option: String,
    },
    /// The path in the container is `/`.
    #[error("invalid volume '{0}': the root of the container cannot be replaced")]
    CoversRoot(String),
    /// The path in the container is a symbolic link to `/`.
    #[error("invalid volume target '{0}': it is a link to the root, which cannot be replaced")]
    LinkToRoot(GuestPath),
    /// The text can be split in several ways.
    #[error("invalid volume '{0}': it can be read in more than one way")]
    Ambiguous(String),
    /// The host path does not exist.
    #[error("invalid volume: host path '{0}' does not exist")]
    Missing(HostPath),
    /// The value of `--device` names no device.
    #[error("invalid device '{0}': it must be below /dev")]
    NotADevice(String),
    /// The target has too many symbolic links, or its path is too long.
    #[error("invalid volume target: {0}")]
    Lookup(#[from] LookupError),
}

impl Volume {
    /// Parses the value of `-v`.
    ///
    /// # Errors
    /// A path is relative, the target is `/`, an option is unknown, or the text can be split in
    /// several ways.
    pub fn parse(text: &OsStr) -> Result<Volume, VolumeError> {
        let shown = || text.to_string_lossy().into_owned();
        let (paths, access) = split_options(text.as_bytes());
        let cuts: Vec<usize> = (0..paths.len())
            .filter(|&at| paths[at..].starts_with(b":/"))
            .collect();
        let (source, target) = match cuts[..] {
            [] => match paths.strip_suffix(b":") {
                Some(source) => (source, source),
                None if paths.starts_with(b"/") && paths.contains(&b':') => {
                    return Err(VolumeError::RelativeTarget(shown()));
                }
                None => (paths, paths),
            },
            [at] => (&paths[..at], without_option(&paths[at + 1..], &shown)?),
            _ => return Err(VolumeError::Ambiguous(shown())),
        };
        let source = HostPath::new(OsStr::from_bytes(source)).map_err(|source| {
            VolumeError::RelativeSource {
                volume: shown(),
                source,
            }
        })?;
        let target = GuestPath::new(OsStr::from_bytes(target))
            .map_err(|_| VolumeError::RelativeTarget(shown()))?;
        if target.is_root() {
            return Err(VolumeError::CoversRoot(shown()));
        }
        Ok(Volume {
            source,
            target,
            access,
            tmpfs: None,
        })
    }

    /// Parses the value of `--device`: `/dev/x`, with Docker's `:/dev/y` and `:rwm` accepted.
    ///
    /// # Errors
    /// The value is no volume, or its host path is not below `/dev`.
    pub fn parse_device(text: &OsStr) -> Result<Volume, VolumeError> {
        let bytes = text.as_bytes();
        let permissions = bytes.iter().rposition(|&byte| byte == b':').filter(|&at| {
            let word = &bytes[at + 1..];
            !word.is_empty() && word.iter().all(|byte| b"rwm".contains(byte))
        });
        let path = OsStr::from_bytes(&bytes[..permissions.unwrap_or(bytes.len())]);
        Volume::parse(path)
            .ok()
            .filter(|volume| volume.source.as_path().starts_with("/dev/"))
            .ok_or_else(|| VolumeError::NotADevice(text.to_string_lossy().into_owned()))
    }

    /// Returns the volume that shows `path` at the same path inside.
    ///
    /// # Errors
    /// The path is relative or `/`.
    pub fn same_path(path: &str) -> Result<Volume, VolumeError> {
        Volume::parse(OsStr::new(path))
    }

    /// Whether `name`, a value of `--novol`, names this volume.
    pub(super) fn is_named_by(&self, name: &str) -> bool {
        let trimmed = name.trim_end_matches('/');
        self.source.as_path() == Path::new(trimmed)
            || Volume::parse(OsStr::new(name))
                .is_ok_and(|other| other.source == self.source && other.target == self.target)
    }
}

/// Returns the path in the container, unless its last component contains a `:`, after which only
/// an option can be meant.
fn without_option<'a>(
    target: &'a [u8],
    volume: &dyn Fn() -> String,
) -> Result<&'a [u8], VolumeError> {
    let name = target.rsplit(|&byte| byte == b'/').next().unwrap_or(target);
    match name.iter().position(|&byte| byte == b':') {
        None => Ok(target),
        Some(at) => Err(VolumeError::UnknownOption {
            volume: volume(),
            option: String::from_utf8_lossy(&name[at + 1..]).into_owned(),
        }),
    }
}

/// Removes Docker's option words from the end.
fn split_options(text: &[u8]) -> (&[u8], Access) {
    const WORDS: [&[u8]; 16] = [
        b"ro",
        b"rw",
        b"z",
        b"Z",
        b"cached",
        b"delegated",
        b"consistent",
        b"nocopy",
        b"private",
        b"rprivate",
        b"shared",
        b"rshared",
        b"slave",
        b"rslave",
        b"U",
        b"rbind",
    ];
    let Some(at) = text.iter().rposition(|&byte| byte == b':') else {
        return (text, Access::ReadWrite);
    };
    let mut options = text[at + 1..].split(|&byte| byte == b',');
    if !options.clone().all(|option| WORDS.contains(&option)) {
        return (text, Access::ReadWrite);
    }
    if options.any(|option| option == b"ro") {
        return (&text[..at], Access::ReadOnly);
    }
    (&text[..at], Access::ReadWrite)
}

/// The options that ask for binds.
#[derive(Clone, Debug, Default)]
pub(super) struct BindRequest<'a> {
    pub(super) system_directories: bool,
    pub(super) dri: bool,
    pub(super) home: Option<&'a str>,
    pub(super) devices: &'a [Volume],
    pub(super) volumes: &'a [Volume],
    pub(super) leave_out: &'a [String],
}

/// The binds, ordered by the depth of their targets, and the preparations for them.
#[derive(Debug, Default)]
pub(super) struct BindPlan {
    pub(super) binds: Vec<Bind>,
    pub(super) preparations: Vec<Preparation>,
    pub(super) warnings: Vec<Warning>,
}

/// Plans the binds. Of several for one target the last one is kept, and the user's come after the
/// default ones.
pub(super) fn plan_binds(
    requested: &BindRequest<'_>,
    root: &HostPath,
    view: &dyn GuestView,
) -> Result<BindPlan, VolumeError> {
    check_sources(requested.volumes, view)?;
    let exists = |volume: &Volume| exists(volume, view);
    let system: &[&str] = if requested.system_directories {
        &SYSTEM_DIRECTORIES
    } else {
        &[]
    };
    let dri: &[&str] = if requested.dri { &DRI_DIRECTORIES } else { &[] };
    let same_path = |path: &&str| Volume::same_path(path).ok().filter(exists);
    let defaults = system.iter().chain(dri).filter_map(same_path);
    let home = requested.home.iter().filter_map(same_path);
    let volumes = requested.devices.iter().chain(requested.volumes);
    let present = volumes.filter(|volume| exists(volume));
    let (present, nameless): (Vec<&Volume>, Vec<&Volume>) =
        present.partition(|volume| has_path(&volume.source, view));
    let asked_for = home.chain(present.into_iter().cloned());
    let mut wanted: Vec<(Volume, bool)> = defaults
        .map(|volume| (volume, true))
        .chain(asked_for.map(|volume| (volume, false)))
        .collect();

    let mut plan = BindPlan::default();
    // Scripts name a device for all machines, though some have none.
    let missing = requested.devices.iter().filter(|device| !exists(device));
    plan.warnings
        .extend(missing.map(|device| Warning::NoDevice(device.source.clone())));
    // The default `/dev` leads to the standard streams.
    let is_needless = |volume: &Volume| requested.system_directories && is_stream(&volume.target);
    let lost = nameless.iter().filter(|volume| !is_needless(volume));
    plan.warnings
        .extend(lost.map(|volume| Warning::NoPath(volume.source.clone())));
    for name in requested.leave_out {
        let before = wanted.len();
        wanted.retain(|(volume, _)| !volume.is_named_by(name));
        if wanted.len() == before && !is_name_file(name) {
            plan.warnings.push(Warning::NotAVolume(name.clone()));
        }
    }
    // A bind must follow those that its target lies in, to be resolved through them. The sort is
    // stable, so that of two equal targets the later one stays later.
    wanted.sort_by_cached_key(|(volume, _)| {
        let found = resolve_guest_path(view, root, &[], &volume.target);
        found.map_or(volume.target.depth(), |found| found.guest.depth())
    });
    for (volume, is_default) in wanted {
        plan.add(volume, root, view)?.is_default = is_default;
    }
    Ok(plan)
}

/// Checks that the sources exist on the host.
pub(super) fn check_sources(volumes: &[Volume], view: &dyn GuestView) -> Result<(), VolumeError> {
    let is_missing = |volume: &&Volume| !exists(volume, view) && !is_optional(&volume.source);
    match volumes.iter().find(is_missing) {
        Some(volume) => Err(VolumeError::Missing(volume.source.clone())),
        None => Ok(()),
    }
}

fn exists(volume: &Volume, view: &dyn GuestView) -> bool {
    view.file_type_followed(volume.source.as_path()).is_some()
}

/// Whether a file that exists has a path to bind. A link in `/proc/PID/fd` can lead to a pipe, a
/// socket or a deleted file: the text of the link is no path then.
fn has_path(source: &HostPath, view: &dyn GuestView) -> bool {
    let mut path = source.as_path().to_path_buf();
    for _ in 0..MAX_LINKS {
        let Some(target) = view.link_target(&path) else {
            break;
        };
        path.pop();
        path.push(target);
    }
    view.file_type(&path).is_some()
}

/// Whether `target` is a standard stream, or another open file, by its name in `/dev`.
fn is_stream(target: &GuestPath) -> bool {
    let streams = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];
    target.as_path().starts_with("/dev/fd")
        || streams
            .iter()
            .any(|stream| target.as_path() == Path::new(stream))
}

/// Whether a volume of this source is left out without a message if the source does not exist, as
/// in udocker.py.
fn is_optional(source: &HostPath) -> bool {
    SYSTEM_DIRECTORIES
        .iter()
        .chain(&DRI_DIRECTORIES)
        // Bound by `--shm-size`, which has no effect on a host without it.
        .chain([&SHARED_MEMORY])
        .any(|path| source.as_path() == Path::new(path))
}

impl BindPlan {
    /// Adds a bind, whose target is resolved through the earlier ones, and returns it.
    ///
    /// # Errors
    /// The target cannot be resolved, or is the root.
    pub(super) fn add(
        &mut self,
        volume: Volume,
        root: &HostPath,
        view: &dyn GuestView,
    ) -> Result<&mut Bind, VolumeError> {
        let found = resolve_guest_path(view, root, &self.binds, &volume.target)?;
        if found.guest.is_root() {
            return Err(VolumeError::LinkToRoot(volume.target));
        }
        self.binds.retain(|bind| bind.target != found.guest);
        if found.file_type.is_none() {
            let is_directory =
                view.file_type_followed(volume.source.as_path()) == Some(FileType::Directory);
            self.preparations.push(if is_directory {
                Preparation::MountDirectory(found.host)
            } else {
                Preparation::MountFile(found.host)
            });
        }
        // A link in an earlier bind may have led to a target deeper than this one.
        let depth = found.guest.depth();
        let index = self
            .binds
            .partition_point(|bind| bind.target.depth() <= depth);
        let bind = Bind {
            source: volume.source,
            target: found.guest,
            access: volume.access,
            tmpfs: volume.tmpfs,
            is_default: false,
        };
        self.binds.insert(index, bind);
        Ok(&mut self.binds[index])
    }
}

#[cfg(test)]
mod tests {
    use super::super::guest::tests::MemoryView;
    use super::super::path::BeneathPath;
    use super::*;

    fn volume(text: &str) -> Volume {
        Volume::parse(OsStr::new(text)).unwrap()
    }

    #[test]
    fn volumes_are_parsed() {
        for (text, source, target, access) in [
            ("/a", "/a", "/a", Access::ReadWrite),
            ("/a/", "/a", "/a", Access::ReadWrite),
            ("/a:", "/a", "/a", Access::ReadWrite),
            ("/a:/b", "/a", "/b", Access::ReadWrite),
            ("/a://b/../c/", "/a", "/c", Access::ReadWrite),
            ("/a:/b:ro", "/a", "/b", Access::ReadOnly),
            ("/a:/b:rw", "/a", "/b", Access::ReadWrite),
            ("/a:/b:ro,Z", "/a", "/b", Access::ReadOnly),
            ("/a:ro", "/a", "/a", Access::ReadOnly),
            ("/a:x:/b", "/a:x", "/b", Access::ReadWrite),
            ("/a:/b:x/c", "/a", "/b:x/c", Access::ReadWrite),
            ("/a b:/c d", "/a b", "/c d", Access::ReadWrite),
        ] {
            let volume = volume(text);
            assert_eq!(volume.source.to_string(), source, "{text}");
            assert_eq!(volume.target.to_string(), target, "{text}");
            assert_eq!(volume.access, access, "{text}");
        }
    }

    #[test]
    fn invalid_volumes_are_refused() {
        for (text, reason) in [
            ("", "host path must be absolute"),
            ("a:/b", "host path must be absolute"),
            (":/b", "host path must be absolute"),
            ("./a", "host path must be absolute"),
            ("/a:b", "inside the container must be absolute"),
            ("/a:/b:rx", "'rx' is neither ro nor rw"),
            ("/a:/b:ro,rx", "'ro,rx' is neither ro nor rw"),
            ("/a:/b:", "'' is neither ro nor rw"),
            ("/a:/", "root of the container"),
            ("/:/..", "root of the container"),
            ("/", "root of the container"),
            ("/a:/b:/c", "more than one way"),
        ] {
            let error = Volume::parse(OsStr::new(text)).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn devices_are_parsed() {
        for (text, target) in [
            ("/dev/fuse", "/dev/fuse"),
            ("/dev/fuse:/dev/x", "/dev/x"),
            ("/dev/fuse:/dev/x:rwm", "/dev/x"),
            ("/dev/fuse:r", "/dev/fuse"),
        ] {
            let device = Volume::parse_device(OsStr::new(text)).unwrap();
            assert_eq!(device.target.to_string(), target, "{text}");
        }
        assert!(Volume::parse_device(OsStr::new("/etc/passwd")).is_err());
    }

    fn host() -> MemoryView {
        MemoryView::default()
            .directory("/dev")
            .directory("/proc")
            .file("/etc/resolv.conf", "")
            .directory("/data/deep")
            .file("/data/file", "")
            .directory("/r/dev")
            .directory("/r/proc")
            .link("/r/etc/resolv.conf", "../run/resolv.conf")
    }

    fn plan(requested: &BindRequest<'_>) -> BindPlan {
        plan_binds(requested, &HostPath::new("/r").unwrap(), &host()).unwrap()
    }

    fn shown(plan: &BindPlan) -> Vec<String> {
        plan.binds
            .iter()
            .map(|bind| format!("{}:{}", bind.source, bind.target))
            .collect()
    }

    #[test]
    fn default_binds_are_those_that_the_host_has() {
        let plan = plan(&BindRequest {
            system_directories: true,
            dri: true,
            ..BindRequest::default()
        });
        assert_eq!(
            shown(&plan),
            [
                "/dev:/dev",
                "/proc:/proc",
                "/etc/resolv.conf:/run/resolv.conf"
            ]
        );
        assert_eq!(
            plan.preparations,
            [Preparation::MountFile(BeneathPath::beneath(
                &HostPath::new("/r").unwrap(),
                Path::new("/run/resolv.conf")
            ))]
        );
    }

    #[test]
    fn nested_binds_follow_those_that_contain_them() {
        let plan = plan(&BindRequest {
            volumes: &[
                volume("/data/file:/w/new/f"),
                volume("/data/deep:/w"),
                volume("/data:/x"),
                volume("/data/deep:/x"),
            ],
            ..BindRequest::default()
        });
        assert_eq!(
            shown(&plan),
            ["/data/deep:/w", "/data/deep:/x", "/data/file:/w/new/f"]
        );
        // Resolved targets count, not those that were given.
        let view = host().link("/r/w", "a/b/c");
        let requested = BindRequest {
            volumes: &[
                volume("/data/file:/w/f"),
                volume("/data/deep:/w"),
                volume("/data:/a/b"),
            ],
            ..BindRequest::default()
        };
        let resolved = plan_binds(&requested, &HostPath::new("/r").unwrap(), &view).unwrap();
        assert_eq!(
            shown(&resolved),
            ["/data:/a/b", "/data/deep:/a/b/c", "/data/file:/a/b/c/f"]
        );
        assert!(
            plan.preparations
                .contains(&Preparation::MountFile(BeneathPath::beneath(
                    &HostPath::new("/data/deep").unwrap(),
                    Path::new("/new/f")
                )))
        );
    }

    #[test]
    fn binds_are_ordered_by_targets_resolved_through_other_binds() {
        let view = host()
            .link("/data/link", "/a/b/c/d")
            .directory("/r/a/b/c/d");
        let requested = BindRequest {
            volumes: &[
                volume("/data:/data"),
                volume("/data/file:/data/link/y"),
                volume("/data/deep:/a/b/c/d"),
            ],
            ..BindRequest::default()
        };
        let plan = plan_binds(&requested, &HostPath::new("/r").unwrap(), &view).unwrap();
        assert_eq!(
            shown(&plan),
            [
                "/data:/data",
                "/data/deep:/a/b/c/d",
                "/data/file:/a/b/c/d/y"
            ]
        );
    }

    #[test]
    fn a_link_to_the_root_is_no_target() {
        let view = host().link("/r/data", "/").link("/r/x", "data/..");
        let root = HostPath::new("/r").unwrap();
        for (text, is_fine) in [
            ("/data:/data", false),
            ("/data:/x:ro", false),
            ("/data:/data/new", true),
        ] {
            let requested = BindRequest {
                volumes: &[volume(text)],
                ..BindRequest::default()
            };
            match plan_binds(&requested, &root, &view) {
                Err(VolumeError::LinkToRoot(_)) => assert!(!is_fine, "{text}"),
                result => assert_eq!(result.is_ok(), is_fine, "{text}"),
            }
        }
    }

    #[test]
    fn volumes_can_be_left_out() {
        let leave_out = [
            "/dev".to_string(),
            "/data:/x".to_string(),
            "/none".to_string(),
        ];
        let plan = plan(&BindRequest {
            system_directories: true,
            volumes: &[volume("/data:/x"), volume("/data:/y")],
            leave_out: &leave_out,
            ..BindRequest::default()
        });
        assert_eq!(
            shown(&plan),
            [
                "/proc:/proc",
                "/data:/y",
                "/etc/resolv.conf:/run/resolv.conf"
            ]
        );
        assert_eq!(plan.warnings, [Warning::NotAVolume("/none".to_string())]);
    }

    #[test]
    fn missing_device_is_left_out_with_a_warning() {
        let devices = [
            volume("/dev/none"),
            volume("/etc/resolv.conf:/dev/resolver"),
        ];
        let requested = BindRequest {
            devices: &devices,
            ..BindRequest::default()
        };
        let plan = plan(&requested);
        assert_eq!(shown(&plan), ["/etc/resolv.conf:/dev/resolver"]);
        let missing = devices[0].source.clone();
        assert_eq!(plan.warnings, [Warning::NoDevice(missing)]);
    }

    #[test]
    fn sources_without_a_path_are_left_out() {
        let view = host()
            .link("/proc/self/fd/1", "pipe:[1]")
            .file("pipe:[1]", "")
            .link("/proc/self/fd/2", "/data/file")
            .link("/dev/stdout", "/proc/self/fd/1")
            .link("/dev/stderr", "/proc/self/fd/2");
        let root = HostPath::new("/r").unwrap();
        let shown_with = |text: &str, system_directories| {
            let requested = BindRequest {
                system_directories,
                volumes: &[volume(text)],
                leave_out: &["/proc", "/etc/resolv.conf"].map(str::to_string),
                ..BindRequest::default()
            };
            let mut plan = plan_binds(&requested, &root, &view).unwrap();
            plan.warnings
                .retain(|warning| matches!(warning, Warning::NoPath(_)));
            (shown(&plan), plan.warnings.len())
        };
        let of = |binds: &[&str], warnings| {
            (
                binds.iter().map(|bind| bind.to_string()).collect(),
                warnings,
            )
        };
        for text in [
            "/proc/self/fd/1:/dev/stdout",
            "/dev/stdout",
            "/dev/stdout:/dev/fd/1",
        ] {
            assert_eq!(shown_with(text, true), of(&["/dev:/dev"], 0), "{text}");
            assert_eq!(shown_with(text, false), of(&[], 1), "{text}");
        }
        assert_eq!(shown_with("/dev/stdout:/x", true), of(&["/dev:/dev"], 1));
        assert_eq!(
            shown_with("/dev/stderr:/x", false),
            of(&["/dev/stderr:/x"], 0)
        );
    }

    #[test]
    fn missing_source_is_an_error_except_of_defaults() {
        let root = HostPath::new("/r").unwrap();
        for (text, fine) in [
            ("/none:/x", false),
            ("/sys", true),
            ("/lib/dri", true),
            ("/dev/shm", true),
        ] {
            let volumes = [volume(text)];
            let requested = BindRequest {
                volumes: &volumes,
                ..BindRequest::default()
            };
            assert_eq!(
                plan_binds(&requested, &root, &host()).is_ok(),
                fine,
                "{text}"
            );
        }
    }
}
