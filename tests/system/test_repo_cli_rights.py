"""Objects of a tier that this user may not read: named as that, once, and nobody calls them damaged or whole."""

from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from repository.errors import AccessDenied, RepositoryError, TierUnreachable
from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.repo_command import RepoCommand


def _deny(monkeypatch: pytest.MonkeyPatch, prefix: str, error: type[RepositoryError] = AccessDenied) -> None:
    """As the system does of a file of another user; whoever runs the tests may be the one who may all."""
    for method in ("get", "get_range", "read_into"):
        read: Any = getattr(DirectoryObjectStore, method)

        def refuse(self: DirectoryObjectStore, key: str, *words: Any, read: Any = read, **options: Any) -> Any:
            if key.startswith(prefix):
                raise error("permission denied", tier=self.name, key=key)
            return read(self, key, *words, **options)

        monkeypatch.setattr(DirectoryObjectStore, method, refuse)


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """A repository on one tier with one snapshot, of large files and a small one in a later pack."""
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    (tmp_path / "source").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / "source" / name).write_bytes(name.encode() * 1_000_000)
    command.json("backup", tmp_path / "source")
    return command


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [(AccessDenied, ExitCode.REFUSED, "unreadable"), (TierUnreachable, ExitCode.UNAVAILABLE, "unreachable")],
)
def test_restore_of_a_pack_that_is_not_given_says_why_once(
    repo: RepoCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[RepositoryError],
    code: ExitCode,
    kind: str,
) -> None:
    """It may be whole: once it is given the same restore goes on. A line a chunk said that everything was damaged."""
    largest = max((repo.tier("a") / "packs").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    with monkeypatch.context() as patch:
        _deny(patch, f"packs/{largest.parent.name}/{largest.name}", error)
        done = repo.run("restore", "latest", "--target", tmp_path / "back")
        document = repo.run("restore", "latest", "--target", tmp_path / "back", "--json").document
    assert done.code == code
    assert done.err.count("permission denied") == 1
    assert f"3 {kind}:\n  one and 2 more: {kind} permission denied (tier a, key packs/" in done.err
    assert (document["trouble_counts"], len(document["troubles"])) == ({kind: 3}, 3)
    assert not document["is_whole"]
    assert repo.run("restore", "latest", "--target", tmp_path / "back").code == ExitCode.OK
    assert (tmp_path / "back/two").read_bytes() == b"two" * 1_000_000


@pytest.mark.parametrize(("folder", "words"), [("packs/", ("--read-data",)), ("snapshots/", ())])
def test_check_and_repair_name_what_may_not_be_read_and_look_at_the_rest(
    repo: RepoCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, words: tuple[str, ...]
) -> None:
    """One such object hid all other damage of its tier from a check, and a repair of all bytes had found nothing."""
    (tmp_path / "source/four").write_bytes(b"four" * 1_000)
    repo.json("backup", tmp_path / "source")
    _deny(monkeypatch, folder)
    for command in ("check", "repair"):
        done = repo.run(command, *words)
        assert done.code == ExitCode.DEGRADED, done
        assert done.out.count("tier-access-denied: permission denied") == 1
        assert f"more below {folder}.)" in done.out
        assert "folder's permissions allow them" in done.out
        assert "no damage found" not in done.out
        assert "nothing to repair" not in done.out
    if folder == "packs/":
        done = repo.run("prune")
        assert (done.code, "permission denied" in done.err) == (ExitCode.REFUSED, True), done
    monkeypatch.undo()
    manifest = next((repo.tier("a") / "snapshots").iterdir())
    packs = {path.parent.name: path for path in (repo.tier("a") / "packs").rglob("*") if path.is_file()}
    _deny(monkeypatch, f"packs/{packs.popitem()[0]}")
    manifest.chmod(0o600)
    manifest.write_bytes(b"?")
    done = repo.run("check", "--read-data")
    assert done.code == ExitCode.DAMAGED
    assert f"DAMAGE on a: manifest snapshots/{manifest.name}" in done.out
    assert "UNKNOWN on a: pack packs/" in done.out
