"""Peak memory with images that are large in one respect each.

They are written as OCI layouts whose layers compress well, so that the archives are small; the
unpacked files are written in full.
"""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile

from running import Measured, remove

GIBI = 1 << 30


class Hashed:
    """Writes to a file and hashes what it writes."""

    def __init__(self, file):
        self.file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self.hash.update(data)
        self.size += len(data)
        return self.file.write(data)


class Zeros(io.RawIOBase):
    """An endless file of zeros."""

    def readinto(self, buffer):
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def file_of(name, size=0):
    member = tarfile.TarInfo(name)
    member.size = size
    return member, Zeros()


def huge_layer():
    """10 GiB in files of 256 MiB."""
    return [(file_of(f"files/{number}", GIBI // 4) for number in range(40))]


def single_file():
    """One file of 1 GiB."""
    return [[file_of("file", GIBI)]]


def million_entries():
    """A million empty files in a thousand directories."""
    return [(file_of(f"{n // 1000}/{n}") for n in range(1_000_000))]


def ten_layers():
    """Ten layers of 100 MiB."""
    return [[file_of(f"layer-{number}", 100 << 20)] for number in range(10)]


def write_layout(directory, layers):
    """Writes an image of these layers, each an iterable of members and content."""
    blobs = os.path.join(directory, "blobs", "sha256")
    os.makedirs(blobs)

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as file:
            file.write(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image."
    diff_ids, descriptors = [], []
    for layer in layers:
        packed = os.path.join(directory, "layer")
        with open(packed, "wb") as out:
            with subprocess.Popen(["gzip", "-1"], stdin=subprocess.PIPE, stdout=out) as gzip:
                plain = Hashed(gzip.stdin)
                with tarfile.open(mode="w|", fileobj=plain, bufsize=1 << 20) as tar:
                    for member, content in layer:
                        tar.addfile(member, content)
                        tar.members = []
                gzip.stdin.close()
        with open(packed, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.rename(packed, os.path.join(blobs, digest))
        diff_ids.append(f"sha256:{plain.hash.hexdigest()}")
        descriptors.append({"mediaType": f"{kind}layer.v1.tar+gzip", "digest": f"sha256:{digest}",
                            "size": os.path.getsize(os.path.join(blobs, digest))})
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    config = put(json.dumps({"os": "linux", "architecture": machine, "config": {},
                             "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode())
    manifest = put(json.dumps({
        "schemaVersion": 2, "mediaType": f"{kind}manifest.v1+json",
        "config": {"mediaType": f"{kind}config.v1+json", **config}, "layers": descriptors,
    }).encode())
    entry = {"mediaType": f"{kind}manifest.v1+json", **manifest,
             "annotations": {"org.opencontainers.image.ref.name": "1"}}
    with open(os.path.join(directory, "index.json"), "w", encoding="ascii") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
    with open(os.path.join(directory, "oci-layout"), "w", encoding="ascii") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)


def measure(bench):
    """Runs every command that reads layers or trees on each of the images."""
    work, registry = bench.runner.work, bench.options.registry
    for make in (huge_layer, single_file, million_entries, ten_layers):
        name = make.__name__.replace("_", "-")
        layout, archive = os.path.join(work, name), os.path.join(work, "archive")
        write_layout(layout, make())
        image = f"http://{registry}/lab/{name}:1"
        bench.tool("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                   f"oci:{layout}:1", image.replace("http:", "docker:"))
        for arguments in (
                ("pull", image), ("verify", image), ("create", "--name=c", image),
                ("save", "-o", archive, image), ("rmi", image), ("load", "-i", archive),
                ("ps", "-s"), ("export", "-o", "/dev/null", "c"), ("clone", "--name=d", "c"),
                ("rm", "d"), ("rm", "c"), ("load", "-i", layout, f"lab/{name}:2")):
            measured = Measured()
            bench.udocker(name, *arguments, into=measured)
            bench.row(f"{name}: {arguments[0]}, peak MiB", measured.peak_mib, 64,
                      f"{measured.best:.1f} s")
        for path in (layout, archive, os.path.join(work, name)):
            remove(path)
