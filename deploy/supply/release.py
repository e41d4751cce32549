"""A release: what is handed out, made of one commit, summed and signed.

Promise: the wheel is made of the commit's files alone, and the same commit makes the same bytes, on any machine with
the same locks; `SHA256SUMS` names each file; its signature is OpenSSH's (`ssh-keygen -Y`), so that who verifies needs
nothing of ours. A key is only ever named to `ssh-keygen`, which may keep it on a token.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from contracts import errors
from contracts.errors import PlatformError
from deploy.supply.locks import ROOT
from deploy.supply.sbom import sbom

SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
NAMESPACE = "wedsync-backup-release"
"""What a signature is for: one that was made for another purpose does not pass for ours."""
SIGNER = "release"
"""The name in the file of signers, beside the public key."""
_DEADLINE = 300


def make(folder: Path, commit: str) -> list[str]:
    """Put the release of a commit into an empty or new folder; the names of its files. Raises PlatformError."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PlatformError(errors.INVALID_FIELD, f"{folder} is not empty", field="FOLDER", hint="Name a new one.")
    found = _git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    seconds = int(_git("show", "-s", "--format=%ct", found))
    with tempfile.TemporaryDirectory(prefix="wedsync-release-") as scratch:
        with tarfile.open(fileobj=BytesIO(_git("archive", "--format=tar", found))) as files:
            files.extractall(scratch, filter="data")
        _build(Path(scratch), folder, seconds)
        for lock in Path(scratch).glob("requirements*.lock"):
            (folder / lock.name).write_bytes(lock.read_bytes())
        (folder / "wedsync-backup.cdx.json").write_bytes(
            sbom(made_at=datetime.fromtimestamp(seconds, UTC), root=Path(scratch))
        )
    names = sorted(path.name for path in folder.iterdir())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), "utf-8")
    return [*names, SUMS]


def sign(folder: Path, key: Path) -> None:
    """Sign the sums with a key of OpenSSH, which asks for its passphrase or its token by itself."""
    (folder / SIGNATURE).unlink(missing_ok=True)
    _run("ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(folder / SUMS))


def verify(folder: Path, signers: Path) -> list[str]:
    """The names of what was verified. Raises PlatformError where anything is not what was signed, or is not there."""
    sums = folder / SUMS
    _run(
        *("ssh-keygen", "-q", "-Y", "verify", "-f", str(signers), "-I", SIGNER, "-n", NAMESPACE),
        *("-s", str(folder / SIGNATURE)),
        given=sums.read_bytes(),
    )
    named = {
        name: digest for digest, _, name in (line.partition("  ") for line in sums.read_text("utf-8").splitlines())
    }
    for name, digest in named.items():
        path = folder / name
        if not path.is_file():
            raise _not_ours(f"{path} is named by {SUMS}, and is not there")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise _not_ours(f"{path} is not what was signed")
    strange = {path.name for path in folder.iterdir()} - {*named, SUMS, SIGNATURE}
    if strange:
        raise _not_ours(f"{folder} has files that nobody signed: {', '.join(sorted(strange))}")
    return sorted(named)


def _build(sources: Path, folder: Path, seconds: int) -> None:
    # Zip files know local time, and files that are new have the modes of who made them.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds), "TZ": "UTC"}
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder.absolute())]
    _run(*build, cwd=sources, environment=environment)


def _git(*words: str) -> bytes:
    return _run("git", "-C", str(ROOT), *words)


def _run(*words: str, cwd: Path | None = None, environment: dict[str, str] | None = None, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environment, input=given, capture_output=True, timeout=_DEADLINE, check=True
        )
    except FileNotFoundError as error:
        raise _failed(f"{words[0]} is not installed", "Install it: git, and openssh-client for ssh-keygen.") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise _failed(f"{words[0]} ended with {error.returncode}: {said[-1]}", "See what it says.") from error
    return done.stdout


def _failed(message: str, hint: str) -> PlatformError:
    return PlatformError(errors.INVALID_FIELD, message, hint=hint)


def _not_ours(message: str) -> PlatformError:
    return PlatformError(errors.INVALID_FIELD, message, hint="Do not install it; get the release anew, and tell us.")
