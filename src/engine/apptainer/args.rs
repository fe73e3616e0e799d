//! What Apptainer is told: the arguments of `apptainer exec` and its part of the environment.
//!
//! A bind is `SOURCE:TARGET:OPTION`, several of them separated by commas, and there is no escape, so
//! paths with either in them cannot be bound.
//!
//! Source: `apptainer exec --help` of 1.4, with which it was tried, `singularity exec --help` of 3.8.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::engine::EngineError;
use crate::spec::{Access, Bind, Identity, Processes, RunSpec};

/// Everything after the program's own name.
///
/// # Errors
/// A bind has a colon or a comma in it.
pub(super) fn arguments(spec: &RunSpec) -> Result<Vec<OsString>, EngineError> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&OsStr]| arguments.extend(words.iter().map(OsString::from));
    let word = OsStr::new;

    // Nothing of the host but what is bound: neither its variables nor home, /tmp and the like, nor
    // the files that its configuration names; and no word about how it goes about that.
    add(&["--quiet", "exec", "--cleanenv", "--contain", "--no-home"].map(word));
    add(&["--no-mount", "bind-paths", "--userns"].map(word));
    if let Identity::Emulated { uid: 0, .. } = spec.identity {
        add(&[word("--fakeroot")]);
    }
    if spec.root_access == Access::ReadWrite {
        add(&[word("--writable")]);
    }
    if let Some(name) = &spec.host_name {
        add(&[word("--hostname"), word(name.as_str())]);
    }
    if spec.processes != Processes::Hosts {
        add(&[word("--pid")]);
    }
    for bind in spec.binds.iter().filter(|bind| !is_mounted_anyway(bind)) {
        add(&[word("--bind"), &bind_value(bind)?]);
    }
    add(&[word("--pwd"), spec.cwd.as_path().as_os_str()]);
    add(&[spec.root.as_path().as_os_str()]);
    arguments.extend(spec.argv.iter().map(OsString::from));
    Ok(arguments)
}

/// Apptainer mounts these itself.
fn is_mounted_anyway(bind: &Bind) -> bool {
    let source = bind.source.as_path();
    source == bind.target.as_path() && ["/proc", "/sys"].map(Path::new).contains(&source)
}

fn bind_value(bind: &Bind) -> Result<OsString, EngineError> {
    let (source, target) = (bind.source.as_path(), bind.target.as_path());
    for path in [source, target] {
        if path
            .as_os_str()
            .as_bytes()
            .iter()
            .any(|byte| b":,".contains(byte))
        {
            return Err(EngineError::Separator(path.to_path_buf()));
        }
    }
    let mut value = source.as_os_str().to_os_string();
    value.push(":");
    value.push(target);
    if bind.access == Access::ReadOnly {
        value.push(":ro");
    }
    Ok(value)
}

/// The guest's variables, each under the name by which Apptainer is told to set it.
pub(super) fn environment<'a>(spec: &'a RunSpec, prefix: &str) -> Vec<(OsString, &'a OsStr)> {
    let prefixed = |(name, value): (&OsStr, &'a OsStr)| {
        let mut own = OsString::from(prefix);
        own.push(name);
        (own, value)
    };
    // It insists on its own idea of the home directory, and warns of any other.
    let wanted = spec.env.iter().filter(|(name, _)| *name != "HOME");
    wanted.map(prefixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ExecMode, GuestEnv, GuestPath, HostPath};

    fn spec() -> RunSpec {
        RunSpec::plain(ExecMode::S1)
    }

    fn bind(source: &str, target: &str, access: Access) -> Bind {
        Bind {
            source: HostPath::new(source).unwrap(),
            target: GuestPath::new(target).unwrap(),
            access,
            tmpfs: None,
            is_default: false,
        }
    }

    #[test]
    fn every_part_of_the_spec_is_told() {
        let front = "--quiet exec --cleanenv --contain --no-home --no-mount bind-paths --userns";
        let end = "--pwd /w /c/ROOT sh -c ";
        let (writable, sealed) = (Access::ReadWrite, Access::ReadOnly);
        for (spec, told) in [
            (spec(), "--writable"),
            (
                RunSpec {
                    root_access: sealed,
                    identity: Identity::Emulated { uid: 0, gid: 0 },
                    ..spec()
                },
                "--fakeroot",
            ),
            (
                RunSpec {
                    host_name: Some("box".parse().unwrap()),
                    processes: Processes::Own,
                    ..spec()
                },
                "--writable --hostname box --pid",
            ),
            (
                RunSpec {
                    binds: vec![
                        bind("/dev", "/dev", writable),
                        bind("/proc", "/proc", writable),
                        bind("/a b", "/c", sealed),
                    ],
                    ..spec()
                },
                "--writable --bind /dev:/dev --bind /a b:/c:ro",
            ),
        ] {
            let words: Vec<String> = arguments(&spec)
                .unwrap()
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            assert_eq!(words.join(" "), format!("{front} {told} {end}"));
        }
    }

    #[test]
    fn paths_that_would_be_misread_are_refused() {
        for (source, target) in [("/a:b", "/c"), ("/a", "/b,c")] {
            let spec = RunSpec {
                binds: vec![bind(source, target, Access::ReadWrite)],
                ..spec()
            };
            assert!(matches!(arguments(&spec), Err(EngineError::Separator(_))));
        }
    }

    #[test]
    fn variables_are_handed_over() {
        let mut env = GuestEnv::default();
        env.set("A", "b");
        env.set("HOME", "/root");
        let spec = RunSpec { env, ..spec() };
        let expected = [(OsString::from("APPTAINERENV_A"), OsStr::new("b"))];
        assert_eq!(environment(&spec, "APPTAINERENV_"), expected);
    }
}
