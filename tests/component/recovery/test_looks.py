"""What lies in recovery points, asked by the gateway's identity over NATS and answered by a worker on real tiers."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import errors
from contracts.cleanup_events import GoingPoint, RecoveryPointsForgotten
from contracts.errors import PlatformError
from contracts.looking import ContentAsked, EntriesAsked, EntryKind, PointLooked, encoded
from gateway.reading import asking
from gateway.reading.asking import Asking
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.retention.orders import forget
from repository.tiers.location import open_tier
from services.recovery.adapters.looks import RepositoryLooks, _Kept
from services.recovery.kept import KeptPoint
from services.recovery.looking import OF_ONE, WAITING_OF_ONE, LookAnswers
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.recovery import CONFIGURATION, ORGANISATION, POINT, TIERS, RecoveryBench, recovery_bench
from vault.key_files import name_of

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[RecoveryBench]:
    """A recovery service with a point of 41 files on two tiers."""
    await nats_server.apply()
    async with recovery_bench(tmp_path, postgres, nats_server) as bench:
        yield bench


@asynccontextmanager
async def _answering(
    bench: RecoveryBench, nats_server: NatsServer, looks: Any = None, **of: Any
) -> AsyncIterator[Asking]:
    """A worker that answers, and the gateway that asks."""
    looks = looks or RepositoryLooks(locations=bench.locations, keys_dir=bench.home / "keys", fresh_seconds=0.0)
    worker = LookAnswers(connection=bench.connection, points=bench.points(), looks=looks, **of)
    await worker.start()
    await bench.connection.client.flush()
    async with nats_server.connected("gateway") as client:
        try:
            yield Asking(lambda: client)
        finally:
            await worker.stop()


def _asked(
    path: bytes = b"", *, points: Sequence[str] = (POINT,), organisation: str = ORGANISATION, **more: Any
) -> EntriesAsked:
    return EntriesAsked(
        organisation=organisation, recovery_point_ids=tuple(points), path=path, **{"limit": 100, **more}
    )


async def test_worker_shows_what_lies_in_a_point_and_says_why_where_it_cannot(
    bench: RecoveryBench, nats_server: NatsServer
) -> None:
    """Folders, files and their sizes; one tier that is gone costs nothing, both are told; one that is back is used."""
    async with _answering(bench, nats_server) as ask:
        (root,) = await ask.entries(_asked())
        assert root.entry is not None
        assert [(each.name, each.kind) for each in root.entries] == [
            (b"2027", EntryKind.FOLDER),
            (b"contract.txt", EntryKind.FILE),
        ]
        (folder,) = await ask.entries(_asked(b"2027", limit=15))
        (rest,) = await ask.entries(_asked(b"2027", place=folder.next_place or 0))
        names = [each.name for each in (*folder.entries, *rest.entries)]
        assert names == sorted(b"IMG_%d.jpg" % number for number in range(40))
        assert {each.size for each in folder.entries} == {50_000}
        (one,) = await ask.entries(_asked(b"2027/IMG_7.jpg"))
        assert (one.entry is not None and one.entry.size, one.entries, one.code) == (50_000, (), None)
        (none,) = await ask.entries(_asked(b"2027/IMG_4711.jpg"))
        assert (none.entry, none.code) == (None, None)

        away = bench.home / "away"
        shutil.move(bench.tier("local"), away)
        assert (await ask.entries(_asked(b"2027/IMG_7.jpg")))[0] == one
        shutil.rmtree(bench.tier("second"))
        (lost,) = await ask.entries(_asked(b"2027/IMG_7.jpg"))
        assert (lost.entry, lost.code) == (None, errors.TIER_VANISHED.code)
        shutil.move(away, bench.tier("local"))
        assert (await ask.entries(_asked(b"2027/IMG_7.jpg")))[0] == one


async def test_point_of_another_or_one_that_is_gone_shows_nothing(
    bench: RecoveryBench, nats_server: NatsServer
) -> None:
    """Another organisation's, one that a cleanup let go; one whose key is away, or whose locations were taken back."""
    async with _answering(bench, nats_server) as ask:
        assert (await ask.entries(_asked()))[0].entries
        with pytest.raises(PlatformError) as refused:
            await ask.entries(_asked(organisation="org-b"))
        assert refused.value.code is errors.RECOVERY_POINT_NOT_SEEN_YET

        (key,) = (bench.home / "keys" / "repositories").iterdir()
        body = key.read_bytes()
        key.unlink()
        assert (await ask.entries(_asked()))[0].code == errors.KEYS_UNUSABLE.code
        key.write_bytes(body)
        key.chmod(0o600)
        assert (await ask.entries(_asked()))[0].code is None

        registered = json.loads(bench.registry.read_text())
        kept = [each for each in registered["locations"] if each["name"] not in TIERS]
        bench.registry.write_text(json.dumps({"locations": kept}))
        assert (await ask.entries(_asked()))[0].code == errors.UNKNOWN_LOCATION.code
        bench.registry.write_text(json.dumps(registered))
        assert (await ask.entries(_asked()))[0].code is None

        point = GoingPoint(recovery_point_id=POINT, configuration_id=CONFIGURATION, rules=("not-kept",))
        gone = RecoveryPointsForgotten(cleanup_id="cleanup-1", points=(point,))
        await bench.hear(gone)
        assert (await ask.entries(_asked()))[0].code == errors.RECOVERY_POINT_GONE.code


async def test_what_was_forgotten_meanwhile_is_shown_no_more(bench: RecoveryBench, nats_server: NatsServer) -> None:
    """By the command line, between two looks: the repository that is open does not show what it has read before."""
    async with _answering(bench, nats_server) as ask:
        content = ContentAsked(organisation=ORGANISATION, recovery_point_id=POINT, path=b"contract.txt")
        assert (await ask.content(content))[1]
        stores = [open_tier(f"file://{bench.tier(name)}", name=name) for name in TIERS]
        with Repository.open(stores, KeyFile.load(bench.home / "keys" / name_of(ORGANISATION))) as repository:
            forget(repository, [repository.find_snapshot("latest").id])
        (looked,) = await ask.entries(_asked(b"contract.txt"))
        assert (looked.entry, looked.code) == (None, errors.RECOVERY_POINT_MISSING.code)
        with pytest.raises(PlatformError) as refused:
            await ask.content(content)
        assert refused.value.code is errors.RECOVERY_POINT_MISSING


async def test_file_comes_piece_by_piece_and_within_the_scope_alone(
    bench: RecoveryBench, nats_server: NatsServer
) -> None:
    """Every byte, from the tier that answers; a folder, what is not in the scope and another file have none."""
    async with _answering(bench, nats_server) as ask:
        asked = ContentAsked(organisation=ORGANISATION, recovery_point_id=POINT, path=b"contract.txt", length=7_000)
        shutil.rmtree(bench.tier("local"))
        read, entry = b"", None
        while entry is None or len(read) < entry.size:
            entry, piece = await ask.content(msgspec.structs.replace(asked, offset=len(read)))
            read += piece
        assert read == (bench.source / "contract.txt").read_bytes()
        assert await ask.content(msgspec.structs.replace(asked, scope=("*.txt",), content=entry.content))
        for changes, code in (
            ({"path": b"2027"}, errors.ENTRY_WITHOUT_CONTENT),
            ({"path": b"none"}, errors.ENTRY_UNKNOWN),
            ({"scope": ("*.jpg",)}, errors.ENTRY_UNKNOWN),
            ({"content": "of another"}, errors.ENTRY_UNKNOWN),
            ({"organisation": "org-b"}, errors.RECOVERY_POINT_NOT_SEEN_YET),
            ({"offset": -1}, errors.INTERNAL),
            ({"length": 10**9}, errors.INTERNAL),
        ):
            with pytest.raises(PlatformError) as refused:
                await ask.content(msgspec.structs.replace(asked, **changes))
            assert refused.value.code is code, changes


async def test_nobody_who_listens_or_answers_is_told_as_such(
    bench: RecoveryBench, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker at once; a question that is none, or asks for too much, is answered as well."""
    async with nats_server.connected("gateway") as client:
        with pytest.raises(PlatformError) as nobody:
            await Asking(lambda: client).entries(_asked())
        assert nobody.value.code is errors.LOOK_UNANSWERED
    async with _answering(bench, nats_server) as ask:
        for wrong in (_asked(limit=100_000), _asked(points=[POINT] * 51), _asked(place=-1)):
            with pytest.raises(PlatformError) as refused:
                await ask.entries(wrong)
            assert refused.value.code is errors.INTERNAL
        monkeypatch.setattr(asking, "encoded", lambda _: b"\xc1 what?")
        with pytest.raises(PlatformError) as unread:
            await ask.entries(_asked())
        assert unread.value.code is errors.EVENT_UNREADABLE


class Held:
    """Looks of one organisation hang; those of others are answered."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.left: list[str] = []
        self.begun = 0

    def look(self, asked: EntriesAsked, points: Sequence[KeptPoint], is_over: Callable[[], bool]) -> list[PointLooked]:
        if asked.organisation == "held":
            self.begun += 1
            self.over.wait(20)
        return [PointLooked(recovery_point_id=each) for each in asked.recovery_point_ids]

    def leave(self, organisation: str) -> None:
        self.left.append(organisation)

    def close_idle(self) -> None: ...


class AllThere:
    """Every point is known."""

    async def find(self, recovery_point_id: str, organisation: str) -> KeptPoint:
        return KeptPoint(
            recovery_point_id=recovery_point_id,
            organisation=organisation,
            configuration_id="c",
            snapshot_id="s",
            places=(),
        )


async def test_tier_that_hangs_costs_its_organisation_and_no_other() -> None:
    """Two looks of one are begun, the others wait and are refused; both are answered in time; others look meanwhile."""
    held = Held()
    worker = LookAnswers(connection=None, points=AllThere(), looks=held, seconds=0.4)  # type: ignore[arg-type]  # no bus

    async def ask(organisation: str) -> str:
        try:
            await worker.answer(encoded(_asked(organisation=organisation)))
        except PlatformError as error:
            return error.code.code
        return "answered"

    try:
        begun = time.monotonic()
        asked = [asyncio.create_task(ask("held")) for _ in range(5)]
        await asyncio.sleep(0)
        assert await ask("other") == "answered"
        told = sorted(await asyncio.gather(*asked))
        assert told == [errors.LOOK_UNANSWERED.code] * 2 + [errors.TOO_MANY_REQUESTS.code] * 3
        assert (held.begun, held.left) == (2, ["held"] * 2)
        assert await ask("held") == errors.TOO_MANY_REQUESTS.code
        assert await ask("other") == "answered"
        assert time.monotonic() - begun < 15
    finally:
        held.over.set()


async def test_questions_of_one_organisation_wait_in_bounds() -> None:
    """So many of one never fill the places in which all wait: what is beyond is refused at once."""
    held = Held()
    worker = LookAnswers(connection=None, points=AllThere(), looks=held, seconds=15.0)  # type: ignore[arg-type]  # no bus
    asked = [asyncio.create_task(worker.answer(encoded(_asked(organisation="held")))) for _ in range(20)]
    try:
        done, _ = await asyncio.wait(asked, timeout=2.0)
        assert len(done) == 20 - WAITING_OF_ONE - OF_ONE
        refused = [each.exception() for each in done]
        assert all(isinstance(each, PlatformError) and each.code is errors.TOO_MANY_REQUESTS for each in refused)
        assert await worker.answer(encoded(_asked(organisation="other")))
    finally:
        held.over.set()
        await asyncio.gather(*asked, return_exceptions=True)


def test_repository_that_was_opened_twice_is_closed_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A look that was left behind while it opened takes the place of what another opened since, and leaks nothing."""
    closed: list[int] = []

    class Opened:
        def __init__(self, number: int) -> None:
            self.number = number

        def close(self) -> None:
            closed.append(self.number)

    looks = RepositoryLooks(locations=None, keys_dir=tmp_path)  # type: ignore[arg-type]  # nothing is found by them
    numbers = iter((1, 2))

    def opened(organisation: str, _kept_at: object) -> _Kept:
        number = next(numbers)
        if number == 1:
            looks.leave(organisation)
            with looks._open(organisation, (), lambda: False):
                pass
        return _Kept(Opened(number), {}, None, fresh_at=time.monotonic())  # type: ignore[arg-type]

    monkeypatch.setattr(looks, "_basis", lambda *_: "basis")
    monkeypatch.setattr(looks, "_opened", opened)
    with looks._open("o", (), lambda: False):
        assert closed == [2]
    looks.close_idle(0)
    assert closed == [2, 1]
