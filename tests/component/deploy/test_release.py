"""A release of this commit: the same bytes twice, signed, and refused where anything of it was changed."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from contracts.errors import PlatformError
from deploy.supply import release
from tests.architecture.packages import PACKAGES


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH's ssh-keygen is not installed")
def test_release_is_the_same_twice_and_what_was_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two builds of one commit are byte-equal, in another place and time zone; what is changed is told by its name."""
    names = release.make(tmp_path / "first", "HEAD")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert release.make(tmp_path / "second", "HEAD") == names
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    (wheel,) = (tmp_path / "first").glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in inside if ".dist-info/" not in name} == set(PACKAGES)
    assert {"chassis/variables.txt", "deploy/supply/licences.json", "deploy/systemd/wedsync.target"} <= set(inside)

    key, signers = tmp_path / "key", tmp_path / "signers"
    for path in (key, tmp_path / "strangers"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=60)
    signers.write_text(f'{release.SIGNER} namespaces="{release.NAMESPACE}" {key.with_suffix(".pub").read_text()}')
    folder = tmp_path / "first"
    with pytest.raises(PlatformError, match="ssh-keygen"):
        release.verify(folder, signers)
    release.sign(folder, key)
    assert release.verify(folder, signers) == [name for name in names if name != release.SUMS]

    (folder / "more").write_text("")
    with pytest.raises(PlatformError, match="nobody signed: more"):
        release.verify(folder, signers)
    (folder / "more").unlink()
    wheel.write_bytes(wheel.read_bytes() + b" ")
    with pytest.raises(PlatformError, match=r"\.whl is not what was signed"):
        release.verify(folder, signers)
    wheel.unlink()
    with pytest.raises(PlatformError, match="is not there"):
        release.verify(folder, signers)
    release.sign(tmp_path / "second", tmp_path / "strangers")
    with pytest.raises(PlatformError, match="ssh-keygen"):
        release.verify(tmp_path / "second", signers)
    with pytest.raises(PlatformError, match="is not empty"):
        release.make(folder, "HEAD")
