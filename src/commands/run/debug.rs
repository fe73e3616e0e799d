//! What `udocker -D run` tells of a run before it starts.

use std::ffi::OsStr;
use std::fmt::Display;

use crate::spec::{Access, Identity, Preparation, Processes, RunSpec};

/// Returns one line for each decision in `spec`. Values of variables are left out, since they may
/// be secrets.
pub(super) fn debug_lines(spec: &RunSpec) -> Vec<String> {
    let sealed = |access| match access {
        Access::ReadOnly => " (read-only)",
        Access::ReadWrite => "",
    };
    let words = |words: &mut dyn Iterator<Item = &OsStr>| -> String {
        let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
        words.join(" ")
    };
    let names: Vec<_> = spec
        .env
        .iter()
        .map(|(name, _)| name.to_string_lossy())
        .collect();
    let mut lines = vec![
        format!(
            "mode: {}, root tree '{}'{}",
            spec.mode,
            spec.root,
            sealed(spec.root_access)
        ),
        format!("files of the run are kept in '{}'", spec.directory),
        format!("command: {}", words(&mut spec.argv.iter())),
        format!("working directory: '{}'", spec.cwd),
        match spec.identity {
            Identity::Caller => "user: the calling user".to_string(),
            Identity::Emulated { uid, gid } => format!("user: emulated, uid {uid}, gid {gid}"),
        },
        format!("variables: {}", names.join(" ")),
    ];
    let mut option = |name: &str, value: Option<&dyn Display>| {
        lines.extend(value.map(|value| format!("{name}: {value}")));
    };
    option("kernel release", spec.kernel.as_ref().map(|it| it as _));
    option("host name", spec.host_name.as_ref().map(|it| it as _));
    option("emulator", spec.emulator.as_ref().map(|it| it as _));
    lines.extend(match spec.processes {
        Processes::Hosts => None,
        Processes::Reaped => Some("processes: with an init process".to_string()),
        Processes::Own => Some("processes: the container's own".to_string()),
    });
    let ports = spec.ports.iter();
    lines.extend(ports.map(|port| format!("port {} is {} on the host", port.guest, port.host)));
    lines.extend(spec.binds.iter().map(|bind| {
        let (source, target, access) = (&bind.source, &bind.target, sealed(bind.access));
        let memory = bind
            .tmpfs
            .map(|options| format!(", in memory if possible ({options})"));
        format!(
            "bind '{source}' at '{target}'{access}{}",
            memory.unwrap_or_default()
        )
    }));
    lines.extend(
        spec.preparations
            .iter()
            .map(|preparation| match preparation {
                Preparation::MountDirectory(path) => format!("mount point '{path}' (directory)"),
                Preparation::MountFile(path) => format!("mount point '{path}' (file)"),
                Preparation::WorkingDirectory(path) => format!("create the directory '{path}'"),
                Preparation::Append { path, .. } => format!("add lines to '{path}'"),
                Preparation::Generate { path, .. } => format!("create '{path}', unless it exists"),
                Preparation::WriteForRun { path, .. } => format!("write '{path}'"),
            }),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Bind, ExecMode, GuestPath, HostPath};

    #[test]
    fn every_decision_is_told_but_no_value_of_a_variable() {
        let mut spec = RunSpec::plain(ExecMode::R1);
        let path = HostPath::new("/c/passwd-1").unwrap();
        spec.env.set("TOKEN", "secret");
        spec.root_access = Access::ReadOnly;
        spec.kernel = Some("6.1".to_string());
        spec.processes = Processes::Own;
        spec.binds = vec![Bind {
            source: path.clone(),
            target: GuestPath::new("/etc/passwd").unwrap(),
            access: Access::ReadOnly,
            tmpfs: None,
            is_default: false,
        }];
        let text = "me:x\n".to_string();
        spec.preparations = vec![Preparation::Generate { path, text }];
        assert_eq!(
            debug_lines(&spec),
            [
                "mode: R1, root tree '/c/ROOT' (read-only)",
                "files of the run are kept in '/c'",
                "command: \"sh\" \"-c\" \"\"",
                "working directory: '/w'",
                "user: the calling user",
                "variables: TOKEN",
                "kernel release: 6.1",
                "processes: the container's own",
                "bind '/c/passwd-1' at '/etc/passwd' (read-only)",
                "create '/c/passwd-1', unless it exists",
            ]
        );
    }
}
