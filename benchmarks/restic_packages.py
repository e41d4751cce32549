"""The programs that are compared with: Debian's packages, pinned by digest, unpacked and not installed.

They come from the mirror that this machine's package manager is set up with, or lie in the folder of the corpora
already, put there by hand under their own names.
"""

import hashlib
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """One file of the mirror's pool, and its SHA-256."""

    name: str
    sha256: str


NEWEST = "0.19.1"
PACKAGES = {
    NEWEST: Package(
        "restic_0.19.1-1_amd64.deb", "97711c3125b5a65788a7e99fce8eb25f9a543fa8d83c4d7e54a5febe939a0f9e"
    ),  # of Debian's unstable branch
    "0.14.0": Package(
        "restic_0.14.0-1+b5_amd64.deb", "9d7e8c210736f3f15ed7cf425ab56aa5259b07d8422b958494bfd4359b5024d1"
    ),  # of Debian 12
}
RCLONE = Package(
    "rclone_1.60.1+dfsg-2+b5_amd64.deb", "703722dcab0c487322690fe68c7f8d6787e54e1ecd1297800d1382687ddbd81a"
)  # of Debian 12


class NotFetched(Exception):
    """A package is not here and cannot be had; the message says where it would be looked for."""


def program(work: Path, version: str) -> Path:
    """The executable of a release, below `work`. Raises `NotFetched`."""
    return _unpacked(work, PACKAGES[version], "restic", f"restic-{version}")


def rclone(work: Path) -> Path:
    """The executable of rclone, below `work`. Raises `NotFetched`."""
    return _unpacked(work, RCLONE, "rclone", "rclone")


def _unpacked(work: Path, package: Package, name: str, place: str) -> Path:
    folder = work / place
    found = folder / "usr" / "bin" / name
    if not found.exists():
        file = work / package.name
        work.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _download(package, file)
        if hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
            raise NotFetched(f"{file} is not the package that is compared with: it has another SHA-256")
        subprocess.run(["dpkg-deb", "-x", file, folder], check=True)
    return found


def _download(package: Package, file: Path) -> None:
    mirrors = _mirrors()
    source = package.name.partition("_")[0]
    where = f"pool/main/{source[0]}/{source}/{urllib.parse.quote(package.name)}"
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + where, timeout=60) as answer:
                body = answer.read()
        except (urllib.error.URLError, OSError):
            continue
        if hashlib.sha256(body).hexdigest() == package.sha256:
            temporary = file.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(body)
            temporary.replace(file)
            return
    raise NotFetched(f"{package.name} is on none of the {len(mirrors)} mirrors of apt: put it into {file.parent}")


def _mirrors() -> list[str]:
    """What apt is set up with, each once."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []
    return [line.rstrip("/") + "/" for line in dict.fromkeys(lines) if line.startswith("http")]
