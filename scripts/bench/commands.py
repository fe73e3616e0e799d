#!/usr/bin/python3
"""Measures the listing of large repositories, and archive commands beside tar doing the same work;
bench-commands.sh prepares what this needs and calls it.

The work of tar includes what makes it the same: reading every layer of an archive to its end where
udocker checks it, and putting on the disk what udocker puts there.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid

from measure import Bench, Measured, remove, seconds

MANY = 1000


def path_in(bench, name):
    """A path in the scratch directory."""
    return os.path.join(bench.work, name)


def best_of(bench, rounds, sides):
    """Runs the sides in turns. Each is the command, what comes before it each time, unmeasured,
    and what takes the number of runs."""
    for _ in range(rounds):
        for argv, before, measured in sides:
            before()
            bench.run(argv, bench.home_ours(), measured)


def listings(bench, rounds):
    """A repository with many images and containers, and the median time of looking at it."""
    udocker, home = bench.options.udocker, bench.home_ours("many")
    tree = os.path.join(bench.work, "small")
    os.makedirs(os.path.join(tree, "etc"))
    archive = os.path.join(bench.work, "small.tar")
    bench.run(["tar", "-cf", archive, "-C", tree, "."], home)
    bench.run([udocker, "import", archive, "lab/image:0"], home)
    bench.run([udocker, "create", "--name=c0", "lab/image:0"], home)
    multiply(os.path.join(home["HOME"], ".udocker"))
    results = {}
    for argv in (["images"], ["ps"], ["inspect", "lab/image:500"], ["inspect", "c500"]):
        measured = Measured()
        for _ in range(10 * rounds):
            text = bench.run([udocker, *argv], home, measured)
            if argv[0] != "inspect" and len(text.splitlines()) != MANY + 1:
                sys.exit(f"{argv} shows {len(text.splitlines())} lines")
        results[" ".join(argv)] = statistics.median(measured.seconds)
    remove(os.path.join(home["HOME"], ".udocker"))
    return results


def multiply(store):
    """Makes many of the one image and the one container, without the syncing of commands."""
    images = os.path.join(store, "repos", "lab", "image")
    containers = os.path.join(store, "containers")
    first = os.readlink(os.path.join(containers, "c0"))
    for number in range(1, MANY):
        image = os.path.join(images, str(number))
        shutil.copytree(os.path.join(images, "0"), image, symlinks=True)
        with open(os.path.join(image, "TAG"), "w", encoding="ascii") as file:
            file.write(f"lab/image:{number}")
        container = str(uuid.uuid4())
        shutil.copytree(os.path.join(containers, first), os.path.join(containers, container))
        os.symlink(container, os.path.join(containers, f"c{number}"))


class Archives:
    """An image, a container, a tree and archives of them, and commands on these."""

    def __init__(self, bench):
        self.bench = bench
        udocker, home = bench.options.udocker, bench.home_ours()
        self.udocker = udocker
        store = os.path.join(home["HOME"], ".udocker")
        self.saved = path_in(bench, "saved.tar")
        self.tree = path_in(bench, "tree.tar")
        bench.run([udocker, "load", "-i", bench.options.layout, "lab/distro"], home)
        self.image = bench.run([udocker, "-q", "images"], home).split()[0]
        bench.run([udocker, "create", "--name=c", self.image], home)
        bench.run([udocker, "save", "-o", self.saved, self.image], home)
        bench.run([udocker, "export", "-o", self.tree, "c"], home)
        self.root = bench.run([udocker, "inspect", "-p", "c"], home).strip()
        self.layers = os.path.join(store, "layers")
        self.new = path_in(bench, "new")

    def shell(self, script):
        return ["sh", "-ec", script]

    def clean(self):
        """Makes room for the next run, and has the disk idle when it begins."""
        remove(self.new)
        for file in ("out.tar", "theirs.tar"):
            if os.path.exists(path_in(self.bench, file)):
                os.unlink(path_in(self.bench, file))
        os.makedirs(self.new)
        subprocess.run(["sync", "-f", self.bench.work], check=True)

    def forget(self, *argv):
        """What comes before a command that makes something under a fixed name."""

        def before():
            subprocess.run([self.udocker, "-q", *argv], env=self.bench.home_ours(), check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.clean()

        return before

    def pairs(self):
        """Name, our command, what comes before it, and tar's."""
        udocker, new, out = self.udocker, self.new, path_in(self.bench, "out.tar")
        theirs = path_in(self.bench, "theirs.tar")
        synced = f"sync -f {new}"
        return [
            ("load", [udocker, "load", "-i", self.saved, "lab/loaded"],
             self.forget("rmi", self.image.replace("lab/distro", "lab/loaded")),
             f"tar -xf {self.saved} -C {new}; for layer in {new}/*/layer.tar; do "
             f"tar -tf $layer >/dev/null; done; {synced}"),
            ("save", [udocker, "save", "-o", out, self.image], self.clean,
             f"cd {self.layers}; tar -cf {theirs} sha256*"),
            ("import", [udocker, "import", self.tree, "lab/imported:1"],
             self.forget("rmi", "lab/imported:1"),
             f"tee {new}/layer <{self.tree} | tar -t >/dev/null; {synced}"),
            ("import --tocontainer", [udocker, "import", "--tocontainer", "--name=i", self.tree],
             self.forget("rm", "i"), f"tar -xf {self.tree} -C {new}"),
            ("export", [udocker, "export", "-o", out, "c"], self.clean,
             f"tar -cf {theirs} -C {self.root} ."),
            ("clone", [udocker, "clone", "--name=d", "c"], self.forget("rm", "d"),
             f"tar -cf - -C {self.root} . | tar -xf - -C {new}"),
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("udocker", "layout"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options, work)
        for command, median in listings(bench, options.rounds).items():
            rows.append((f"{command}, {MANY} images and containers, ms", median * 1000, 50, ""))
        archives = Archives(bench)
        for name, ours_argv, before, script in archives.pairs():
            ours, tar = Measured(), Measured()
            best_of(bench, options.rounds, [(ours_argv, before, ours),
                                            (archives.shell(script), archives.clean, tar)])
            rows.append((f"{name} / tar", ours.best / tar.best, 1.0, seconds(ours, tar)))
            rows.append((f"{name}, peak MiB", ours.peak / (1024 * 1024), 64, ""))
        archives.clean()
        remove(os.path.join(bench.home_ours()["HOME"], ".udocker"))
    print(f"{'what':52} {'measured':>9} {'at most':>8}")
    for what, value, limit, note in rows:
        verdict = "PASS" if value <= limit else "OVER"
        print(f"{what:52} {value:9.3f} {limit:8.2f} {verdict}  {note}")
    return 0 if all(row[1] <= row[2] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
