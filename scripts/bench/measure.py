#!/usr/bin/python3
"""Measures udocker beside udocker.py and umoci; bench.sh prepares what this needs and calls it.

Every number is the fastest of a few runs that take turns, so that a busy moment does not hit one
side alone. Peak memory is what the kernel counted for the process and those it waited for.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


class Measured:
    """Durations in seconds and the highest peak memory in bytes of some runs of one command."""

    def __init__(self):
        self.seconds = []
        self.peak = 0

    @property
    def best(self):
        return min(self.seconds)


class Bench:
    """A scratch directory with a home for each program, and the commands to compare."""

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.stub = os.path.join(work, "true")
        os.symlink("/bin/busybox", self.stub)

    def environment(self, home, **extra):
        tmp = os.path.join(self.work, "tmp")
        os.makedirs(tmp, exist_ok=True)
        os.makedirs(home, exist_ok=True)
        base = {"HOME": home, "PATH": "/usr/bin:/bin", "TMPDIR": tmp, "LC_ALL": "C.UTF-8"}
        return {**base, **extra}

    def home_ours(self, name="ours"):
        return self.environment(os.path.join(self.work, name))

    def home_py(self, name="py"):
        """A home where udocker.py finds its engine: our PRoot, and a version file that keeps it
        from downloading its own."""
        home = os.path.join(self.work, name)
        library = os.path.join(home, ".udocker", "lib")
        os.makedirs(library, exist_ok=True)
        os.makedirs(os.path.join(home, ".udocker", "bin"), exist_ok=True)
        with open(os.path.join(library, "VERSION"), "w", encoding="ascii") as file:
            file.write("9.9.9\n")
        return self.environment(home, UDOCKER_USE_PROOT_EXECUTABLE=self.options.proot)

    def run(self, argv, environment, into=None):
        """Runs a command that must succeed; returns its output."""
        out = tempfile.TemporaryFile(dir=self.work)
        start = time.monotonic()
        process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT, cwd=self.work)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
        if process.returncode != 0:
            sys.exit(f"{argv} ended with {process.returncode}:\n{text}")
        if into is not None:
            into.seconds.append(seconds)
            into.peak = max(into.peak, usage.ru_maxrss * 1024)
        return text

    def pull(self, rounds):
        """Pulls into stores that are empty each time."""
        ours, py = Measured(), Measured()
        argv = ["pull", f"--registry={self.options.registry}", "lab/distro:1"]
        for _ in range(rounds):
            for measured, program, environment in (
                    (ours, self.options.udocker, self.home_ours()),
                    (py, self.options.udocker_py, self.home_py())):
                remove(os.path.join(environment["HOME"], ".udocker"))
                if measured is py:
                    environment = self.home_py()
                self.run([program, *argv], environment, measured)
        return ours, py

    def create(self, rounds):
        ours, py, umoci = Measured(), Measured(), Measured()
        for _ in range(rounds):
            for measured, program, environment in (
                    (ours, self.options.udocker, self.home_ours()),
                    (py, self.options.udocker_py, self.home_py())):
                self.run([program, "create", "--name=c", "lab/distro:1"], environment, measured)
                if len(measured.seconds) < rounds:
                    self.run([program, "rm", "c"], environment)
            bundle = os.path.join(self.work, "bundle")
            self.run(["umoci", "unpack", "--rootless", "--image",
                      f"{self.options.layout}:latest", bundle], self.home_ours(), umoci)
            remove(bundle)
        return ours, py, umoci

    def start(self, rounds):
        ours, py, stubbed, stub, version = (Measured() for _ in range(5))
        argv = ["--quiet", "run", "--nobanner", "c", "/bin/true"]
        with_stub = {**self.home_ours(), "UDOCKER_USE_PROOT_EXECUTABLE": self.stub}
        for _ in range(rounds):
            self.run([self.options.udocker, *argv], self.home_ours(), ours)
            self.run([self.options.udocker_py, *argv], self.home_py(), py)
            # With an engine that ends at once, what is left is our own time.
            self.run([self.options.udocker, *argv], with_stub, stubbed)
            self.run([self.stub], self.home_ours(), stub)
            self.run([self.options.udocker, "--version"], self.home_ours(), version)
        own = statistics.median(stubbed.seconds) - statistics.median(stub.seconds)
        return ours, py, own, statistics.median(version.seconds)


def remove(path):
    """Removes a tree whatever its modes."""
    if os.path.isdir(path):
        subprocess.run(["chmod", "-R", "u+rwX", path], check=True)
        shutil.rmtree(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("udocker", "udocker-py", "proot", "layout", "registry"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options, work)
        pull, pull_py = bench.pull(options.rounds)
        create, create_py, create_umoci = bench.create(options.rounds)
        run, run_py, own, version = bench.start(10 * options.rounds)
        for name in ("ours", "py"):
            remove(os.path.join(work, name, ".udocker"))
    mebi = 1024 * 1024
    rows = [
        ("--version, ms", version * 1000, 5, ""),
        ("run true: own time before PRoot, ms", own * 1000, 5, ""),
        ("run true / udocker.py", run.best / run_py.best, 0.15, seconds(run, run_py)),
        ("create / udocker.py", create.best / create_py.best, 0.5, seconds(create, create_py)),
        ("create / umoci unpack --rootless", create.best / create_umoci.best, 0.6,
         seconds(create, create_umoci)),
        ("pull / udocker.py", pull.best / pull_py.best, 1.0, seconds(pull, pull_py)),
        ("pull, peak MiB", pull.peak / mebi, 64, ""),
        ("create, peak MiB", create.peak / mebi, 64, ""),
    ]
    print(f"{'what':38} {'measured':>9} {'at most':>8}")
    for what, value, limit, note in rows:
        verdict = "PASS" if value <= limit else "OVER"
        print(f"{what:38} {value:9.3f} {limit:8.2f} {verdict}  {note}")
    return 0 if all(row[1] <= row[2] for row in rows) else 1


def seconds(ours, other):
    return f"{ours.best:.3f} s against {other.best:.3f} s"


if __name__ == "__main__":
    sys.exit(main())
