//! Docker's options that udocker.py does not have, and how each is treated.

use Kind::{Flag, Stream, Value};
use Treatment::{AddHost, CidFile, Mount, NoEffect, ReadOnly, Refused, Silent, Tmpfs, Unless};

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No value, or `=true` or `=false`.
    Flag,
    /// One value; the option may be given several times.
    Value,
    /// A value after `=`, or none; a value in the next argument has been removed.
    Stream,
}

/// How an option is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Ignored: every run is as the option asks.
    Silent,
    /// Ignored with an info line that gives this reason.
    NoEffect(&'static str),
    /// Ignored if the value is the first text, else ignored with the second as the reason.
    Unless(&'static str, &'static str),
    /// Refused with this reason: without it the run would not be what the user asked for.
    Refused(&'static str),
    /// `host` is ignored, `none` is refused, other networks are ignored with an info line.
    Network,
    /// The root tree is read-only.
    ReadOnly,
    /// A bind, or a file system in memory.
    Mount,
    /// A file system in memory.
    Tmpfs,
    /// The size of `/dev/shm`.
    SharedMemory,
    /// The host name.
    HostName,
    /// An init process that reaps orphans.
    Init,
    /// The processes that the guest sees.
    Processes,
    /// A line of `/etc/hosts`.
    AddHost,
    /// The file that the container's id is written to.
    CidFile,
}

/// One of Docker's options.
#[derive(Debug)]
pub(super) struct DockerOption {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) kind: Kind,
    pub(super) treatment: Treatment,
}

const fn row(long: &'static str, kind: Kind, treatment: Treatment) -> DockerOption {
    DockerOption {
        long,
        short: None,
        kind,
        treatment,
    }
}

const fn short(short: char, row: DockerOption) -> DockerOption {
    DockerOption {
        short: Some(short),
        ..row
    }
}

const UNLIMITED: Treatment = NoEffect("what it may use is limited by your shell or batch system");
const HOST_NETWORK: Treatment = NoEffect("the host's network is used");
const HOST_NAME: Treatment = NoEffect("it has the host's name");
const HOST_RESOLVER: Treatment = NoEffect("the host's resolver is used");
const YOUR_RIGHTS: Treatment = NoEffect("it has your rights, neither more nor fewer");
const NO_LABELS: Treatment = NoEffect("labels are not kept");
const NO_HEALTH: Treatment = NoEffect("its health is not checked");
const NO_LOG: Treatment = NoEffect("its output is not logged");
const STOPPED_BY_SIGNALS: Treatment = NoEffect("signals to udocker are passed on as they are");

/// Source: `docker run --help` of Docker 28.
pub(super) const OPTIONS: &[DockerOption] = &[
    row("add-host", Value, AddHost),
    row("annotation", Value, NO_LABELS),
    // A flag of udocker.py; in Docker it has a value.
    short('a', row("attach", Stream, Silent)),
    row("blkio-weight", Value, UNLIMITED),
    row("blkio-weight-device", Value, UNLIMITED),
    row("cap-add", Value, YOUR_RIGHTS),
    row("cap-drop", Value, YOUR_RIGHTS),
    row("cgroup-parent", Value, UNLIMITED),
    row(
        "cgroupns",
        Value,
        Unless("host", "control groups are the host's"),
    ),
    row("cidfile", Value, CidFile),
    row("cpu-period", Value, UNLIMITED),
    row("cpu-quota", Value, UNLIMITED),
    row("cpu-rt-period", Value, UNLIMITED),
    row("cpu-rt-runtime", Value, UNLIMITED),
    short('c', row("cpu-shares", Value, UNLIMITED)),
    row("cpus", Value, UNLIMITED),
    row("cpuset-mems", Value, UNLIMITED),
    short(
        'd',
        row(
            "detach",
            Flag,
            Refused("nothing runs on behind your back; put `&` or `nohup` around udocker"),
        ),
    ),
    row("detach-keys", Value, Silent),
    row("device-cgroup-rule", Value, YOUR_RIGHTS),
    row("device-read-bps", Value, UNLIMITED),
    row("device-read-iops", Value, UNLIMITED),
    row("device-write-bps", Value, UNLIMITED),
    row("device-write-iops", Value, UNLIMITED),
    row("disable-content-trust", Flag, Silent),
    row("dns", Value, HOST_RESOLVER),
    row("dns-opt", Value, HOST_RESOLVER),
    row("dns-option", Value, HOST_RESOLVER),
    row("dns-search", Value, HOST_RESOLVER),
    row("domainname", Value, HOST_NAME),
    row("expose", Value, Silent),
    row(
        "gpus",
        Value,
        NoEffect("all of the host's are there; `udocker setup --nvidia` adds the libraries"),
    ),
    row(
        "group-add",
        Value,
        NoEffect("it has the groups of the calling user"),
    ),
    row("health-cmd", Value, NO_HEALTH),
    row("health-interval", Value, NO_HEALTH),
    row("health-retries", Value, NO_HEALTH),
    row("health-start-interval", Value, NO_HEALTH),
    row("health-start-period", Value, NO_HEALTH),
    row("health-timeout", Value, NO_HEALTH),
    short('h', row("hostname", Value, Treatment::HostName)),
    row("init", Flag, Treatment::Init),
    short('i', row("interactive", Flag, Silent)),
    row("ip", Value, HOST_NETWORK),
    row("ip6", Value, HOST_NETWORK),
    row("ipc", Value, Unless("host", "it shares the host's")),
    row(
        "isolation",
        Value,
        Unless("default", "there is one way to run it"),
    ),
    row("kernel-memory", Value, UNLIMITED),
    short('l', row("label", Value, NO_LABELS)),
    row("label-file", Value, NO_LABELS),
    row(
        "link",
        Value,
        Refused("containers are not linked; they all have the host's network"),
    ),
    row("link-local-ip", Value, HOST_NETWORK),
    row(
        "log-driver",
        Value,
        Unless("none", "its output is not logged"),
    ),
    row("log-opt", Value, NO_LOG),
    row("mac-address", Value, HOST_NETWORK),
    short('m', row("memory", Value, UNLIMITED)),
    row("memory-reservation", Value, UNLIMITED),
    row("memory-swap", Value, UNLIMITED),
    row("memory-swappiness", Value, UNLIMITED),
    row("mount", Value, Mount),
    row("net", Value, Treatment::Network),
    row("net-alias", Value, HOST_NETWORK),
    row("network", Value, Treatment::Network),
    row("network-alias", Value, HOST_NETWORK),
    row("no-healthcheck", Flag, Silent),
    row("oom-kill-disable", Flag, UNLIMITED),
    row("oom-score-adj", Value, UNLIMITED),
    row("pid", Value, Treatment::Processes),
    row("pids-limit", Value, UNLIMITED),
    row("privileged", Flag, YOUR_RIGHTS),
    row("read-only", Flag, ReadOnly),
    row("restart", Value, Unless("no", "it is run once")),
    row(
        "runtime",
        Value,
        NoEffect("its mode says how it is run, see `udocker setup`"),
    ),
    row("security-opt", Value, YOUR_RIGHTS),
    row("shm-size", Value, Treatment::SharedMemory),
    row("sig-proxy", Flag, Silent),
    row("stop-signal", Value, STOPPED_BY_SIGNALS),
    row("stop-timeout", Value, STOPPED_BY_SIGNALS),
    row("storage-opt", Value, UNLIMITED),
    row("sysctl", Value, NoEffect("the kernel is the host's")),
    row("tmpfs", Value, Tmpfs),
    short('t', row("tty", Flag, Silent)),
    row("ulimit", Value, UNLIMITED),
    row("userns", Value, Unless("host", "it shares the host's")),
    row("uts", Value, Unless("host", "it has the host's name")),
    row(
        "volume-driver",
        Value,
        Unless("local", "volumes are directories of the host"),
    ),
    row(
        "volumes-from",
        Value,
        NoEffect("containers share no volumes; name them by -v"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_options_are_unique() {
        let mut names: Vec<&str> = OPTIONS.iter().map(|option| option.long).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
