#!/usr/bin/python3
"""Measures udocker beside other programs; bench.sh prepares what this needs and calls it.

Every number is the fastest of a few runs in turns, so that a busy moment does not affect one side
only. Peak memory is the kernel's count for the process and the children it waited for. Files are
removed at the end only: ext4 looks for space differently for a minute after a removal. The targets
and their reasons are in docs/performance.md.
"""

import argparse
import fcntl
import json
import os
import statistics
import subprocess
import sys
import tempfile

import large
from running import Runner, remove

LAYER_IMAGE = "lab/distro:1"


class Bench:
    """The commands that are compared, each in a home of its own."""

    def __init__(self, options, work):
        self.options = options
        self.runner = Runner(work)
        self.reference = f"http://{options.registry}/{LAYER_IMAGE}"
        self.rows = []

    def row(self, what, value, limit, note=""):
        """Adds a line to the table; without a limit it is for information."""
        self.rows.append((what, value, limit, note))

    def compare(self, what, limit, ours, others):
        """Adds a ratio to the fastest run of others."""
        self.ratio(what, limit, ours.best, others.best)

    def ratio(self, what, limit, ours, others):
        self.row(what, ours / others, limit, f"{ours:.3f} s against {others:.3f} s")

    def floor(self, ours, other):
        """Adds the lowest ratio that is possible with the same work on these processors."""
        note = f"{ours.floor:.3f} s: all processors busy all the time"
        self.row("  at least", ours.floor / other.best, None, note)

    def udocker(self, home, *arguments, into=None, trees="false"):
        """Runs udocker; without trees of images by default, so that `create` unpacks."""
        environment = self.runner.environment(home)
        environment["UDOCKER_IMAGE_TREES"] = trees
        return self.runner.run([self.options.udocker, *arguments], environment, into)

    def udocker_py(self, home, *arguments, into=None):
        """Runs udocker.py with our PRoot, and a version file that keeps it from downloading an
        engine."""
        top = os.path.join(self.runner.work, home, ".udocker")
        for name in ("lib", "bin"):
            os.makedirs(os.path.join(top, name), exist_ok=True)
        with open(os.path.join(top, "lib", "VERSION"), "w", encoding="ascii") as file:
            file.write("9.9.9\n")
        environment = self.runner.environment(home)
        environment["UDOCKER_USE_PROOT_EXECUTABLE"] = self.options.proot
        return self.runner.run([self.options.udocker_py, *arguments], environment, into)

    def tool(self, *argv, into=None, status=0):
        return self.runner.run(argv, self.runner.environment("tools"), into, status)

    def pull_py(self, home, into=None):
        registry = f"--registry=http://{self.options.registry}"
        self.udocker_py(home, "pull", registry, LAYER_IMAGE, into=into)

    def pull(self, rounds):
        """Pulls into repositories that are empty each time, and runs from nothing."""
        measure = self.runner.turns(rounds, {
            "ours": lambda n, into: self.udocker(f"ours{n}", "pull", self.reference, into=into),
            "py": lambda n, into: self.pull_py(f"py{n}", into),
            "skopeo": lambda n, into: self.tool(
                "skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false",
                f"docker://{self.options.registry}/{LAYER_IMAGE}",
                f"oci:{self.runner.work}/copy{n}:1", into=into),
            "run": lambda n, into: self.udocker(
                f"run{n}", "run", "--nobanner", self.reference, "true", into=into),
            "create": lambda n, into: self.udocker(f"ours{n}", "create", self.reference, into=into),
        })
        # udocker.py leaves it to the kernel when to write the layers; we sync them before they
        # get their names, and skopeo does too. So all are timed until the disk has the image.
        for what, limit, other in (("skopeo copy", 0.5, "skopeo"), ("udocker.py", 1.0, "py")):
            self.ratio(f"pull / {what}, on disk", limit, measure["ours"].best_on_disk,
                       measure[other].best_on_disk)
        self.compare("pull / udocker.py, which does not sync", None, measure["ours"], measure["py"])
        longer = max(measure["ours"], measure["create"], key=lambda one: one.best)
        self.compare("run IMAGE true / longer of pull, create", 1.1, measure["run"], longer)
        self.floor(measure["run"], longer)
        self.row("pull, peak MiB", measure["ours"].peak_mib, 64)
        self.row("run IMAGE true, peak MiB", measure["run"].peak_mib, 64)

    def layers(self):
        """The files of the image's layers, the base first, and decompressed beside them."""
        blobs = os.path.join(self.options.layout, "blobs", "sha256")

        def blob(descriptor):
            return os.path.join(blobs, descriptor["digest"].partition(":")[2])

        with open(os.path.join(self.options.layout, "index.json"), encoding="utf-8") as file:
            manifest = blob(json.load(file)["manifests"][0])
        with open(manifest, encoding="utf-8") as file:
            packed = [blob(descriptor) for descriptor in json.load(file)["layers"]]
        plain = []
        for path in packed:
            plain.append(os.path.join(self.runner.work, os.path.basename(path) + ".tar"))
            with open(plain[-1], "wb") as out:
                subprocess.run(["zcat", path], stdout=out, check=True)
        return packed, plain

    def create(self, rounds):
        """Creates, verifies and removes, in the repositories of the pulls."""
        packed, plain = self.layers()
        home, work = "ours0", self.runner.work

        def tar(n, into):
            os.mkdir(f"{work}/tar{n}")
            script = 'cd "$1"; shift; for layer; do tar xf "$layer" 2>/dev/null; done; true'
            self.tool("sh", "-c", script, "sh", f"{work}/tar{n}", *plain, into=into)

        measure = self.runner.turns(rounds, {
            "ours": lambda n, into: self.udocker(
                home, "create", f"--name=c{n}", self.reference, into=into),
            "py": lambda n, into: self.udocker_py(
                "py0", "create", f"--name=c{n}", LAYER_IMAGE, into=into),
            "umoci": lambda n, into: self.tool(
                "umoci", "unpack", "--rootless", "--image", f"{self.options.layout}:latest",
                f"{work}/bundle{n}", into=into),
            "tar": tar,
            "verify": lambda n, into: self.udocker(home, "verify", self.reference, into=into),
            "pass": lambda n, into: self.tool(
                "sh", "-c", 'printf "%s\\n" "$@" | xargs -P "$(nproc)" -I@ sh -c '
                '"sha256sum <@; zcat @ | sha256sum"', "sh", *packed, into=into),
        })
        self.compare("create / tar xf, decompressed", 0.9, measure["ours"], measure["tar"])
        self.floor(measure["ours"], measure["tar"])
        self.compare("create / udocker.py", 0.33, measure["ours"], measure["py"])
        self.compare("create / umoci unpack --rootless", 0.33, measure["ours"], measure["umoci"])
        if can_share_blocks(work):
            self.create_clones(rounds)
        else:
            self.create_copies(rounds)
        self.compare("verify / zcat, sha256sum", 1.0, measure["verify"], measure["pass"])
        self.row("create, peak MiB", measure["ours"].peak_mib, 64)
        self.row("verify, peak MiB", measure["verify"].peak_mib, 64)

        os.makedirs(f"{work}/tools", exist_ok=True)
        measure = self.runner.turns(rounds, {
            "ours": lambda n, into: self.udocker(home, "rm", f"c{n}", into=into),
            "rm": lambda n, into: self.tool(
                "sh", "-c", 'chmod -R u+rwX "$1" && exec rm -rf "$1"', "sh",
                f"{work}/tar{n}", into=into),
        })
        self.compare("rm / chmod and rm -rf", 1.0, measure["ours"], measure["rm"])

    def create_clones(self, rounds):
        """Creates a container that leaves the tree of its image, and one that is a clone of it."""
        def create(_, into):
            self.udocker("ours0", "create", self.reference, into=into, trees="true")

        measure = self.runner.turns(rounds, {
            "none": lambda _, into: self.udocker("ours0", "gc", into=into),
            "first": create,
            "second": create,
        })
        self.compare("second create / first", 0.2, measure["second"], measure["first"])

    def create_copies(self, rounds):
        """Creates a container, and a second one that is a copy of it."""
        def create(n, into):
            name = f"--name=copy{n}"
            self.udocker("ours0", "create", name, self.reference, into=into, trees="true")

        create("", None)
        root = self.root("ours0", "copy")
        measure = self.runner.turns(rounds, {
            "ours": create,
            "copy": lambda n, into: self.tool(
                "cp", "-a", f"{root}/.", f"{self.runner.work}/again{n}", into=into),
        })
        self.compare("second create / cp -a", 1.0, measure["ours"], measure["copy"])

    def root(self, home, container):
        return self.udocker(home, "inspect", "-p", container).strip()

    def start(self, rounds):
        """Starts a program in a container, again and again."""
        stub = os.path.join(self.runner.work, "true")
        os.symlink("/bin/busybox", stub)
        self.udocker("ours0", "create", "--name=start", self.reference)
        self.udocker_py("py0", "create", "--name=start", LAYER_IMAGE)
        argv = ("--quiet", "run", "--nobanner", "start", "/bin/true")
        # With an engine that ends at once, the rest is our own time.
        stubbed = self.runner.environment("ours0")
        stubbed["UDOCKER_USE_PROOT_EXECUTABLE"] = stub
        measure = self.runner.turns(rounds, {
            "ours": lambda _, into: self.udocker("ours0", *argv, into=into),
            "py": lambda _, into: self.udocker_py("py0", *argv, into=into),
            "stubbed": lambda _, into: self.runner.run(
                [self.options.udocker, *argv], stubbed, into),
            "stub": lambda _, into: self.tool(stub, into=into),
            "version": lambda _, into: self.udocker("ours0", "--version", into=into),
        })
        median = {name: statistics.median(one.seconds) * 1000 for name, one in measure.items()}
        self.row("--version, ms", median["version"], 5)
        self.row("run true: own time before PRoot, ms", median["stubbed"] - median["stub"], 5)
        self.compare("run true / udocker.py", 0.15, measure["ours"], measure["py"])

    def print(self):
        """Prints the table; returns whether all targets are met."""
        print(f"{'what':40} {'measured':>9} {'at most':>8}")
        for what, value, limit, note in self.rows:
            if limit is None:
                target, verdict = "", ""
            else:
                target, verdict = f"{limit:.2f}", "PASS" if value <= limit else "OVER"
            print(f"{what:40} {value:9.3f} {target:>8} {verdict:4}  {note}".rstrip())
        return all(limit is None or value <= limit for _, value, limit, _ in self.rows)


def can_share_blocks(directory):
    """Returns whether files in a directory can share blocks."""
    ficlone = 0x40049409
    with tempfile.TemporaryFile(dir=directory) as one, tempfile.TemporaryFile(dir=directory) as two:
        one.write(b"x" * 65536)
        one.flush()
        try:
            fcntl.ioctl(two, ficlone, one.fileno())
        except OSError:
            return False
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("udocker", "udocker-py", "proot", "layout", "registry"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="memory with huge images, instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options, work)
        try:
            if options.large:
                large.measure(bench)
            else:
                bench.pull(options.rounds)
                bench.create(max(options.rounds, 2))
                bench.start(10 * options.rounds)
        finally:
            for name in os.listdir(work):
                remove(os.path.join(work, name))
    return 0 if bench.print() else 1


if __name__ == "__main__":
    sys.exit(main())
