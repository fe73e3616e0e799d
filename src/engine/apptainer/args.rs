//! The arguments of `apptainer exec`, and the environment variables that it reads.
//!
//! The value of `--bind` is `SOURCE:TARGET:OPTION`, several of them separated by commas. There is
//! no escape, so paths that contain a colon or a comma cannot be bound.
//!
//! Source: `apptainer exec --help` of 1.4, which this was tested with; `singularity exec --help` of
//! 3.8.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::engine::EngineError;
use crate::spec::{Access, Bind, Identity, Processes, RunSpec, has_separator};

/// Checks that the binds can be expressed.
///
/// # Errors
/// The path of a bind contains a colon or a comma.
pub(super) fn check(spec: &RunSpec) -> Result<(), EngineError> {
    let mut paths = spec
        .binds
        .iter()
        .flat_map(|bind| [bind.source.as_path(), bind.target.as_path()]);
    match paths.find(|path| has_separator(path)) {
        Some(path) => Err(EngineError::Separator(path.to_path_buf())),
        None => Ok(()),
    }
}

/// All arguments, without the program's name. The binds must have passed [`check`].
pub(super) fn arguments(spec: &RunSpec) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&OsStr]| arguments.extend(words.iter().map(OsString::from));
    let word = OsStr::new;

    // Only the binds of the spec are shown: not the host's variables, not home, /tmp and the like,
    // and not the paths that Apptainer's configuration names. Its progress messages are suppressed.
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
        add(&[word("--bind"), &bind_value(bind)]);
    }
    add(&[word("--pwd"), spec.cwd.as_path().as_os_str()]);
    add(&[spec.root.as_path().as_os_str()]);
    arguments.extend(spec.argv.iter().map(OsString::from));
    arguments
}

/// Whether Apptainer mounts this itself.
fn is_mounted_anyway(bind: &Bind) -> bool {
    let source = bind.source.as_path();
    source == bind.target.as_path() && ["/proc", "/sys"].map(Path::new).contains(&source)
}

fn bind_value(bind: &Bind) -> OsString {
    let mut value = bind.source.as_path().as_os_str().to_os_string();
    value.push(":");
    value.push(bind.target.as_path());
    if bind.access == Access::ReadOnly {
        value.push(":ro");
    }
    value
}

/// The guest's variables, with the prefix that makes Apptainer set them in the container.
pub(super) fn environment<'a>(spec: &'a RunSpec, prefix: &str) -> Vec<(OsString, &'a OsStr)> {
    let prefixed = |(name, value): (&OsStr, &'a OsStr)| {
        let mut own = OsString::from(prefix);
        own.push(name);
        (own, value)
    };
    // Apptainer sets HOME itself, and warns of another value.
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
    fn every_part_of_the_spec_becomes_an_argument() {
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
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            assert_eq!(words.join(" "), format!("{front} {told} {end}"));
        }
    }

    #[test]
    fn paths_that_cannot_be_expressed_are_refused() {
        for (source, target) in [("/a:b", "/c"), ("/a", "/b,c")] {
            let spec = RunSpec {
                binds: vec![bind(source, target, Access::ReadWrite)],
                ..spec()
            };
            assert!(matches!(check(&spec), Err(EngineError::Separator(_))));
        }
    }

    #[test]
    fn variables_get_the_prefix() {
        let mut env = GuestEnv::default();
        env.set("A", "b");
        env.set("HOME", "/root");
        let spec = RunSpec { env, ..spec() };
        let expected = [(OsString::from("APPTAINERENV_A"), OsStr::new("b"))];
        assert_eq!(environment(&spec, "APPTAINERENV_"), expected);
    }
}
