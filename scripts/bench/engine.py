#!/usr/bin/python3
"""Measures work in containers beside the same work without one; bench-engine.sh prepares what this
needs and calls it.

Each number is the median of the ratios of neighbouring runs, followed by the range of the middle
half of all ratios. R1 has the ids that are granted here. With one id a filter of system calls
imitates root, and the kernel then takes a slower path into each call; a filter that allows
everything shows how much of the time that is. P1 is shown with tracer and guest free to move, and on one core.
"""

import argparse
import os
import pwd
import statistics
import subprocess
import sys

TIMED = """cd "$2"
export PATH=/usr/bin:/bin LC_ALL=C; TIMEFORMAT="%U %S"; start=${EPOCHREALTIME/./}
{ time eval "$1" >/dev/null 2>&1 </dev/null; } 2>&1; echo $((${EPOCHREALTIME/./} - start))"""
CHROOT = """mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" &&
exec chroot "$0" "$@\""""
ONE_CORE = ["taskset", "-c", "0"]
COLUMNS = "{:10} {:>9}  {:21} {:19} {:19} {:>8} {:>12}"


def in_mode(variant):
    """The environment in which udocker runs a variant."""
    if variant == "one":
        return {"UDOCKER_ID_RANGES": "false", "UDOCKER_DEFAULT_EXECUTION_MODE": "R1"}
    return {"UDOCKER_DEFAULT_EXECUTION_MODE": variant}


def run(argv, variables=None):
    """Runs a command to its end; returns its standard output."""
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


class Engines:
    """The container, what is run in it, and how it is timed."""

    def __init__(self, options):
        self.options = options
        self.udocker = os.path.join(options.scratch, "udocker")
        self.own = os.path.join(options.scratch, "own")

    def work(self, line):
        """The shell script of a line of work."""
        try:
            with open(os.path.join(self.options.scratch, "work", line), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            sys.exit(f"there is no line '{line}'")

    def filtered(self, variant):
        """What goes before a command for the variant with a filter alone."""
        return [os.path.join(self.options.scratch, "filtered")] if variant == "filter" else []

    def timed(self, argv, script, directory=".", variables=None):
        """The seconds that a shell, started by argv, takes for a script in a directory."""
        shell = [*argv, "/bin/bash", "-c", TIMED, "bash", script, directory]
        *_, processor, microseconds = run(shell, variables).splitlines()
        if self.options.clock == "cpu":
            return sum(map(float, processor.split()))
        return int(microseconds) / 1e6

    def in_container(self, variant, line, pin=()):
        """The time of a line of work in the container, or in a chroot of its root."""
        script = self.work(line)
        if variant in ("native", "filter"):
            chroot = ["unshare", "--map-root-user", "--mount", "sh", "-c", CHROOT]
            argv = [*pin, *self.filtered(variant), *chroot, self.options.root]
            return self.timed(argv, script, "/root")
        # The image has a locale of its own, which the chroot does without.
        argv = [*pin, self.udocker, "run", "--nobanner", "-e", "LC_ALL=C", "bench"]
        return self.timed(argv, script, "/root", in_mode(variant))

    def on_host(self, variant, line, pin=()):
        """The time of a line of work on the host, or in R1 with the host's own files."""
        front, variables = [*pin, *self.filtered(variant)], {}
        if variant in ("R1", "one"):
            front = [*pin, self.udocker, "-q", "run", "--location=/", "-w", "/"]
            variables = in_mode(variant)
        if line == "ring@host":
            return self.ring(front, variant)
        script = self.work(line.removesuffix("@host")).replace("/bench", f"{self.own}/bench")
        return self.timed(front, script, variables=variables)

    def ring(self, front, variant):
        """The time of four MPI ranks."""
        # In a user namespace no process reads the memory of another; the host does without as well.
        variables = {"OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
        if variant in ("R1", "one"):
            variables["UDOCKER_DEFAULT_EXECUTION_MODE"] = "R1"
            user = pwd.getpwuid(os.getuid()).pw_name
            front = [*front, "--hostenv", "--hostauth", f"--user={user}"]
        argv = ["mpirun", "--oversubscribe", "-n", "4", *front, os.path.join(self.own, "ring")]
        return float(run(argv, variables).split()[-1])

    def line(self, name, place, variants):
        """Prints a row: the native time, and the ratio of each variant to it."""
        place("native", name)
        native, ratios = [], {variant: [] for variant in variants}
        for number in range(self.options.rounds):
            for variant in variants:
                mode, _, pinned = variant.partition(", ")
                pin = ONE_CORE if pinned else []
                # Which of the two is first changes from round to round.
                order = ("native", mode) if number % 2 == 0 else (mode, "native")
                taken = {one: place(one, name, pin) for one in order}
                native.append(taken["native"])
                ratios[variant].append(taken[mode] / taken["native"])
        cells = [median(native)]
        for variant in variants:
            is_traced = variant.startswith("P1")
            cells.append(median(ratios[variant]) if is_traced else summary(ratios[variant]))
        show([name, *cells])

    def starts(self):
        """Prints the time of a start of `true` in R1 with one id, and in bubblewrap."""
        root, scratch = self.options.root, self.options.scratch
        binds = ["--bind", root, "/", "--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc",
                 "--bind", "/sys", "/sys"]
        for path in ("/etc/resolv.conf", "/etc/host.conf"):
            if os.path.exists(path):
                binds += ["--bind", path, path]
        # As root inside, udocker sets apt's user.
        if os.path.isdir(f"{root}/etc/apt/apt.conf.d"):
            with open(f"{scratch}/apt.conf", "w", encoding="ascii") as file:
                file.write('APT::Sandbox::User "root";\n')
            binds += ["--bind", f"{scratch}/apt.conf", "/etc/apt/apt.conf.d/zz-bench"]
        argv = [f"{scratch}/starts", str(self.options.rounds * 30),
                self.udocker, "run", "--nobanner", "bench", "true", "--",
                "bwrap", "--unshare-user", "--uid", "0", "--gid", "0", *binds, "--chdir", "/root",
                "/bin/true"]
        ours, bwrap, ratio = run(argv, in_mode("one")).split()
        target = f"ratio {ratio} (at most 1.20)"
        print(f"start of `true`: R1 {ours} ms, bwrap {bwrap} ms, {target}", flush=True)


def median(values):
    return f"{statistics.median(values):.3f}"


def summary(values):
    """The median, and the range that is left without the lowest and the highest quarter."""
    cut, ordered = len(values) // 4, sorted(values)
    return f"{median(values)} {ordered[cut]:.3f}-{ordered[len(values) - cut - 1]:.3f}"


def show(cells):
    """Prints a row of a table."""
    print(COLUMNS.format(*cells, *[""] * (7 - len(cells))).rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("scratch", "root"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--clock", required=True)
    parser.add_argument("--p1", required=True)
    parser.add_argument("lines", nargs="+")
    options = parser.parse_args()
    engines = Engines(options)
    ours, traced = ["R1", "one", "filter"], ["P1", "P1, one core"] if options.p1 != "no" else []
    titles = ["R1 (max 1.02)   half", "one id         half", "filter alone   half"]
    table = None
    for line in options.lines:
        if line == "start":
            engines.starts()
            continue
        beside = "host" if line.endswith("@host") else "chroot"
        if beside != table:
            print()
            show(["work", f"{beside} s", *titles, *(traced if beside == "chroot" else [])])
            table = beside
        if beside == "host":
            engines.line(line, engines.on_host, ours)
        else:
            engines.line(line, engines.in_container, ours + traced)


if __name__ == "__main__":
    main()
