//! Copies of the host's `/etc/hosts` and `/etc/hostname`, for containers that have none or an empty
//! one.
//!
//! Each run gets copies of its own, as in Docker. The guest may write to them, and changes neither
//! the host nor other runs; the copies are removed after the run.

use std::path::Path;

use super::accounts::HOST_FILE_LIMIT;
use super::guest::{FileType, GuestView, resolve_guest_path};
use super::path::{BeneathPath, HostPath, has_separator};
use super::volume::{BindPlan, Volume};
use super::{ContainerFacts, ExecMode, Preparation, RunRequest, SpecError};

/// The files with the names of the host and of its peers.
const NAME_FILES: [&str; 2] = ["/etc/hosts", "/etc/hostname"];

/// Whether a value of `--novol` names one of [`NAME_FILES`].
pub(super) fn is_name_file(novol: &str) -> bool {
    let mut volumes = NAME_FILES.iter().flat_map(|path| Volume::same_path(path));
    volumes.any(|volume| volume.is_named_by(novol))
}

/// Adds binds for the name files that are missing or empty in the root tree.
///
/// # Errors
/// A file cannot be bound.
pub(super) fn plan_name_files(
    request: &RunRequest,
    container: &ContainerFacts,
    binds: &mut BindPlan,
    view: &dyn GuestView,
) -> Result<(), SpecError> {
    // A container with a host name of its own does not get the host's.
    let names = match (request.no_system_directories, &request.host_name) {
        (true, _) => return Ok(()),
        (false, Some(_)) => &NAME_FILES[..1],
        (false, None) => &NAME_FILES,
    };
    let Some(directory) = &container.run_directory else {
        return Ok(());
    };
    if !can_bind_from(directory, container.mode) {
        return Ok(());
    }
    for name in names {
        let volume = Volume::same_path(name)?;
        let is_left_out = request
            .leave_out
            .iter()
            .any(|text| volume.is_named_by(text));
        if is_left_out || !is_missing(&volume, container, binds, view) {
            continue;
        }
        let host = BeneathPath::of(volume.source.clone());
        let Some(text) = view.read(&host, HOST_FILE_LIMIT) else {
            continue;
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let path = directory.beneath(Path::new(name.trim_start_matches("/etc/")));
        let volume = Volume {
            source: path.clone(),
            access: request.root_access,
            ..volume
        };
        binds
            .preparations
            .push(Preparation::WriteForRun { path, text });
        binds.add(volume, &container.root, view)?.is_default = true;
    }
    Ok(())
}

/// Whether the engine of `mode` can bind files in `directory`.
fn can_bind_from(directory: &HostPath, mode: ExecMode) -> bool {
    let is_limited = matches!(mode, ExecMode::P1 | ExecMode::P2 | ExecMode::S1);
    !is_limited || !has_separator(directory.as_path())
}

/// Whether the target is missing or empty in the root tree, and not covered by a bind.
fn is_missing(
    volume: &Volume,
    container: &ContainerFacts,
    binds: &BindPlan,
    view: &dyn GuestView,
) -> bool {
    let root: &HostPath = &container.root;
    let Ok(found) = resolve_guest_path(view, root, &binds.binds, &volume.target) else {
        return false;
    };
    let is_empty = match found.file_type {
        None => true,
        Some(FileType::File) => view.read(&found.host, 1) == Some(Vec::new()),
        Some(_) => false,
    };
    is_empty && found.host.base == *root
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::super::guest::tests::MemoryView;
    use super::super::volume::{Access, BindRequest, plan_binds};
    use super::*;
    use crate::oci::ImageConfig;

    fn container() -> ContainerFacts {
        ContainerFacts {
            id: None,
            names: Vec::new(),
            mode: ExecMode::R1,
            root: HostPath::new("/r").unwrap(),
            directory: HostPath::new("/c").unwrap(),
            run_directory: Some(HostPath::new("/tmp/run").unwrap()),
            image: ImageConfig::default(),
        }
    }

    fn host() -> MemoryView {
        MemoryView::default()
            .file("/etc/hosts", "h\n")
            .file("/etc/hostname", "n\n")
            .file("/data/file", "")
            .directory("/r/etc")
    }

    /// The targets of all binds, and the texts that are generated.
    fn plan(request: &RunRequest, view: &MemoryView) -> (Vec<String>, Vec<String>) {
        let requested = BindRequest {
            volumes: &request.volumes,
            leave_out: &request.leave_out,
            ..BindRequest::default()
        };
        let mut plan = plan_binds(&requested, &container().root, view).unwrap();
        plan_name_files(request, &container(), &mut plan, view).unwrap();
        assert_eq!(plan.warnings, []);
        let mut texts = Vec::new();
        for preparation in &plan.preparations {
            if let Preparation::WriteForRun { path, text } = preparation {
                assert!(
                    plan.binds
                        .iter()
                        .any(|bind| { bind.source == *path && bind.access == request.root_access })
                );
                assert!(path.as_path().starts_with("/tmp/run"), "{path}");
                texts.push(text.clone());
            }
        }
        let targets = plan.binds.iter().map(|bind| bind.target.to_string());
        (targets.collect(), texts)
    }

    #[test]
    fn copies_are_bound_where_the_container_has_no_name_files() {
        let none = RunRequest::default;
        let volumes = |texts: &[&str]| RunRequest {
            volumes: texts
                .iter()
                .map(|text| Volume::parse(OsStr::new(text)).unwrap())
                .collect(),
            ..none()
        };
        let without_defaults = RunRequest {
            no_system_directories: true,
            ..none()
        };
        let named = RunRequest {
            host_name: Some("box".parse().unwrap()),
            ..none()
        };
        let left_out = RunRequest {
            leave_out: vec!["/etc/hostname".to_string()],
            ..none()
        };
        let sealed = RunRequest {
            root_access: Access::ReadOnly,
            ..none()
        };
        let (hosts, hostname) = ("/etc/hosts", "/etc/hostname");
        for (view, request, targets, texts) in [
            (host(), none(), &[hosts, hostname][..], &["h\n", "n\n"][..]),
            (host(), sealed, &[hosts, hostname], &["h\n", "n\n"]),
            (host(), without_defaults, &[], &[]),
            (host(), named, &[hosts], &["h\n"]),
            (host(), left_out, &[hosts], &["h\n"]),
            (
                host().file("/r/etc/hosts", ""),
                none(),
                &[hosts, hostname],
                &["h\n", "n\n"],
            ),
            (
                host().file("/r/etc/hosts", "own"),
                none(),
                &[hostname],
                &["n\n"],
            ),
            (host(), volumes(&["/data:/etc"]), &["/etc"], &[]),
            (
                host(),
                volumes(&["/data/file:/etc/hosts"]),
                &[hosts, hostname],
                &["n\n"],
            ),
            // The volume covers the directory that a link leads to.
            (
                MemoryView::default()
                    .file("/etc/hosts", "h\n")
                    .directory("/data")
                    .directory("/r/etc2")
                    .link("/r/etc", "etc2"),
                volumes(&["/data:/etc2"]),
                &["/etc2"],
                &[],
            ),
        ] {
            let (found_targets, found_texts) = plan(&request, &view);
            assert_eq!(found_targets, targets, "{request:?}");
            assert_eq!(found_texts, texts, "{request:?}");
        }
    }

    #[test]
    fn copies_are_not_bound_from_paths_that_the_engine_may_not_take() {
        for (path, mode, can) in [
            ("/c", ExecMode::S1, true),
            ("/a:b/c", ExecMode::S1, false),
            ("/a,b/c", ExecMode::P1, false),
            ("/a:b/c", ExecMode::R1, true),
        ] {
            let path = HostPath::new(path).unwrap();
            assert_eq!(can_bind_from(&path, mode), can, "{path} {mode}");
        }
    }

    #[test]
    fn name_files_are_known_to_novol() {
        for (text, is_name) in [
            ("/etc/hosts", true),
            ("/etc/hostname/", true),
            ("/etc/hosts:/etc/hosts", true),
            ("/etc/hosts:/x", false),
            ("/etc", false),
        ] {
            assert_eq!(is_name_file(text), is_name, "{text}");
        }
    }
}
