"""Running commands and measuring them."""

import os
import subprocess
import sys
import tempfile
import time


class Measured:
    """Durations in seconds, work of the processors, and the highest peak memory of some runs of one
    command."""

    def __init__(self):
        self.seconds = []
        self.busy_seconds = []
        self.sync_seconds = []
        self.peak_mib = 0

    @property
    def best(self):
        """The shortest time until the command ended."""
        return min(self.seconds)

    @property
    def floor(self):
        """The time it would take if all processors were busy from its start to its end."""
        return min(self.busy_seconds) / os.cpu_count()

    @property
    def best_on_disk(self):
        """The shortest time until the command's files were on the disk."""
        return min(map(sum, zip(self.seconds, self.sync_seconds, strict=True)))


class Runner:
    """Runs commands in homes below a scratch directory."""

    def __init__(self, work):
        self.work = work

    def environment(self, home):
        """Returns an environment with PATH, a home of that name and a temporary directory."""
        paths = {"HOME": os.path.join(self.work, home), "TMPDIR": os.path.join(self.work, "tmp")}
        for path in paths.values():
            os.makedirs(path, exist_ok=True)
        return {**paths, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def run(self, argv, environment, into=None, expected=0):
        """Runs a command to its end; returns its standard output."""
        # The peak of a child of this interpreter includes the interpreter's memory at the fork. So
        # time(1), which is small, starts the command and reports its memory.
        with (tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err,
              tempfile.NamedTemporaryFile("r", encoding="ascii") as told):
            start, busy = time.monotonic(), busy_seconds()
            process = subprocess.run(["time", "--quiet", "-f", "%M", "-o", told.name, *argv],
                                     env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=err, cwd=self.work, check=False)
            seconds, busy = time.monotonic() - start, busy_seconds() - busy
            text, message = (read(file) for file in (out, err))
            peak_kib = told.read()
        if process.returncode != expected:
            sys.exit(f"{argv} ended with {process.returncode}:\n{text}{message}")
        if into is not None:
            into.seconds.append(seconds)
            into.busy_seconds.append(busy)
            into.peak_mib = max(into.peak_mib, int(peak_kib) / 1024)
        return text

    def turns(self, rounds, commands):
        """Runs the commands in turns; each gets the round and its `Measured`."""
        measured = {name: Measured() for name in commands}
        os.sync()
        for number in range(rounds):
            for name, command in commands.items():
                command(number, measured[name])
                # Its files must not be written to the disk during the next command.
                start = time.monotonic()
                os.sync()
                measured[name].sync_seconds.append(time.monotonic() - start)
        return measured


def busy_seconds():
    """Returns how long the processors have worked since the machine started, all of them together
    and for whatever program: for the command, its server and the kernel's own threads."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def read(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def remove(path):
    """Removes a tree whatever its modes."""
    if os.path.isdir(path) and not os.path.islink(path):
        subprocess.run(["chmod", "-R", "u+rwX", path], check=True)
    subprocess.run(["rm", "-rf", path], check=True)
