"""The demo's disaster: one tier is deleted, and everything comes back from another by the stand-alone CLI.

The commands are those that a person would type on the day when all else is down; they get the key file,
one tier's address and its credentials, and nothing of the running platform.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.interpreter import python_path
from deploy.stack.layout import Layout
from deploy.stack.locations import LOCAL, directory_url, region_url
from deploy.stack.s3_regions import REGIONS, Region
from deploy.stack.secrets import S3Credentials

COMMAND_SECONDS = 3600.0
_WRITERS_SECONDS = 10.0
_CREDENTIALS = msgspec.json.Decoder(S3Credentials)


@dataclass(frozen=True)
class Command:
    """One call of the stand-alone CLI. `line`: as a person would type it; `seconds`: how long it took."""

    line: str
    seconds: float


def key_file(layout: Layout, organisation: str) -> Path:
    """The key of an organisation's repository, which its first run has made."""
    return layout.platform_keys / "repositories" / f"{organisation}.key"


def local_tier(layout: Layout, organisation: str) -> Path:
    """The folder of an organisation's repository on the local tier."""
    return layout.local_tier / organisation


def tier_address(layout: Layout, region: Region, organisation: str) -> str:
    """The address of an organisation's repository in a region, with a name that messages call it by."""
    parts = urlsplit(region_url(layout, region))
    return f"{region.name}={urlunsplit(parts._replace(path=f'{parts.path}/{organisation}'))}"


def delete_local_tier(layout: Layout, organisation: str) -> int:
    """Delete an organisation's repository on the local tier; the bytes that are gone."""
    folder = local_tier(layout, organisation)
    gone = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            gone += path.stat().st_size if path.is_file() else 0
    until = time.monotonic() + _WRITERS_SECONDS
    while folder.exists():
        # A run that was cancelled a moment ago may have written one object more.
        shutil.rmtree(folder, ignore_errors=time.monotonic() < until)
        time.sleep(0.05)  # A disk tells nobody when the last writer has let go.
    return gone


def restore(layout: Layout, organisation: str, snapshot_id: str, target: Path, region: Region = REGIONS[0]) -> Command:
    """Restore a snapshot from one region alone. Raises RESTORE_FAILED."""
    address = tier_address(layout, region, organisation)
    words = ["restore", snapshot_id, "--target", str(target), *_access(layout, organisation, [address])]
    return _run(layout, region, words)


def bring_local_tier_back(layout: Layout, organisation: str, region: Region = REGIONS[0]) -> Command:
    """Fill the deleted tier again from one region's ciphertext. Raises RESTORE_FAILED."""
    local = directory_url(local_tier(layout, organisation))
    addresses = [f"{LOCAL}={local}", tier_address(layout, region, organisation)]
    return _run(layout, region, ["catch-up", "--begin-anew", LOCAL, *_access(layout, organisation, addresses)])


def _access(layout: Layout, organisation: str, addresses: Sequence[str]) -> list[str]:
    words = ["--key-file", str(key_file(layout, organisation))]
    for address in addresses:
        words += ["--tier", address]
    return words


def _run(layout: Layout, region: Region, words: Sequence[str]) -> Command:
    line = shlex.join(["wedsync-backup", "repo", *words])
    begun = time.monotonic()
    # Its progress bars go to the terminal by standard error; what it says at the end is not needed here.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli", "repo", *words],
        env={**os.environ, **_credentials(layout, region), "PYTHONPATH": python_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise PlatformError(
            errors.RESTORE_FAILED, f"the command ended with {done.returncode}: {line}", hint=done.stdout.strip()[-500:]
        )
    return Command(line, time.monotonic() - begun)


def _credentials(layout: Layout, region: Region) -> Mapping[str, str]:
    """A region's credentials, as the environment of any S3 client takes them."""
    kept = _CREDENTIALS.decode((layout.credentials / f"{region.name}.json").read_bytes())
    return {"AWS_ACCESS_KEY_ID": kept.access_key_id, "AWS_SECRET_ACCESS_KEY": kept.secret_access_key}
