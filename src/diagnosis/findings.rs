//! Decides what the facts mean for containers, and who can change them.

use super::facts::{DirState, Facts, ProbedDir, Purpose, Repository};
use super::finding::Finding;
use crate::engine::namespace::Cause;
use crate::registry::without_login;
use crate::spec::ExecMode;

/// With fewer free bytes, an ordinary image does not fit.
const FEW_BYTES: u64 = 1 << 30;

/// With fewer free inodes, an ordinary image does not fit.
const FEW_INODES: u64 = 50_000;

/// Returns the execution modes that work on this host.
pub fn modes(facts: &Facts) -> Vec<ExecMode> {
    if facts.repository.executable.is_err() {
        return Vec::new();
    }
    let namespaces = facts.namespaces.is_ok();
    let (fast, plain) = (facts.accelerated_tracing.is_ok(), facts.tracing.is_ok());
    let modes = [
        (ExecMode::R1, namespaces),
        (ExecMode::P1, fast),
        (ExecMode::P2, plain),
        (ExecMode::R2, namespaces && fast),
        (ExecMode::R3, namespaces && plain),
        (ExecMode::S1, namespaces && facts.apptainer),
    ];
    modes
        .into_iter()
        .filter_map(|(mode, works)| works.then_some(mode))
        .collect()
}

/// Returns one finding for each check, in the order of the output.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let repository = &facts.repository;
    let mut findings = vec![
        kernel(facts),
        namespaces(facts),
        further_ids(facts),
        tracing(facts),
        filters(facts),
        openat2(facts),
    ];
    findings.extend(facts.directories.iter().map(directory));
    findings.extend([
        writable(repository),
        file_system(repository),
        locks(repository),
        space(repository),
        inodes(repository),
        proxies(facts),
        authorities(facts),
    ]);
    findings.extend(registry(facts));
    findings
}

fn kernel(facts: &Facts) -> Finding {
    let machine = &facts.machine;
    let found = format!("Linux {} on {}", machine.kernel, machine.architecture);
    Finding::fine("kernel", found)
}

fn namespaces(facts: &Facts) -> Finding {
    const CHECK: &str = "user namespaces";
    let cause = match facts.namespaces {
        Ok(()) => {
            let settings = facts.settings.iter();
            let settings: Vec<String> = settings
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            let found = match settings.is_empty() {
                true => "allowed".to_string(),
                false => format!("allowed; {}", settings.join(", ")),
            };
            return Finding::fine(CHECK, found);
        }
        Err(cause) => cause,
    };
    let meaning = match cause {
        Cause::NoProc => {
            "no mode R1, the one at native speed; in P1 and P2 programs that walk directories may fail"
        }
        _ => "no mode R1, the one at native speed",
    };
    let finding = Finding::limited(CHECK, cause.to_string(), meaning);
    match cause {
        Cause::Setting { name, wanted, .. } => {
            finding.administrator_can(format!("sysctl -w {name}={wanted}"))
        }
        Cause::TooMany => finding.administrator_can("raise `user.max_user_namespaces`"),
        Cause::Kernel => finding.administrator_can("install a kernel with CONFIG_USER_NS"),
        Cause::NoProc => finding.administrator_can("mount /proc"),
        Cause::Tracer => finding.you_can("ask outside of the container that this runs in"),
        Cause::Policy => finding.administrator_can(
            "allow `unshare`, `mount` and `pivot_root` in the seccomp or AppArmor profile",
        ),
    }
}

fn further_ids(facts: &Facts) -> Finding {
    const CHECK: &str = "further ids";
    const MEANING: &str = "in mode R1 everything belongs to one user; other owners are imitated";
    let grant = &facts.grant;
    if grant.users == 0 || grant.groups == 0 {
        return Finding::limited(CHECK, "none in /etc/subuid and /etc/subgid", MEANING)
            .administrator_can(
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
            );
    }
    let ids = format!("{} users, {} groups", grant.users, grant.groups);
    if !grant.missing.is_empty() {
        let missing = grant.missing.join(" and ");
        return Finding::limited(CHECK, format!("{ids}, but no {missing}"), MEANING)
            .administrator_can("install newuidmap and newgidmap (package uidmap or shadow-utils)");
    }
    match &facts.ranges {
        Ok(()) => Finding::fine(CHECK, ids),
        // The check of user namespaces tells that there are none.
        Err(_) if facts.namespaces.is_err() => Finding::fine(CHECK, ids),
        Err(reason) => Finding::limited(CHECK, format!("{ids}: {reason}"), MEANING)
            .administrator_can("give newuidmap and newgidmap back the privilege they came with"),
    }
}

fn tracing(facts: &Facts) -> Finding {
    const CHECK: &str = "ptrace";
    let Err(reason) = &facts.tracing else {
        return Finding::fine(CHECK, "PRoot works");
    };
    let meaning = "no modes P1 and P2, which need nothing else";
    match facts.ptrace_scope {
        Some(scope @ 3..) => Finding::broken(
            CHECK,
            format!("`kernel.yama.ptrace_scope` is {scope}"),
            meaning,
        )
        .administrator_can("set `kernel.yama.ptrace_scope` to 1 and start the machine anew"),
        _ => Finding::broken(CHECK, reason, meaning)
            .administrator_can("allow `ptrace`: in containers, `--cap-add=SYS_PTRACE`"),
    }
}

fn filters(facts: &Facts) -> Finding {
    const CHECK: &str = "seccomp";
    let meaning = "mode P1 is as slow as P2, and root is not imitated in mode R1";
    let reason = match (&facts.filters, &facts.accelerated_tracing) {
        (Ok(()), Ok(())) => return Finding::fine(CHECK, "system calls can be filtered"),
        // The check of ptrace tells that PRoot does not work at all.
        (Ok(()), Err(_)) if facts.tracing.is_err() => {
            return Finding::fine(CHECK, "system calls can be filtered");
        }
        (Ok(()), Err(reason)) => {
            return Finding::limited(CHECK, reason, "mode P1 does not work, mode P2 does")
                .you_can("set `PROOT_NO_SECCOMP=1`, or `proot_noseccomp = True` in udocker.conf");
        }
        (Err(reason), _) => reason,
    };
    Finding::limited(CHECK, reason, meaning)
        .administrator_can("allow `prctl` and `seccomp`, and have CONFIG_SECCOMP_FILTER")
}

fn openat2(facts: &Facts) -> Finding {
    match &facts.openat2 {
        Ok(()) => Finding::fine("openat2", "the kernel has it"),
        Err(reason) => Finding::limited(
            "openat2",
            reason,
            "nothing is lost: udocker walks paths by itself; programs inside may miss it",
        )
        .administrator_can("Linux 5.6 or newer, and a seccomp profile that knows the call"),
    }
}

fn directory(directory: &ProbedDir) -> Finding {
    let path = directory.path.display();
    let check = match directory.purpose {
        Purpose::Engine => "engine directory",
        Purpose::TemporaryFiles => "temporary files",
    };
    match &directory.state {
        DirState::Usable => Finding::fine(check, format!("{path}")),
        DirState::NotExecutable(reason) => Finding::limited(
            check,
            format!("{path}: nothing can be executed there ({reason})"),
            "the engine is started from memory or another directory",
        )
        .you_can("name a directory without noexec: UDOCKER_BIN for the engine, UDOCKER_TMP"),
        DirState::NotWritable(reason) => Finding::limited(
            check,
            format!("{path}: nothing can be written there ({reason})"),
            "the engine is started from memory or another directory; --tmpfs and the like may fail",
        )
        .you_can("name another directory: UDOCKER_BIN for the engine, UDOCKER_TMP"),
    }
}

fn writable(repository: &Repository) -> Finding {
    let path = repository.path.display();
    if let Err(reason) = &repository.executable {
        let found = format!("{path}: nothing can be executed there ({reason})");
        return Finding::broken("repository", found, "no container there can be run")
            .you_can("keep containers on a file system without noexec, with UDOCKER_CONTAINERS");
    }
    match &repository.writable {
        Ok(()) => Finding::fine("repository", format!("{path}")),
        Err(reason) => Finding::limited(
            "repository",
            format!("{path}: {reason}"),
            "containers there can be run, but none can be made, and nothing pulled",
        )
        .you_can("name one of your own with --repo=DIR or UDOCKER_DIR"),
    }
}

fn file_system(repository: &Repository) -> Finding {
    const CHECK: &str = "file system";
    let Some(system) = repository.file_system else {
        return Finding::limited(CHECK, "unknown", "nothing can be said of its speed");
    };
    let clones = match &repository.reflinks {
        Ok(()) => "clones share their content",
        Err(_) => "clones are copies",
    };
    let found = format!("{system}; {clones}");
    if system.is_shared() {
        return Finding::limited(
            CHECK,
            found,
            "making containers, and programs that open many files, are slower than on a local disk",
        )
        .you_can("keep containers on a local disk with UDOCKER_CONTAINERS");
    }
    Finding::fine(CHECK, found)
}

fn locks(repository: &Repository) -> Finding {
    match &repository.locks {
        Ok(()) => Finding::fine("locks", "files can be locked"),
        Err(reason) => Finding::limited(
            "locks",
            reason,
            "commands at the same time stay safe, but may do some work twice",
        )
        .administrator_can("mount the file system with locks (`flock` for Lustre)"),
    }
}

fn space(repository: &Repository) -> Finding {
    let found = format!("{} MB free", repository.free_bytes / 1_000_000);
    if repository.free_bytes >= FEW_BYTES {
        return Finding::fine("space", found);
    }
    Finding::limited("space", found, "larger images find no room").you_can(MAKE_ROOM)
}

const MAKE_ROOM: &str = "remove what is not needed with `udocker gc`, `udocker rm`, `udocker rmi`, \
                         or keep things elsewhere with UDOCKER_DIR";

fn inodes(repository: &Repository) -> Finding {
    match repository.free_inodes {
        None => Finding::fine("inodes", "made as they are needed"),
        Some(free) if free >= FEW_INODES => Finding::fine("inodes", format!("{free} free")),
        Some(free) => Finding::limited(
            "inodes",
            format!("{free} free"),
            "images with many files find no room",
        )
        .you_can(MAKE_ROOM),
    }
}

fn proxies(facts: &Facts) -> Finding {
    let proxies = &facts.proxies;
    let shown: Vec<String> = [
        ("https", &proxies.https),
        ("http", &proxies.http),
        ("not for", &proxies.except),
    ]
    .into_iter()
    .filter_map(|(kind, value)| Some(format!("{kind} {}", without_login(value.as_deref()?))))
    .collect();
    match shown.is_empty() {
        true => Finding::fine("proxies", "none"),
        false => Finding::fine("proxies", shown.join(", ")),
    }
}

fn authorities(facts: &Facts) -> Finding {
    const CHECK: &str = "certificates";
    match &facts.authorities {
        Ok(0) => Finding::fine(CHECK, "the built-in authorities only"),
        Ok(count) => Finding::fine(CHECK, format!("{count} beside the built-in authorities")),
        Err(reason) => Finding::broken(CHECK, reason, "no registry can be reached by https")
            .you_can("correct SSL_CERT_FILE or SSL_CERT_DIR, or unset it"),
    }
}

fn registry(facts: &Facts) -> Option<Finding> {
    let (registry, answer) = facts.registry.as_ref()?;
    Some(match answer {
        Ok(()) => Finding::fine("registry", format!("{registry} answers")),
        Err(reason) => Finding::broken(
            "registry",
            reason,
            "nothing can be pulled from it; images that are here work",
        )
        .you_can(
            "check the network, set a proxy (https_proxy), log in with `udocker login`, or bring \
             images in with `udocker load`",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::diagnosis::{Verdict, Who};
    use crate::engine::namespace::Grant;
    use crate::host::facts::Machine;
    use crate::host::file_system::FileSystem;
    use crate::registry::Proxies;

    /// Returns the facts of a host on which everything works.
    fn facts_of_good_host() -> Facts {
        Facts {
            machine: Machine {
                architecture: "x86_64".to_string(),
                kernel: "6.1".to_string(),
            },
            namespaces: Ok(()),
            settings: vec![("user.max_user_namespaces", 100)],
            grant: Grant {
                users: 65_536,
                groups: 65_536,
                missing: Vec::new(),
            },
            ranges: Ok(()),
            tracing: Ok(()),
            ptrace_scope: Some(1),
            accelerated_tracing: Ok(()),
            filters: Ok(()),
            apptainer: true,
            openat2: Ok(()),
            directories: vec![ProbedDir {
                purpose: Purpose::Engine,
                path: PathBuf::from("/bin-directory"),
                state: DirState::Usable,
            }],
            repository: Repository {
                path: PathBuf::from("/repo"),
                writable: Ok(()),
                executable: Ok(()),
                file_system: Some(FileSystem(0xef53)),
                reflinks: Ok(()),
                locks: Ok(()),
                free_bytes: 1 << 40,
                free_inodes: None,
            },
            proxies: Proxies::default(),
            authorities: Ok(100),
            registry: None,
        }
    }

    fn denied() -> Result<(), String> {
        Err("denied".to_string())
    }

    #[test]
    fn a_good_host_has_no_problems() {
        for finding in findings(&facts_of_good_host()) {
            assert_eq!(finding.verdict, Verdict::Fine, "{finding:?}");
            assert_eq!((finding.meaning, finding.remedy), ("", None));
        }
        assert_eq!(
            modes(&facts_of_good_host()),
            [
                ExecMode::R1,
                ExecMode::P1,
                ExecMode::P2,
                ExecMode::R2,
                ExecMode::R3,
                ExecMode::S1,
            ]
        );
    }

    /// A change of the facts, and the one finding that it causes: check, verdict, part of what is
    /// found, who can act, and part of what they can do.
    type Case = (
        fn(&mut Facts),
        &'static str,
        Verdict,
        &'static str,
        (Who, &'static str),
    );

    const CASES: &[Case] = &[
        (
            |facts| {
                facts.namespaces = Err(Cause::Setting {
                    name: "user.max_user_namespaces",
                    value: 0,
                    wanted: 10_000,
                });
            },
            "user namespaces",
            Verdict::Limited,
            "`user.max_user_namespaces` is 0",
            (
                Who::Administrator,
                "sysctl -w user.max_user_namespaces=10000",
            ),
        ),
        (
            |facts| facts.namespaces = Err(Cause::Policy),
            "user namespaces",
            Verdict::Limited,
            "policy",
            (Who::Administrator, "AppArmor"),
        ),
        (
            |facts| facts.grant.groups = 0,
            "further ids",
            Verdict::Limited,
            "none in /etc/subuid",
            (Who::Administrator, "usermod"),
        ),
        (
            |facts| facts.grant.missing = vec!["newgidmap"],
            "further ids",
            Verdict::Limited,
            "65536 users, 65536 groups, but no newgidmap",
            (Who::Administrator, "uidmap"),
        ),
        (
            |facts| facts.ranges = denied(),
            "further ids",
            Verdict::Limited,
            "65536 users, 65536 groups: denied",
            (Who::Administrator, "newuidmap"),
        ),
        (
            |facts| facts.tracing = denied(),
            "ptrace",
            Verdict::Broken,
            "denied",
            (Who::Administrator, "SYS_PTRACE"),
        ),
        (
            |facts| {
                facts.tracing = denied();
                facts.ptrace_scope = Some(3);
            },
            "ptrace",
            Verdict::Broken,
            "`kernel.yama.ptrace_scope` is 3",
            (Who::Administrator, "kernel.yama.ptrace_scope"),
        ),
        (
            |facts| facts.accelerated_tracing = denied(),
            "seccomp",
            Verdict::Limited,
            "denied",
            (Who::You, "PROOT_NO_SECCOMP=1"),
        ),
        (
            |facts| facts.filters = denied(),
            "seccomp",
            Verdict::Limited,
            "denied",
            (Who::Administrator, "CONFIG_SECCOMP_FILTER"),
        ),
        (
            |facts| facts.openat2 = denied(),
            "openat2",
            Verdict::Limited,
            "denied",
            (Who::Administrator, "Linux 5.6"),
        ),
        (
            |facts| facts.directories[0].state = DirState::NotExecutable("EACCES".to_string()),
            "engine directory",
            Verdict::Limited,
            "/bin-directory: nothing can be executed there (EACCES)",
            (Who::You, "UDOCKER_BIN"),
        ),
        (
            |facts| {
                facts.directories[0].purpose = Purpose::TemporaryFiles;
                facts.directories[0].state = DirState::NotWritable("EROFS".to_string());
            },
            "temporary files",
            Verdict::Limited,
            "/bin-directory: nothing can be written there (EROFS)",
            (Who::You, "UDOCKER_TMP"),
        ),
        (
            |facts| facts.repository.executable = denied(),
            "repository",
            Verdict::Broken,
            "/repo: nothing can be executed there (denied)",
            (Who::You, "UDOCKER_CONTAINERS"),
        ),
        (
            |facts| facts.repository.writable = denied(),
            "repository",
            Verdict::Limited,
            "/repo: denied",
            (Who::You, "--repo=DIR"),
        ),
        (
            |facts| {
                facts.repository.file_system = Some(FileSystem(0x6969));
                facts.repository.reflinks = denied();
            },
            "file system",
            Verdict::Limited,
            "NFS; clones are copies",
            (Who::You, "UDOCKER_CONTAINERS"),
        ),
        (
            |facts| facts.repository.locks = denied(),
            "locks",
            Verdict::Limited,
            "denied",
            (Who::Administrator, "flock"),
        ),
        (
            |facts| facts.repository.free_bytes = 5_000_000,
            "space",
            Verdict::Limited,
            "5 MB free",
            (Who::You, "udocker gc"),
        ),
        (
            |facts| facts.repository.free_inodes = Some(7),
            "inodes",
            Verdict::Limited,
            "7 free",
            (Who::You, "udocker gc"),
        ),
        (
            |facts| facts.authorities = Err("no such file".to_string()),
            "certificates",
            Verdict::Broken,
            "no such file",
            (Who::You, "SSL_CERT_FILE"),
        ),
    ];

    #[test]
    fn every_problem_has_one_finding_with_a_remedy() {
        for (change, check, verdict, found, (who, what)) in CASES {
            let mut facts = facts_of_good_host();
            change(&mut facts);
            let wrong: Vec<Finding> = findings(&facts)
                .into_iter()
                .filter(|finding| finding.verdict != Verdict::Fine)
                .collect();
            let [finding] = wrong.as_slice() else {
                panic!("{check}: {wrong:?}");
            };
            assert_eq!((finding.check, finding.verdict), (*check, *verdict));
            assert!(finding.found.contains(found), "{finding:?}");
            assert!(!finding.meaning.is_empty(), "{finding:?}");
            let remedy = finding.remedy.as_ref().unwrap();
            assert!(remedy.what.contains(what), "{remedy:?}");
            assert_eq!(remedy.who, *who, "{check}");
        }
    }

    #[test]
    fn modes_are_those_whose_probe_succeeds() {
        let mut facts = facts_of_good_host();
        facts.namespaces = Err(Cause::Kernel);
        assert_eq!(modes(&facts), [ExecMode::P1, ExecMode::P2]);
        facts.accelerated_tracing = denied();
        assert_eq!(modes(&facts), [ExecMode::P2]);
        facts.tracing = denied();
        assert_eq!(modes(&facts), []);
        let mut facts = facts_of_good_host();
        facts.repository.executable = denied();
        assert_eq!(modes(&facts), []);
    }

    #[test]
    fn a_registry_has_a_finding_if_it_was_contacted() {
        let last = |answer| {
            let mut facts = facts_of_good_host();
            let registry = crate::oci::RegistryUrl::parse("https://quay.io").unwrap();
            facts.registry = Some((registry, answer));
            findings(&facts).pop().unwrap()
        };
        assert_eq!(
            last(Ok(())),
            Finding::fine("registry", "https://quay.io answers")
        );
        assert_eq!(last(denied()).verdict, Verdict::Broken);
    }

    #[test]
    fn proxies_are_shown_without_passwords() {
        let mut facts = facts_of_good_host();
        facts.proxies = Proxies {
            http: Some("me:p@ss@host:1".to_string()),
            https: Some("socks5://me:pass@host".to_string()),
            except: Some("localhost".to_string()),
        };
        assert_eq!(
            proxies(&facts).found,
            "https socks5://…@host, http …@host:1, not for localhost"
        );
    }
}
