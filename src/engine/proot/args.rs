//! The arguments of PRoot, and the environment variables that it reads.
//!
//! The embedded PRoot has `--bind-rw` and `--bind-ro`, which take two paths literally. PRoot 5.4
//! cuts the value of `-b` at the first `:`, has no escape, and removes a `!` at the end. (The `!`
//! means that a symbolic link at the guest path is not followed; targets here are not links.)

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Features;
use crate::engine::EngineError;
use crate::spec::{ATTRIBUTES_FILE, Access, Bind, Identity, RunSpec};

/// All arguments, without PRoot's name.
///
/// # Errors
/// The source of a bind contains a colon, and this PRoot has only `-b`.
pub(in crate::engine) fn arguments(
    spec: &RunSpec,
    features: Features,
) -> Result<Vec<OsString>, EngineError> {
    let mut arguments = Vec::new();
    let mut add = |words: &[&OsStr]| arguments.extend(words.iter().map(OsString::from));
    let word = OsStr::new;

    if features.follows_main_process {
        add(&[word("--kill-on-exit")]);
    }
    match spec.identity {
        Identity::Caller => {}
        Identity::Emulated { uid: 0, gid: 0 } => add(&[word("-0")]),
        Identity::Emulated { uid, gid } => add(&[word("-i"), word(&format!("{uid}:{gid}"))]),
    }
    if features.remembers_attributes && spec.identity != Identity::Caller {
        let path = spec.directory.as_path().join(ATTRIBUTES_FILE);
        add(&[word("--attributes"), path.as_os_str()]);
    }
    if let Some(kernel) = &spec.kernel {
        add(&[word("-k"), word(kernel)]);
    }
    for port in &spec.ports {
        let mapping = format!("{}:{}", port.guest, port.host);
        add(&[word("-p"), word(&mapping)]);
    }
    if spec.publish_all {
        add(&[word("-n")]);
    }
    if let Some(emulator) = &spec.emulator {
        add(&[word("-q"), emulator.as_path().as_os_str()]);
    }
    for bind in &spec.binds {
        if features.own_bind_options {
            let option = match bind.access {
                Access::ReadWrite => "--bind-rw",
                Access::ReadOnly => "--bind-ro",
            };
            let (source, target) = (bind.source.as_path(), bind.target.as_path());
            add(&[word(option), source.as_os_str(), target.as_os_str()]);
        } else {
            add(&[word("-b"), &bind_value(bind)?]);
        }
    }
    add(&[word("-w"), spec.cwd.as_path().as_os_str()]);
    let root = spec.root.as_path().as_os_str();
    match spec.root_access {
        Access::ReadOnly if features.own_bind_options => add(&[word("--bind-ro"), root, word("/")]),
        _ => add(&[word("-r"), root]),
    }
    arguments.extend(spec.argv.iter().map(OsString::from));
    Ok(arguments)
}

fn bind_value(bind: &Bind) -> Result<OsString, EngineError> {
    let source = bind.source.as_path().as_os_str();
    if source.as_bytes().contains(&b':') {
        return Err(EngineError::ColonInSource(bind.source.clone()));
    }
    let mut value = source.to_os_string();
    value.push(":");
    value.push(bind.target.as_path());
    if value.as_bytes().ends_with(b"!") {
        value.push("!");
    }
    Ok(value)
}

/// The environment variables for PRoot itself. The embedded PRoot removes `PROOT_LOADER`,
/// `PROOT_LOADER_32` and `PROOT_TMP_DIR` from the guest's environment. `PROOT_NO_SECCOMP`, and with
/// another PRoot all of them, stay visible in the guest, which is harmless.
pub(in crate::engine) fn environment<'a>(
    tmp_dir: &'a Path,
    loader: Option<&'a Path>,
    loader_32: Option<&'a Path>,
    seccomp: bool,
) -> Vec<(&'a OsStr, &'a OsStr)> {
    let mut environment = vec![(OsStr::new("PROOT_TMP_DIR"), tmp_dir.as_os_str())];
    for (name, path) in [("PROOT_LOADER", loader), ("PROOT_LOADER_32", loader_32)] {
        environment.extend(path.map(|path| (OsStr::new(name), path.as_os_str())));
    }
    if !seccomp {
        environment.push((OsStr::new("PROOT_NO_SECCOMP"), OsStr::new("1")));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ExecMode, GuestPath, HostPath, PortMapping, Volume};

    fn spec() -> RunSpec {
        RunSpec::plain(ExecMode::P1)
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

    fn words(spec: &RunSpec, features: Features) -> Vec<String> {
        arguments(spec, features)
            .unwrap()
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_callers_own_identity_needs_no_option() {
        assert_eq!(
            words(&spec(), Features::OTHER),
            ["-w", "/w", "-r", "/c/ROOT", "sh", "-c", ""]
        );
    }

    #[test]
    fn every_part_of_the_spec_becomes_an_argument() {
        let full = RunSpec {
            identity: Identity::Emulated { uid: 5, gid: 6 },
            binds: vec![bind("/dev", "/dev"), bind("/a", "/b:ro"), bind("/a", "/c!")],
            kernel: Some("6.0.0".to_string()),
            ports: vec![PortMapping {
                host: 8080,
                guest: 80,
            }],
            publish_all: true,
            emulator: Some(HostPath::new("/usr/bin/qemu-arm").unwrap()),
            ..spec()
        };
        assert_eq!(
            words(&full, Features::OTHER).join(" "),
            "-i 5:6 -k 6.0.0 -p 80:8080 -n -q /usr/bin/qemu-arm \
             -b /dev:/dev -b /a:/b:ro -b /a:/c!! -w /w -r /c/ROOT sh -c "
        );
        let root = RunSpec {
            identity: Identity::Emulated { uid: 0, gid: 0 },
            ..spec()
        };
        assert_eq!(words(&root, Features::OTHER)[0], "-0");
    }

    #[test]
    fn the_embedded_proot_takes_any_path_and_binds_read_only() {
        let read_only = Bind {
            access: Access::ReadOnly,
            ..bind("/a:b!", "/c:d")
        };
        let spec = RunSpec {
            binds: vec![bind("/dev", "/dev"), read_only],
            ..spec()
        };
        let ours = Features {
            follows_main_process: true,
            own_bind_options: true,
            remembers_attributes: true,
        };
        assert_eq!(
            words(&spec, ours).join(" "),
            "--kill-on-exit --bind-rw /dev /dev --bind-ro /a:b! /c:d -w /w -r /c/ROOT sh -c "
        );
        let emulated = RunSpec {
            identity: Identity::Emulated { uid: 0, gid: 0 },
            ..self::spec()
        };
        assert_eq!(
            words(&emulated, ours).join(" "),
            "--kill-on-exit -0 --attributes /c/attributes -w /w -r /c/ROOT sh -c "
        );
        let sealed = RunSpec {
            root_access: Access::ReadOnly,
            ..self::spec()
        };
        assert_eq!(
            words(&sealed, ours).join(" "),
            "--kill-on-exit -w /w --bind-ro /c/ROOT / sh -c "
        );
    }

    #[test]
    fn a_bind_that_proot_would_misread_is_refused() {
        let colon = RunSpec {
            binds: vec![bind("/a:b", "/c")],
            ..spec()
        };
        assert!(matches!(
            arguments(&colon, Features::OTHER),
            Err(EngineError::ColonInSource(_))
        ));
    }

    proptest::proptest! {
        #[test]
        fn proot_parses_generated_binds_correctly(text in "/[ab:!/ ]{0,8}(:/[ab:!/ ]{1,8})?") {
            let Ok(volume) = Volume::parse(OsStr::new(&text)) else {
                return Ok(());
            };
            let meant = Bind {
                source: volume.source,
                target: volume.target,
                access: volume.access,
                tmpfs: None,
                is_default: false,
            };
            let Ok(value) = bind_value(&meant) else {
                return Ok(());
            };
            let value = value.into_string().unwrap();
            let (source, target) = value.split_once(':').unwrap();
            let target = target.strip_suffix('!').unwrap_or(target);
            proptest::prop_assert_eq!(meant, bind(source, target));
        }
    }
}
