//! Plans a run from its parts: binds, user, environment, working directory, command.

use std::path::Path;

use super::accounts::plan_accounts;
use super::apt::plan_apt;
use super::command::{Lookup, compose};
use super::env::{Sources, plan_environment};
use super::guest::{FileType, GuestView, Resolved, resolve_guest_path};
use super::name_files::plan_name_files;
use super::path::{BeneathPath, GuestPath, HostPath};
use super::user::UserPlan;
use super::volume::{BindPlan, BindRequest, plan_binds};
use super::{
    ContainerFacts, ExecMode, HostFacts, Preparation, RunRequest, RunSpec, SpecError, Warning,
};
use crate::oci::ProcessConfig;

/// Plans the run of a container.
///
/// # Errors
/// The root tree, working directory or command does not exist, or a volume, user or other option is
/// invalid; see [`SpecError::exit_status`].
pub fn plan_run(
    request: &RunRequest,
    host: &HostFacts,
    container: &ContainerFacts,
    view: &dyn GuestView,
) -> Result<RunSpec, SpecError> {
    let root = &container.root;
    if view.file_type_followed(root.as_path()) != Some(FileType::Directory) {
        return Err(SpecError::NoRoot(root.clone()));
    }
    if let Some(kernel) = &request.kernel {
        check_kernel(kernel)?;
    }
    let no_image = ProcessConfig::default();
    let image = if request.ignore_image {
        &no_image
    } else {
        &container.image.process
    };

    check_image(image)?;

    let home = host.caller.account.home.as_str();
    let mut binds = plan_binds(
        &BindRequest {
            system_directories: !request.no_system_directories,
            dri: request.dri,
            home: request.bind_home.then_some(home),
            devices: &request.devices,
            volumes: &request.volumes,
            leave_out: &request.leave_out,
        },
        root,
        view,
    )?;
    plan_name_files(request, container, &mut binds, view)?;
    let mut user = plan_accounts(request, image, host, container, &mut binds, view)?;
    plan_apt(user.identity, container, &mut binds, view)?;
    if request.bind_home {
        user.home = home.to_string();
    }

    let env = plan_environment(&Sources {
        host: &host.environment,
        host_variables: &request.host_variables,
        pass_host: request.pass_host_env,
        path: request.search_paths.of(user.uid),
        image: &image.env,
        home: if user.home.is_empty() {
            "/"
        } else {
            &user.home
        },
        descriptive: &container_variables(&user, host, container),
        requested: &request.env,
    });
    let is_native = container.mode == ExecMode::R1 && !request.needs_tracer();
    let cwd = plan_cwd(request, image, &user, root, &mut binds, view, is_native)?;
    let lookup = Lookup {
        view,
        root,
        binds: &binds.binds,
        environment: &env,
        cwd: &cwd,
        machine: &host.machine.architecture,
        host_path: host.environment.get("PATH"),
        is_native,
    };
    let argv = match compose(
        request.entrypoint.as_deref(),
        &request.arguments,
        &image.entrypoint,
        &image.cmd,
    ) {
        Some(argv) => argv,
        None => lookup.shell()?,
    };
    let emulator = lookup.check(&argv)?;
    binds
        .warnings
        .extend(privileged_ports(request, image, host));

    Ok(RunSpec {
        mode: container.mode,
        root: root.clone(),
        root_access: request.root_access,
        directory: container.directory.clone(),
        argv,
        env,
        cwd,
        identity: user.identity,
        binds: binds.binds,
        kernel: request.kernel.clone(),
        host_name: request.host_name.clone(),
        processes: request.processes,
        ports: request.ports.clone(),
        publish_all: request.publish_all,
        cpus: request.cpus.clone(),
        emulator,
        preparations: binds.preparations,
        warnings: binds.warnings,
    })
}

/// Refuses NUL bytes, which JSON can hold, and which end strings for the system.
fn check_image(image: &ProcessConfig) -> Result<(), SpecError> {
    let lists = [&image.env, &image.cmd, &image.entrypoint];
    let mut texts = lists.into_iter().flatten();
    let others = [&image.working_dir, &image.user, &image.hostname];
    if texts.any(|text| text.contains('\0')) || others.iter().any(|text| text.contains('\0')) {
        return Err(SpecError::ImageNul);
    }
    Ok(())
}

/// Refuses releases that PRoot would misread: it takes a value that begins with a backslash for a
/// list of all fields of `uname`.
fn check_kernel(release: &str) -> Result<(), SpecError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-~".contains(&byte);
    if release.is_empty() || release.len() > 64 || !release.bytes().all(allowed) {
        return Err(SpecError::Kernel(release.to_string()));
    }
    Ok(())
}

/// Returns the variables that udocker.py sets in every container.
fn container_variables(
    user: &UserPlan,
    host: &HostFacts,
    container: &ContainerFacts,
) -> Vec<(&'static str, String)> {
    let id = container.shown_id();
    let short_id: String = id.chars().take(8).collect();
    let prompt = if user.uid == 0 { "#" } else { "\\$" };
    let name = || user.name.clone();
    vec![
        ("USER", name()),
        ("LOGNAME", name()),
        ("USERNAME", name()),
        ("PS1", format!("{short_id}{prompt} ")),
        ("SHLVL", "0".to_string()),
        ("container_ruser", host.caller.account.name.clone()),
        ("container_root", container.root.to_string()),
        ("container_uuid", id.to_string()),
        ("container_execmode", container.mode.to_string()),
        ("container_names", container.names.join(",")),
    ]
}

/// Returns the working directory: that of `-w`, which must exist; else the image's, which is
/// created if missing; else the home directory, or `/` if that is missing.
fn plan_cwd(
    request: &RunRequest,
    image: &ProcessConfig,
    user: &UserPlan,
    root: &HostPath,
    binds: &mut BindPlan,
    view: &dyn GuestView,
    is_native: bool,
) -> Result<GuestPath, SpecError> {
    // With id ranges, root inside may enter directories that the caller may not: the kernel decides
    // then.
    let is_directory = |found: &Resolved| match found.file_type {
        Some(FileType::Directory) => true,
        Some(FileType::Hidden) => is_native,
        _ => false,
    };
    // A mount point, or a directory above one, will exist.
    let is_prepared = |host: &BeneathPath, binds: &BindPlan| {
        binds.preparations.iter().any(|preparation| {
            matches!(preparation, Preparation::MountDirectory(path) | Preparation::MountFile(path)
                if path.as_path().starts_with(host.as_path()))
        })
    };
    let resolve =
        |path: &GuestPath, binds: &BindPlan| resolve_guest_path(view, root, &binds.binds, path);
    if let Some(workdir) = &request.workdir {
        let path = GuestPath::new(Path::new(workdir))?;
        let found = resolve(&path, binds)?;
        return match found.file_type {
            _ if is_directory(&found) => Ok(path),
            None if is_prepared(&found.host, binds) => Ok(path),
            _ => Err(SpecError::NoWorkdir(path)),
        };
    }
    if !image.working_dir.is_empty() {
        let path = GuestPath::root().join(&image.working_dir);
        let found = resolve(&path, binds)?;
        return match found.file_type {
            _ if is_directory(&found) => Ok(path),
            None => {
                binds
                    .preparations
                    .push(Preparation::WorkingDirectory(found.host));
                Ok(path)
            }
            Some(_) => Err(SpecError::NoWorkdir(path)),
        };
    }
    let home = GuestPath::root().join(&user.home);
    let has_home =
        resolve(&home, binds).is_ok_and(|found| found.file_type == Some(FileType::Directory));
    Ok(if has_home { home } else { GuestPath::root() })
}

/// Returns a warning of ports below 1024 that the image exposes and that are not mapped.
fn privileged_ports(
    request: &RunRequest,
    image: &ProcessConfig,
    host: &HostFacts,
) -> Option<Warning> {
    if host.caller.account.uid == 0 || request.publish_all {
        return None;
    }
    let ports: Vec<u16> = image
        .exposed_ports
        .iter()
        .filter_map(|port| port.split('/').next()?.parse().ok())
        .filter(|&port| {
            let is_mapped = |mapping: &super::PortMapping| mapping.guest == port;
            port < 1024 && !request.ports.iter().any(is_mapped)
        })
        .collect();
    (!ports.is_empty()).then_some(Warning::PrivilegedPorts(ports))
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};

    use super::super::guest::tests::MemoryView;
    use super::*;
    use crate::host::facts::{Account, Caller, Machine};
    use crate::oci::ImageConfig;
    use crate::spec::{ExecMode, GuestEnv, Identity, PortMapping, UserSpec, Volume};

    fn path(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
    }

    fn host() -> HostFacts {
        HostFacts {
            caller: Caller {
                account: Account {
                    name: "me".to_string(),
                    uid: 1000,
                    gid: 1000,
                    gecos: String::new(),
                    home: "/home/me".to_string(),
                    shell: String::new(),
                },
                groups: vec![1000],
            },
            machine: Machine {
                architecture: "x86_64".to_string(),
                kernel: "6.1.0".to_string(),
            },
            environment: GuestEnv::default(),
        }
    }

    fn container(process: ProcessConfig) -> ContainerFacts {
        ContainerFacts {
            id: Some("01234567-89ab".to_string()),
            names: vec!["a".to_string(), "b".to_string()],
            mode: ExecMode::P2,
            root: path("/c/ROOT"),
            directory: path("/c"),
            run_directory: Some(path("/tmp/run")),
            image: ImageConfig {
                process,
                ..ImageConfig::default()
            },
        }
    }

    fn view() -> MemoryView {
        MemoryView::default()
            .directory("/home/me")
            .directory("/data")
            .directory("/c/ROOT/root")
            .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
            .file("/etc/group", "root:x:0:\n")
            .file("/c/ROOT/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
            .file("/c/ROOT/etc/group", "root:x:0:\nme:x:1000:\n")
            .program("/c/ROOT/bin/sh", b"")
            .program("/c/ROOT/bin/tool", b"")
    }

    fn plan(request: &RunRequest, process: ProcessConfig) -> Result<RunSpec, SpecError> {
        plan_run(request, &host(), &container(process), &view())
    }

    fn words(spec: &RunSpec) -> Vec<&OsStr> {
        spec.argv.iter().collect()
    }

    #[test]
    fn a_run_without_default_binds_needs_only_its_root() {
        let spec = plan(
            &RunRequest {
                no_system_directories: true,
                ..RunRequest::default()
            },
            ProcessConfig::default(),
        )
        .unwrap();
        assert_eq!(words(&spec), ["sh"]);
        assert_eq!(spec.cwd.to_string(), "/root");
        assert_eq!(spec.identity, Identity::Emulated { uid: 0, gid: 0 });
        assert_eq!((spec.binds, spec.preparations), (vec![], vec![]));
        for (name, value) in [
            ("HOME", "/root"),
            ("USER", "root"),
            ("PS1", "01234567# "),
            ("container_ruser", "me"),
            ("container_root", "/c/ROOT"),
            ("container_uuid", "01234567-89ab"),
            ("container_execmode", "P2"),
            ("container_names", "a,b"),
        ] {
            assert_eq!(spec.env.get(name), Some(OsStr::new(value)), "{name}");
        }
    }

    #[test]
    fn a_nul_byte_in_the_image_is_refused_unless_the_image_is_ignored() {
        let text = || "a\0b".to_string();
        let none = ProcessConfig::default;
        for process in [
            ProcessConfig {
                cmd: vec!["sh".to_string(), text()],
                ..none()
            },
            ProcessConfig {
                entrypoint: vec![text()],
                ..none()
            },
            ProcessConfig {
                env: vec![text()],
                ..none()
            },
            ProcessConfig {
                working_dir: text(),
                ..none()
            },
            ProcessConfig {
                user: text(),
                ..none()
            },
        ] {
            let error = plan(&RunRequest::default(), process.clone()).unwrap_err();
            assert!(matches!(error, SpecError::ImageNul), "{error}");
            let ignoring = RunRequest {
                ignore_image: true,
                ..RunRequest::default()
            };
            assert!(plan(&ignoring, process).is_ok());
        }
    }

    #[test]
    fn a_directory_that_the_caller_may_not_search_is_left_to_the_kernel_in_mode_r1() {
        let view = view().closed_directory("/c/ROOT/home/bob");
        for (mode, is_fine) in [(ExecMode::R1, true), (ExecMode::P1, false)] {
            let request = RunRequest {
                workdir: Some("/home/bob/src".into()),
                ..RunRequest::default()
            };
            let container = ContainerFacts {
                mode,
                ..container(ProcessConfig::default())
            };
            let planned = plan_run(&request, &host(), &container, &view);
            assert_eq!(planned.is_ok(), is_fine, "{mode}");
        }
    }

    #[test]
    fn image_metadata_applies_unless_ignored() {
        let process = ProcessConfig {
            entrypoint: vec!["tool".to_string()],
            cmd: vec!["arg".to_string()],
            env: vec!["A=b".to_string()],
            working_dir: "/w".to_string(),
            user: "1000:1000".to_string(),
            exposed_ports: vec!["80/tcp".to_string(), "8080".to_string()],
            ..ProcessConfig::default()
        };
        let spec = plan(&RunRequest::default(), process.clone()).unwrap();
        assert_eq!(words(&spec), ["tool", "arg"]);
        assert_eq!(spec.cwd.to_string(), "/w");
        assert_eq!(spec.env.get("A"), Some(OsStr::new("b")));
        assert_eq!(spec.identity, Identity::Caller);
        assert!(
            spec.preparations
                .contains(&Preparation::WorkingDirectory(BeneathPath::beneath(
                    &path("/c/ROOT"),
                    Path::new("/w")
                )))
        );
        assert_eq!(spec.warnings, [Warning::PrivilegedPorts(vec![80])]);

        let ignored = RunRequest {
            ignore_image: true,
            ..RunRequest::default()
        };
        assert_eq!(
            plan(&ignored, process.clone()),
            plan(&RunRequest::default(), ProcessConfig::default())
        );
        let mapped = RunRequest {
            ports: vec![PortMapping {
                host: 8000,
                guest: 80,
            }],
            ..RunRequest::default()
        };
        assert_eq!(plan(&mapped, process).unwrap().warnings, []);
    }

    #[test]
    fn apt_gets_its_setting_for_root_in_mode_r1() {
        let target = "/etc/apt/apt.conf.d/zz-udocker";
        for (mode, user, has_apt, is_told) in [
            (ExecMode::R1, "root", true, true),
            (ExecMode::R1, "1000", true, false),
            (ExecMode::R1, "root", false, false),
            (ExecMode::P1, "root", true, false),
        ] {
            let mut view = view();
            if has_apt {
                view = view.directory("/c/ROOT/etc/apt/apt.conf.d");
            }
            let request = RunRequest {
                user: Some(UserSpec::parse(user).unwrap()),
                ..RunRequest::default()
            };
            let container = ContainerFacts {
                mode,
                ..container(ProcessConfig::default())
            };
            let spec = plan_run(&request, &host(), &container, &view).unwrap();
            let bind = spec
                .binds
                .iter()
                .find(|bind| bind.target.as_path() == Path::new(target));
            assert_eq!(bind.is_some(), is_told, "{mode} {user} {has_apt}");
        }
    }

    #[test]
    fn other_users_get_generated_files_bound() {
        let request = RunRequest {
            user: Some(UserSpec::parse("new").unwrap()),
            ..RunRequest::default()
        };
        let spec = plan(&request, ProcessConfig::default()).unwrap();
        let [Preparation::Generate { path, text, .. }] = &spec.preparations[..] else {
            panic!("{:?}", spec.preparations);
        };
        assert!(path.to_string().starts_with("/c/passwd-"), "{path}");
        assert!(text.starts_with("new:x:1000:1000:"), "{text}");
        assert!(spec.binds.iter().any(|bind| {
            bind.source == *path && bind.target.as_path() == Path::new("/etc/passwd")
        }));
    }

    #[test]
    fn account_files_that_the_user_binds_are_kept() {
        // Whatever type the bound file has.
        for (volume, file) in [
            ("/etc", "passwd"),
            ("/etc/passwd", "passwd"),
            ("/data:/etc/group", "group"),
        ] {
            let request = RunRequest {
                volumes: vec![Volume::parse(OsStr::new(volume)).unwrap()],
                user: Some(UserSpec::parse("root").unwrap()),
                ..RunRequest::default()
            };
            let spec = plan(&request, ProcessConfig::default()).unwrap();
            assert_eq!(spec.env.get("HOME"), Some(OsStr::new("/root")), "{volume}");
            let is_changed = |made: &Preparation| {
                matches!(made, Preparation::Append { .. })
                    || matches!(made, Preparation::Generate { path, .. }
                        if path.to_string().contains(file))
            };
            assert!(!spec.preparations.iter().any(is_changed), "{volume}");
        }
    }

    #[test]
    fn errors_have_dockers_exit_statuses() {
        let request = RunRequest::default;
        let arguments = |command: &str| vec![OsString::from(command)];
        for (request, status) in [
            (
                RunRequest {
                    workdir: Some("/none".into()),
                    ..request()
                },
                125,
            ),
            (
                RunRequest {
                    workdir: Some("root".into()),
                    ..request()
                },
                125,
            ),
            (
                RunRequest {
                    kernel: Some("\\Linux\\x".to_string()),
                    ..request()
                },
                125,
            ),
            (
                RunRequest {
                    arguments: arguments("none"),
                    ..request()
                },
                127,
            ),
            (
                RunRequest {
                    arguments: arguments("-x"),
                    ..request()
                },
                127,
            ),
            (
                RunRequest {
                    arguments: arguments("/root"),
                    ..request()
                },
                126,
            ),
        ] {
            let error = plan(&request, ProcessConfig::default()).unwrap_err();
            assert_eq!(error.exit_status(), status, "{error}");
        }
        let broken = ProcessConfig {
            user: "a:b:c".to_string(),
            ..ProcessConfig::default()
        };
        assert_eq!(plan(&request(), broken).unwrap_err().exit_status(), 125);
    }

    #[test]
    fn a_working_directory_may_be_a_mount_point_or_above_one() {
        let request = RunRequest {
            volumes: vec![Volume::parse(OsStr::new("/data:/new/deep")).unwrap()],
            ..RunRequest::default()
        };
        for workdir in ["/new/deep", "/new"] {
            let request = RunRequest {
                workdir: Some(workdir.into()),
                ..request.clone()
            };
            let spec = plan(&request, ProcessConfig::default()).unwrap();
            assert_eq!(spec.cwd.to_string(), workdir);
        }
    }

    #[test]
    fn the_home_directory_can_be_bound() {
        let request = RunRequest {
            bind_home: true,
            ..RunRequest::default()
        };
        let spec = plan(&request, ProcessConfig::default()).unwrap();
        assert_eq!(spec.env.get("HOME"), Some(OsStr::new("/home/me")));
        assert_eq!(spec.cwd.to_string(), "/home/me");
    }
}
