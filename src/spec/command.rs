//! Composes the command, and checks before the start that the guest can execute it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::env::GuestEnv;
use super::executable::{elf_architecture, elf_interpreter, runs_on, script_interpreter};
use super::guest::{
    Execution, FileType, GuestView, LookupError, MAX_STEPS, Resolved, resolve_guest_path,
    resolve_within,
};
use super::path::{GuestPath, HostPath};
use super::volume::Bind;

/// A command and its arguments: never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argv {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Argv {
    /// Makes a command from its words; `None` if there are none.
    pub fn new(words: impl IntoIterator<Item = OsString>) -> Option<Argv> {
        let mut words = words.into_iter();
        Some(Argv {
            program: words.next()?,
            arguments: words.collect(),
        })
    }

    /// Makes a command from a program and its arguments.
    pub fn of(program: OsString, arguments: Vec<OsString>) -> Argv {
        Argv { program, arguments }
    }

    /// The first word.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// All words.
    pub fn iter(&self) -> impl Iterator<Item = &OsStr> {
        std::iter::once(self.program.as_os_str())
            .chain(self.arguments.iter().map(OsString::as_os_str))
    }
}

/// Splits the value of `--entrypoint` at blanks, as udocker.py does. The result is empty if the
/// image's entrypoint is to be removed.
pub fn parse_entrypoint(text: &OsStr) -> Vec<OsString> {
    text.as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(|word| OsStr::from_bytes(word).to_os_string())
        .collect()
}

/// A command that the guest cannot execute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecutableError {
    /// No command is given, and the container has no shell.
    #[error("no command given, and no shell found in the container (looked in '{path}')")]
    NoShell {
        /// The search path, `PATH`.
        path: String,
    },
    /// The search path has no such command.
    #[error("command '{command}' not found in the container (looked in '{path}')")]
    NotInPath {
        /// The command.
        command: String,
        /// The search path, `PATH`.
        path: String,
    },
    /// The file does not exist.
    #[error("command '{command}' not found in the container (looked for '{path}')")]
    NotThere {
        /// The command.
        command: String,
        /// The absolute path that was looked up.
        path: GuestPath,
    },
    /// The file is a directory, or a device or such.
    #[error("command '{0}' cannot be executed: it is not a file")]
    NotAFile(GuestPath),
    /// The file has no execute permission.
    #[error("command '{0}' cannot be executed: it has no execute permission")]
    NotExecutable(GuestPath),
    /// The file system is mounted with `noexec`.
    #[error("command '{0}' cannot be executed: its file system is mounted with noexec")]
    NoExec(GuestPath),
    /// The caller may not search the directory.
    #[error("command '{0}' cannot be executed: you may not look into its directory")]
    Hidden(GuestPath),
    /// The interpreter of a script, or the dynamic linker of a program, is missing.
    #[error(
        "command '{command}' cannot be executed: its interpreter '{interpreter}' is not in the container"
    )]
    NoInterpreter {
        /// The script or program.
        command: GuestPath,
        /// The path after `#!`, or in the program's header.
        interpreter: String,
    },
    /// The command is for another architecture.
    #[error(
        "command '{path}' cannot be executed: it is for {architecture}, this machine is {machine}, and no `qemu-{architecture}` was found"
    )]
    OtherMachine {
        /// The command.
        path: GuestPath,
        /// Its architecture.
        architecture: &'static str,
        /// The host's.
        machine: String,
    },
    /// The path has too many symbolic links, or is too long.
    #[error("command cannot be executed: {0}")]
    Lookup(#[from] LookupError),
}

impl ExecutableError {
    /// Whether the command does not exist, rather than not being executable.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            ExecutableError::NoShell { .. }
                | ExecutableError::NotInPath { .. }
                | ExecutableError::NotThere { .. }
        )
    }
}

/// Composes the command by Docker's rules: `--entrypoint` drops the image's `Cmd` too, and
/// arguments replace `Cmd`. `None` if there are no words.
pub(super) fn compose(
    entrypoint: Option<&[OsString]>,
    arguments: &[OsString],
    image_entrypoint: &[String],
    image_cmd: &[String],
) -> Option<Argv> {
    let to_words =
        |words: &[String]| -> Vec<OsString> { words.iter().map(OsString::from).collect() };
    let mut words = match entrypoint {
        Some(words) => words.to_vec(),
        None => to_words(image_entrypoint),
    };
    if !arguments.is_empty() {
        words.extend_from_slice(arguments);
    } else if entrypoint.is_none() {
        words.extend(to_words(image_cmd));
    }
    Argv::new(words)
}

/// Looks up commands in the guest.
pub(super) struct Lookup<'a> {
    pub(super) view: &'a dyn GuestView,
    pub(super) root: &'a HostPath,
    pub(super) binds: &'a [Bind],
    pub(super) environment: &'a GuestEnv,
    pub(super) cwd: &'a GuestPath,
    /// The host's architecture, as `uname -m` prints it.
    pub(super) machine: &'a str,
    /// The host's `PATH`, to find `qemu-<arch>`.
    pub(super) host_path: Option<&'a OsStr>,
    /// Whether the kernel executes the command itself. With id ranges, root inside may execute
    /// files that the caller may not, so such files are left to the kernel.
    pub(super) is_native: bool,
}

/// More than the kernel reads of a script, and enough for all headers of most programs.
const HEAD_BYTES: usize = 4096;

/// The number of path components that one search through `PATH` may follow: a hostile image may
/// have very many links there.
const SEARCH_STEPS: usize = 16 * MAX_STEPS;

/// The kernel's limit for one variable.
const VARIABLE_MAX_BYTES: usize = 128 << 10;

/// The shells to try if there is no command, in this order.
const SHELLS: [&str; 5] = ["bash", "sh", "ash", "dash", "busybox"];

impl Lookup<'_> {
    /// Returns the first shell that the container has.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn shell(&self) -> Result<Argv, ExecutableError> {
        let path = self.search_path();
        let mut steps_left = SEARCH_STEPS;
        SHELLS
            .iter()
            .find(|shell| {
                let found = self.search(OsStr::new(shell), &mut steps_left);
                found.is_ok_and(|found| {
                    found.is_some_and(|found| found.file_type == Some(FileType::File))
                })
            })
            .and_then(|shell| {
                let applet = (*shell == "busybox").then_some("sh");
                Argv::new(std::iter::once(*shell).chain(applet).map(OsString::from))
            })
            .ok_or(ExecutableError::NoShell {
                path: path.to_string_lossy().into_owned(),
            })
    }

    /// Checks that the guest can execute `argv`. Returns the host's emulator if the program is for
    /// another architecture.
    ///
    /// # Errors
    /// The program does not exist or cannot be executed.
    pub(super) fn check(&self, argv: &Argv) -> Result<Option<HostPath>, ExecutableError> {
        let command = argv.program();
        let found = if command.as_bytes().contains(&b'/') {
            let found = self.resolve(&self.cwd.join(Path::new(command)))?;
            if found.file_type.is_none() {
                return Err(ExecutableError::NotThere {
                    command: command.to_string_lossy().into_owned(),
                    path: self.cwd.join(Path::new(command)),
                });
            }
            found
        } else {
            self.search(command, &mut SEARCH_STEPS.clone())?
                .ok_or_else(|| ExecutableError::NotInPath {
                    command: command.to_string_lossy().into_owned(),
                    path: self.search_path().to_string_lossy().into_owned(),
                })?
        };
        self.check_file(&found, 4)
    }

    /// Returns the guest's `PATH`; one that is too long to be passed to a program counts as empty.
    fn search_path(&self) -> &OsStr {
        let path = self.environment.get("PATH").unwrap_or_default();
        match path.len() {
            0..VARIABLE_MAX_BYTES => path,
            _ => OsStr::new(""),
        }
    }

    fn resolve(&self, path: &GuestPath) -> Result<Resolved, LookupError> {
        resolve_guest_path(self.view, self.root, self.binds, path)
    }

    /// Returns the first executable file of that name in `PATH`, else the first file, as shells do.
    fn search(
        &self,
        command: &OsStr,
        steps_left: &mut usize,
    ) -> Result<Option<Resolved>, ExecutableError> {
        // An engine would take a leading dash for an option of its own.
        if command.is_empty() || command.as_bytes().starts_with(b"-") {
            return Ok(None);
        }
        let (mut unusable, mut hidden) = (None, None);
        for directory in self.search_path().as_bytes().split(|&byte| byte == b':') {
            let directory = self.cwd.join(OsStr::from_bytes(directory));
            let path = directory.join(Path::new(command));
            let found = resolve_within(self.view, self.root, self.binds, &path, steps_left);
            let Ok(found) = found else {
                continue;
            };
            match found.file_type {
                Some(FileType::File) if self.is_executable(&found) => return Ok(Some(found)),
                Some(FileType::File) => unusable = unusable.or(Some(found)),
                Some(FileType::Hidden) if self.is_native => hidden = hidden.or(Some(found)),
                _ => {}
            }
        }
        Ok(hidden.or(unusable))
    }

    fn is_executable(&self, found: &Resolved) -> bool {
        match self.view.execution(found.host.as_path()) {
            Execution::Allowed => true,
            Execution::ByOthers => self.is_native,
            Execution::ByNobody | Execution::NoExec => false,
        }
    }

    /// Checks the file as the kernel does; of a script it checks the interpreter too, through
    /// `levels` of scripts.
    fn check_file(
        &self,
        found: &Resolved,
        levels: u8,
    ) -> Result<Option<HostPath>, ExecutableError> {
        match found.file_type {
            Some(FileType::File) => {}
            Some(FileType::Hidden) if self.is_native => return Ok(None),
            Some(FileType::Hidden) => return Err(ExecutableError::Hidden(found.guest.clone())),
            _ => return Err(ExecutableError::NotAFile(found.guest.clone())),
        }
        match self.view.execution(found.host.as_path()) {
            _ if self.is_executable(found) => {}
            Execution::NoExec => return Err(ExecutableError::NoExec(found.guest.clone())),
            _ => return Err(ExecutableError::NotExecutable(found.guest.clone())),
        }
        // A file that may be executed but not read is left to the kernel.
        let head = self.view.read(&found.host, HEAD_BYTES).unwrap_or_default();
        if let Some(interpreter) = script_interpreter(&head) {
            let next = self.interpreter(found, interpreter)?;
            return match levels {
                0 => Ok(None),
                _ => self.check_file(&next, levels - 1),
            };
        }
        match elf_architecture(&head) {
            Some(architecture) if !runs_on(architecture, self.machine) => self
                .emulator(architecture)
                .map(Some)
                .ok_or_else(|| ExecutableError::OtherMachine {
                    path: found.guest.clone(),
                    architecture,
                    machine: self.machine.to_string(),
                }),
            _ => {
                if let Some(linker) = elf_interpreter(&head) {
                    self.interpreter(found, linker)?;
                }
                Ok(None)
            }
        }
    }

    fn interpreter(&self, of: &Resolved, path: &OsStr) -> Result<Resolved, ExecutableError> {
        let found = self.resolve(&self.cwd.join(Path::new(path)))?;
        match found.file_type {
            Some(_) => Ok(found),
            None => Err(ExecutableError::NoInterpreter {
                command: of.guest.clone(),
                interpreter: path.to_string_lossy().into_owned(),
            }),
        }
    }

    fn emulator(&self, architecture: &str) -> Option<HostPath> {
        let path = self.host_path?;
        let directories = path.as_bytes().split(|&byte| byte == b':');
        directories
            .flat_map(|directory| {
                ["", "-static"].map(|ending| {
                    PathBuf::from(OsStr::from_bytes(directory))
                        .join(format!("qemu-{architecture}{ending}"))
                })
            })
            .filter(|candidate| self.view.execution(candidate) == Execution::Allowed)
            .find_map(|candidate| HostPath::new(candidate).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::super::executable;
    use super::super::guest::tests::MemoryView;
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn commands_are_composed_as_docker_does() {
        let composed = |entrypoint: Option<&[&str]>, arguments: &[&str]| -> Vec<String> {
            compose(
                entrypoint.map(words).as_deref(),
                &words(arguments),
                &["ep".to_string(), "-x".to_string()],
                &["cmd".to_string()],
            )
            .iter()
            .flat_map(Argv::iter)
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
        };
        assert_eq!(composed(None, &[]), ["ep", "-x", "cmd"]);
        assert_eq!(
            composed(None, &["a", "", " b "]),
            ["ep", "-x", "a", "", " b "]
        );
        assert_eq!(composed(Some(&["e2"]), &[]), ["e2"]);
        assert_eq!(composed(Some(&["e2"]), &["a"]), ["e2", "a"]);
        assert_eq!(composed(Some(&[]), &["a"]), ["a"]);
        assert_eq!(composed(Some(&[]), &[]), [""; 0]);
    }

    #[test]
    fn entrypoints_are_split_at_blanks() {
        for (text, split) in [
            ("", words(&[])),
            ("  ", words(&[])),
            ("/bin/sh", words(&["/bin/sh"])),
            (" /bin/sh  x.sh ", words(&["/bin/sh", "x.sh"])),
        ] {
            assert_eq!(parse_entrypoint(OsStr::new(text)), split, "{text}");
        }
    }

    fn elf(machine: u16) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01".to_vec();
        head.resize(18, 0);
        head.extend(machine.to_le_bytes());
        head
    }

    fn guest() -> MemoryView {
        MemoryView::default()
            .program("/r/usr/bin/tool", &elf(62))
            .link("/r/bin", "usr/bin")
            .link("/r/usr/bin/sh", "tool")
            .program("/r/usr/bin/foreign", &elf(183))
            .program("/r/usr/bin/other", &elf(21))
            .program("/r/w/script", b"#! /bin/sh -e\n")
            .program("/r/w/nested", b"#!/w/script\n")
            .program("/r/w/lost", b"#!/bin/perl\n")
            .program("/r/w/windows", b"#!/bin/sh\r\n")
            .program(
                "/r/w/linked",
                &executable::tests::elf(true, true, "/lib/ld.so"),
            )
            .foreign_program("/r/sbin/theirs")
            .noexec_program("/r/w/unmoved")
            .closed_directory("/r/home/bob")
            .program("/r/w/text", b"echo\n")
            .file("/r/w/plain", "")
            .file("/r/usr/bin/shadow", "")
            .program("/r/sbin/shadow", &elf(62))
            .program("/host/bin/qemu-aarch64-static", b"")
    }

    fn check(command: &str) -> Result<Option<HostPath>, ExecutableError> {
        check_in(command, "/bin:/sbin", false)
    }

    fn check_in(
        command: &str,
        path: &str,
        is_native: bool,
    ) -> Result<Option<HostPath>, ExecutableError> {
        let view = guest();
        let environment: GuestEnv = [("PATH", path)]
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect();
        Lookup {
            view: &view,
            root: &HostPath::new("/r").unwrap(),
            binds: &[],
            environment: &environment,
            cwd: &GuestPath::new("/w").unwrap(),
            machine: "x86_64",
            host_path: Some(OsStr::new("/none:/host/bin")),
            is_native,
        }
        .check(&Argv::new([OsString::from(command)]).unwrap())
    }

    #[test]
    fn executable_commands_are_found() {
        for command in [
            "tool",
            "sh",
            "/bin/sh",
            "./script",
            "script/../script",
            "./nested",
            "../w/text",
            "shadow",
        ] {
            assert_eq!(check(command), Ok(None), "{command}");
        }
        assert_eq!(
            check("foreign"),
            Ok(Some(
                HostPath::new("/host/bin/qemu-aarch64-static").unwrap()
            ))
        );
    }

    #[test]
    fn errors_say_why_a_command_cannot_be_executed() {
        for (command, message, not_found) in [
            (
                "script",
                "command 'script' not found in the container (looked in '/bin:/sbin')",
                true,
            ),
            (
                "",
                "command '' not found in the container (looked in '/bin:/sbin')",
                true,
            ),
            (
                "./none",
                "command './none' not found in the container (looked for '/w/none')",
                true,
            ),
            (
                "/w",
                "command '/w' cannot be executed: it is not a file",
                false,
            ),
            (
                "./plain",
                "command '/w/plain' cannot be executed: it has no execute permission",
                false,
            ),
            (
                "./lost",
                "command '/w/lost' cannot be executed: its interpreter '/bin/perl' is not in the container",
                false,
            ),
            (
                "./windows",
                "command '/w/windows' cannot be executed: its interpreter '/bin/sh\r' is not in the container",
                false,
            ),
            (
                "./linked",
                "command '/w/linked' cannot be executed: its interpreter '/lib/ld.so' is not in the container",
                false,
            ),
            (
                "theirs",
                "command '/sbin/theirs' cannot be executed: it has no execute permission",
                false,
            ),
            (
                "./unmoved",
                "command '/w/unmoved' cannot be executed: its file system is mounted with noexec",
                false,
            ),
            (
                "/home/bob/bin/x",
                "command '/home/bob/bin/x' cannot be executed: you may not look into its directory",
                false,
            ),
            (
                "other",
                "command '/usr/bin/other' cannot be executed: it is for ppc64le, this machine is x86_64, and no `qemu-ppc64le` was found",
                false,
            ),
        ] {
            let error = check(command).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.is_not_found(), not_found, "{command}");
        }
    }

    #[test]
    fn the_kernel_decides_where_it_executes_the_command() {
        let path = "/home/bob/bin:/bin:/sbin";
        for command in ["theirs", "/sbin/theirs", "/home/bob/bin/x", "none"] {
            assert_eq!(check_in(command, path, true), Ok(None), "{command}");
            assert!(check_in(command, path, false).is_err(), "{command}");
        }
        assert!(check_in("./unmoved", path, true).is_err());
    }

    #[test]
    fn the_first_shell_in_path_is_used() {
        let view = guest();
        let environment: GuestEnv = [(OsString::from("PATH"), OsString::from("/home/bob:/bin"))]
            .into_iter()
            .collect();
        let shell = Lookup {
            view: &view,
            root: &HostPath::new("/r").unwrap(),
            binds: &[],
            environment: &environment,
            cwd: &GuestPath::root(),
            machine: "x86_64",
            host_path: None,
            is_native: true,
        }
        .shell();
        assert_eq!(shell, Ok(Argv::new([OsString::from("sh")]).unwrap()));
    }
}
