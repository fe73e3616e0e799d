#!/usr/bin/python3
"""Measures the listing of large repositories, and archive commands beside tar doing the same work;
bench-commands.sh prepares what this needs and calls it.

tar does the same work: it reads the layers of an archive to their end if udocker checks them, and
syncs files that udocker syncs. Every number is the fastest of a few runs in turns; nothing is
removed in between.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import uuid

from running import Measured, Runner, remove

MANY = 1000


def listings(runner, udocker, rounds):
    """Returns the median seconds of each listing command in a repository with many images and
    containers."""
    home = runner.environment("many")
    tree, archive = (os.path.join(runner.work, name) for name in ("small", "small.tar"))
    os.makedirs(os.path.join(tree, "etc"))
    for argv in (["tar", "-cf", archive, "-C", tree, "."],
                 [udocker, "import", archive, "lab/image:0"],
                 [udocker, "create", "--name=c0", "lab/image:0"]):
        runner.run(argv, home)
    multiply(os.path.join(home["HOME"], ".udocker"))
    medians = {}
    for command in ("images", "ps", "inspect lab/image:500", "inspect c500"):
        measured = Measured()
        for _ in range(10 * rounds):
            text = runner.run([udocker, *command.split()], home, measured)
            if not command.startswith("inspect") and len(text.splitlines()) != MANY + 1:
                sys.exit(f"{command} shows {len(text.splitlines())} lines")
        medians[command] = statistics.median(measured.seconds)
    return medians


def multiply(store):
    """Copies the one image and the one container many times, without syncing as commands do."""
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
    """An image, a container of it and archives of both, and the commands on them."""

    IMAGE = "lab/distro:latest"

    def __init__(self, runner, udocker, layout):
        self.runner = runner
        self.udocker = udocker
        self.saved = os.path.join(runner.work, "saved.tar")
        self.tree = os.path.join(runner.work, "tree.tar")
        for arguments in (["load", "-i", layout, "lab/distro"], ["create", "--name=c", self.IMAGE],
                          ["save", "-o", self.saved, self.IMAGE], ["export", "-o", self.tree, "c"]):
            runner.run([udocker, *arguments], runner.environment("home"))
        root = runner.run([udocker, "inspect", "-p", "c"], runner.environment("home"))
        self.root = root.strip()
        self.layers = os.path.join(runner.work, "home", ".udocker", "layers")

    def compare(self, name, rounds, home, arguments, script):
        """Runs udocker and tar in turns. `{n}` is the round; `home` is where udocker works, and
        tar's script begins in a directory of its own."""
        target = os.path.join(self.runner.work, name)

        def ours(number, into):
            words = [word.format(n=number) for word in arguments]
            home_of_round = self.runner.environment(home.format(n=number))
            self.runner.run([self.udocker, *words], home_of_round, into)

        def tar(number, into):
            place = os.path.join(target, str(number))
            os.makedirs(place)
            environment = self.runner.environment("tar")
            self.runner.run(["sh", "-ec", f"cd '{place}'; {script}"], environment, into)

        os.makedirs(target)
        return self.runner.turns(rounds, {"ours": ours, "tar": tar})

    def rows(self, rounds):
        out = os.path.join(self.runner.work, "out{n}.tar")
        for name, home, arguments, script in (
                ("load", "load{n}", ["load", "-i", self.saved],
                 f"tar -xf {self.saved}; for layer in */layer.tar; do "
                 "tar -tf $layer >/dev/null; done; sync -f ."),
                ("save", "home", ["save", "-o", out, self.IMAGE],
                 f"tar -cf out.tar -C {self.layers} $(cd {self.layers}; ls)"),
                ("import", "import{n}", ["import", self.tree, "lab/imported:1"],
                 f"tar -xf {self.tree}; sync -f ."),
                ("import --tocontainer", "home",
                 ["import", "--tocontainer", "--name=i{n}", self.tree], f"tar -xf {self.tree}"),
                ("export", "home", ["export", "-o", "x" + out.rpartition("/")[2], "c"],
                 f"tar -cf out.tar -C {self.root} ."),
                ("clone", "home", ["clone", "--name=d{n}", "c"],
                 f"tar -cf - -C {self.root} . | tar -xf -")):
            yield name, self.compare(name, rounds, home, arguments, script)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("udocker", "layout"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    work = tempfile.mkdtemp(prefix="udocker-bench-")
    try:
        runner = Runner(work)
        for command, median in listings(runner, options.udocker, options.rounds).items():
            rows.append((f"{command}, {MANY} images and containers, ms", median * 1000, 50, ""))
        archives = Archives(runner, options.udocker, options.layout)
        for name, measured in archives.rows(options.rounds):
            ours, tar = measured["ours"], measured["tar"]
            note = f"{ours.best:.3f} s against {tar.best:.3f} s"
            rows.append((f"{name} / tar", ours.best / tar.best, 1.0, note))
            rows.append((f"{name}, peak MiB", ours.peak_mib, 64, ""))
    finally:
        remove(work)
    print(f"{'what':52} {'measured':>9} {'at most':>8}")
    for what, value, limit, note in rows:
        verdict = "PASS" if value <= limit else "OVER"
        print(f"{what:52} {value:9.3f} {limit:8.2f} {verdict}  {note}")
    return 0 if all(row[1] <= row[2] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
