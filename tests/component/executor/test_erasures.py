"""Erasures over real repositories: what is left of a planted subject, what stands against them, what a crash leaves."""

import shutil
from collections.abc import AsyncIterator, Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from psycopg import sql

from chassis.claims.progress import NatsProgress
from chassis.claims.table import ClaimTable
from chassis.clock import SystemClock
from chassis.life.health import Health, HealthServer, answer
from chassis.life.standstills import Standstills
from chassis.sealing import Sealer
from chassis.subject_keys import SubjectKey, domain_of, standing, subject_id_of
from chassis.telemetry.instruments import Telemetry
from chassis.timers.table import TimerTable
from contracts import errors
from contracts.config_events import RetentionPolicyCreated
from contracts.configuration import DATA_SUBJECT_FIELD, NAME_FIELD, Destination
from contracts.erasure_events import (
    DataSubjectErased,
    ErasureAppliedAgain,
    ErasureBlocked,
    ErasureRefused,
    PrivacyLaw,
)
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import HoldPlacementRequested
from contracts.holds import HoldScope
from contracts.recovery_events import RecoveryAccepted
from contracts.retention import LegalBasis, RetentionPolicyBody
from contracts.sample_values import HOLD_BODY
from contracts.samples import sample_event
from contracts.storage_requests import ErasureRequested
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.retention.receipt import verified
from repository.tiers.location import open_tier
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.erasing.ledger import ErasureLedger
from services.executor.adapters.erasing.plane import RepositoryErasure, RepositoryErasures
from services.executor.adapters.erasing.record import AGAIN, DEADLINE, ERASURES, ErasureFigures, RecordedErasures
from services.executor.erasing.performance import ErasurePerformance
from services.executor.erasing.ports import Destroyed
from tests.component.executor.test_runs import perform_next
from tests.support.alerts import firing
from tests.support.executor import CONFIGURATION, EVIDENCE, ORGANISATION, SILENCE_SECONDS, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.promql import Scrapes
from vault.key_files import name_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

BOTH: dict[str, Any] = {"local": Destination(location="local"), "cloud_primary": Destination(location="second")}
CALLED = "Ada Lovelace-Zuse <ada@planted.example>"
IN_A_FILE = "the vows of Ada Lovelace-Zuse, planted"
OTHERS = "what another couple has signed"


class Died(BaseException):
    """What is raised where a worker is killed: nothing of it is recorded."""


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    """A point of a subject and one of nobody's in particular, each on two tiers."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "others").mkdir()
        (bench.source / "others" / "contract.txt").write_text(OTHERS)
        await bench.configure(configuration_id="others", path="others", **BOTH)
        await bench.request("run-of-others", configuration_id="others")
        await perform_next(bench)
        (bench.source / CALLED).mkdir()
        (bench.source / CALLED / "vows.txt").write_text(IN_A_FILE)
        await bench.configure(**_of_subject(bench))
        await bench.request("run-1")
        await perform_next(bench)
        yield bench


def _subject(bench: ExecutorBench) -> str:
    return subject_id_of(bench.sealer, ORGANISATION, CALLED)


def _of_subject(bench: ExecutorBench, **more: Any) -> dict[str, Any]:
    return {"path": CALLED, "name": CALLED, "data_subject_id": _subject(bench), **BOTH, **more}


async def _retire(bench: ExecutorBench) -> None:
    await bench.configure(**_of_subject(bench, version=2, is_retired=True))


async def _ask(bench: ExecutorBench, erasure: str = "erasure-1", **said: Any) -> list[Event]:
    request = ErasureRequested(
        **{
            "request_id": f"request of {erasure}",
            "erasure_id": erasure,
            "data_subject": bench.sealer.seal(ORGANISATION, DATA_SUBJECT_FIELD, CALLED, subject=_subject(bench)),
            "data_subject_id": _subject(bench),
            "law": PrivacyLaw.GDPR,
            "received_at": SystemClock().now(),
            "evidence": EVIDENCE,
            **said,
        }
    )
    await bench.hear(request)
    return await bench.told(erasure)


def _plane(bench: ExecutorBench) -> RepositoryErasures:
    begun = BegunRepositories(bench.pool)
    return RepositoryErasures(locations=bench.locations, sealer=bench.sealer, keys_dir=bench.keys, begun=begun)


async def _perform(bench: ExecutorBench, *, plane: Any = None, erasures: Any = None) -> list[Event]:
    claims = ClaimTable(ERASURES, bench.pool, bench.beats, silence_seconds=SILENCE_SECONDS)
    claim = None
    while claim is None:  # A worker that died is taken for that after its silence.
        claim = await claims.take("w1")
    performance = ErasurePerformance(
        erasures=erasures or RecordedErasures(bench.store, bench.pool),
        claims=claims,
        plane=plane or _plane(bench),
        progress=NatsProgress(bench.connection, "executor", SystemClock()),
        standstills=Standstills(Health("worker"), noun="erasure"),
    )
    await performance.perform(claim, lambda: False)
    return await bench.told(claim.work_id)


async def _fire(bench: ExecutorBench, kind: str) -> None:
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE timers SET due_at = now(), held_until = NULL WHERE kind = %s", (kind,))
    timer = await TimerTable(bench.pool).take([kind])
    assert timer is not None
    record = RecordedErasures(bench.store, bench.pool)
    await (record.look_again if kind == AGAIN else record.come_near)(timer)


async def _dump(bench: ExecutorBench) -> bytes:
    """Every row of every table, with what is bytes as they are."""
    every = []
    async with bench.pool.connection() as connection:
        tables = await (
            await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        ).fetchall()
        for (table,) in tables:
            every_row = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
            rows = await (await connection.execute(every_row)).fetchall()
            every += [bytes(each) if isinstance(each, bytes) else str(each).encode() for row in rows for each in row]
    return b"\n".join(every)


def _stored(folder: Path) -> bytes:
    return b"\n".join(
        str(each).encode() + b"\n" + each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()
    )


def _opened(bench: ExecutorBench, *tiers: str) -> Repository:
    key = KeyFile.load(bench.keys / name_of(ORGANISATION))
    return Repository.open(
        [open_tier(f"file://{bench.tier(each)}", name=each) for each in tiers or ("local", "second")], key
    )


def _opens(bench: ExecutorBench, *tiers: str) -> bool:
    """Whether the organisation's key opens the subject's domain on these tiers."""
    with _opened(bench, *tiers) as repository:
        return any(keys.domain == domain_of(_subject(bench)) for keys in repository.keys.all())


def _names(events: list[Event]) -> list[str]:
    return [event.NAME.split(".")[1] for event in events]


def _end(events: list[Event]) -> DataSubjectErased:
    end = events[-1]
    assert isinstance(end, DataSubjectErased), _names(events)
    return end


async def test_nothing_of_an_erased_subject_is_left_in_any_stored_byte_nor_a_key_that_opens_it(
    bench: ExecutorBench,
) -> None:
    """Tables, tiers and keys are searched for what was planted and for the keys themselves; others stay readable."""
    sealing = (bench.keys / "organisations" / ORGANISATION / "subjects" / _subject(bench) / "1.key").read_bytes()
    sealed = bench.sealer.seal(ORGANISATION, NAME_FIELD, CALLED, subject=_subject(bench))
    assert _opens(bench, "local")
    assert _opens(bench, "second")
    await _retire(bench)
    await _ask(bench)
    events = await _perform(bench)

    end = _end(events)
    assert _names(events) == [
        "erasure-accepted",
        "erasure-preparing",
        "erasure-begun",
        "recovery-points-erased",
        "data-subject-erased",
    ]
    assert (end.is_complete, [(each.location, each.code, each.removed) for each in end.erased_places]) == (
        True,
        [("local", None, 1), ("second", None, 1)],
    )
    assert not _opens(bench, "local")
    assert not _opens(bench, "second")
    everything = await _dump(bench) + _stored(bench.home / "tiers") + _stored(bench.keys)
    for planted in (CALLED, "Lovelace", "planted.example", IN_A_FILE):
        assert planted.encode() not in everything, planted
    assert sealing not in everything
    assert OTHERS.encode() not in everything, "what is not erased is encrypted as well"
    with pytest.raises(PlatformError) as refused:
        bench.sealer.open(ORGANISATION, NAME_FIELD, sealed)
    assert refused.value.code is errors.SEALING_KEY_MISSING
    with _opened(bench) as repository:
        assert [each.brief.label for each in repository.snapshots()] == ["others"]
        assert end.receipt is not None
        receipt = verified(end.receipt.encode(), repository.keys.root.signer().public_key)
    assert (receipt.is_complete, receipt.domain) == (True, domain_of(_subject(bench)))
    async with bench.pool.connection() as connection:
        gone = await (
            await connection.execute("SELECT recovery_point_id FROM recovery_points WHERE gone_at IS NOT NULL")
        ).fetchall()
        assert gone == [("run-1",)]
        assert await (await connection.execute("SELECT kind FROM timers")).fetchall() == []


class _Dying:
    """A plane whose worker dies at a step."""

    def __init__(self, inner: RepositoryErasures, step: str) -> None:
        self._inner, self._step = inner, step

    def open(self, *words: Any) -> Any:
        opened = self._inner.open(*words)
        assert isinstance(opened, RepositoryErasure)
        if self._step == "look":
            opened.look = self._die  # type: ignore[method-assign]  # a worker that dies there
        if self._step == "destroy":
            whole: Callable[[str, Collection[str]], Destroyed] = opened.destroy

            def destroy(subject: str, key_ids: Collection[str]) -> Destroyed:
                whole(subject, key_ids)
                raise Died

            opened.destroy = destroy  # type: ignore[method-assign]  # as above
        return opened

    def forget(self, organisation: str, subject: str) -> None:
        if self._step == "before forget":
            raise Died
        self._inner.forget(organisation, subject)
        raise Died

    def _die(self, *_: Any) -> Any:
        raise Died


@pytest.mark.parametrize("step", ["look", "destroy", "before forget", "after forget"])
async def test_an_erasure_whose_worker_dies_is_gone_on_with_by_the_next_one(bench: ExecutorBench, step: str) -> None:
    """Wherever it dies: the domain whose keys are gone has no name any more, and is found by the ids of its keys."""
    await _retire(bench)
    await _ask(bench)
    with pytest.raises(Died):
        await _perform(bench, plane=_Dying(_plane(bench), step))
    end = _end(await _perform(bench))
    assert end.is_complete
    assert end.receipt is not None
    assert not _opens(bench)
    assert standing(bench.sealer, ORGANISATION, _subject(bench)) is SubjectKey.DESTROYED


async def test_what_stands_against_an_erasure_is_told_with_its_date_and_it_goes_on_when_that_is_over(
    bench: ExecutorBench,
) -> None:
    """A configuration in force, a hold, a recovery that reads, a legal obligation: nothing is destroyed by then."""
    policy = RetentionPolicyBody(
        name=bench.sealer.seal(ORGANISATION, "retention-policy.name", "Books"),
        keep_last=1,
        minimum_days=30,
        legal_basis=LegalBasis.LEGAL_OBLIGATION,
    )
    created = msgspec.structs.replace(
        sample_event(RetentionPolicyCreated), retention_policy_id="books", version=1, body=policy
    )
    await bench.hear(created)
    await bench.configure(**_of_subject(bench, version=2, retention_policy_id="books"))
    scope = HoldScope(configuration_ids=(CONFIGURATION,))
    hold = HoldPlacementRequested(
        request_id="r", hold_id="hold-1", body=msgspec.structs.replace(HOLD_BODY, scope=scope), evidence=EVIDENCE
    )
    await bench.hear(hold)
    reads = msgspec.structs.replace(sample_event(RecoveryAccepted), operation_id="op-1", recovery_point_id="run-1")
    await bench.hear(reads)

    blocked = (await _ask(bench))[-1]
    assert isinstance(blocked, ErasureBlocked)
    assert [(each.code, each.about) for each in blocked.obstacles] == [
        (errors.CONFIGURATION_IN_FORCE.code, CONFIGURATION),
        (errors.POINT_HELD.code, "hold-1"),
        (errors.RECOVERY_UNDER_WAY.code, "run-1"),
        (errors.RETENTION_OBLIGED.code, "books"),
    ]
    until = blocked.obstacles[-1].until
    assert until is not None
    assert timedelta(days=29) < until - SystemClock().now() <= timedelta(days=30)
    assert blocked.possible_at is None  # Some of it takes a person.
    await _fire(bench, AGAIN)
    assert (await bench.told("erasure-1"))[-1] == blocked, "what has not changed is not told again"

    await bench.configure(**_of_subject(bench, version=3, retention_policy_id="books", is_retired=True))
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE retention_holds SET is_released = true")
        await connection.execute("UPDATE point_readers SET is_over = true")
    await _fire(bench, AGAIN)
    blocked = (await bench.told("erasure-1"))[-1]
    assert isinstance(blocked, ErasureBlocked)
    assert ([each.code for each in blocked.obstacles], blocked.possible_at) == ([errors.RETENTION_OBLIGED.code], until)
    assert _opens(bench)

    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE recovery_points SET at = now() - interval '31 days'")
    await _fire(bench, AGAIN)
    assert _names(await bench.told("erasure-1"))[-1] == "erasure-resumed"
    assert _end(await _perform(bench)).is_complete


async def test_a_tier_that_is_away_is_told_and_the_erasure_goes_on_when_it_is_back(bench: ExecutorBench) -> None:
    """Nobody calls it complete before, and what came back with its keys does not keep them."""
    await _retire(bench)
    await _ask(bench)
    away = bench.home / "away"
    shutil.move(bench.tier("second"), away)
    end = _end(await _perform(bench))
    assert not end.is_complete
    assert {each.location: each.code is None for each in end.erased_places} == {"local": True, "second": False}
    shutil.move(away, bench.tier("second"))
    assert _opens(bench, "second")
    await _fire(bench, AGAIN)
    end = _end(await _perform(bench))
    assert end.is_complete
    assert not _opens(bench, "second")


async def test_a_second_erasure_of_a_subject_is_refused_and_anothers_subject_is_untouched(bench: ExecutorBench) -> None:
    """Two at once: one is taken on. In another organisation the same person is another subject."""
    await _retire(bench)
    await _ask(bench)
    (refused,) = await _ask(bench, "erasure-2")
    assert isinstance(refused, ErasureRefused)
    assert refused.code == errors.ERASURE_OPEN.code
    other = subject_id_of(bench.sealer, "org-b", CALLED)
    box = bench.sealer.seal("org-b", NAME_FIELD, CALLED, subject=other)
    assert other != _subject(bench)
    await _perform(bench)
    assert bench.sealer.open("org-b", NAME_FIELD, box) == CALLED


async def test_a_configuration_that_has_not_arrived_yet_is_waited_for(bench: ExecutorBench) -> None:
    """It is in force: an erasure that knew nothing of it would take away the key with which it is read."""
    with pytest.raises(PlatformError) as later:
        await _ask(bench, configuration_ids=(CONFIGURATION, "the newest"))
    assert later.value.code is errors.CONFIGURATION_NOT_SEEN_YET
    assert await bench.told("erasure-1") == []
    await bench.configure(**_of_subject(bench, configuration_id="the newest"))
    blocked = (await _ask(bench, configuration_ids=(CONFIGURATION, "the newest")))[-1]
    assert isinstance(blocked, ErasureBlocked)
    assert [each.about for each in blocked.obstacles] == [CONFIGURATION, "the newest"]


async def test_a_key_that_an_older_copy_of_the_folder_brings_back_is_destroyed_again(bench: ExecutorBench) -> None:
    """The ledger is applied as soon as a worker looks, and the record says so."""
    copy = bench.home / "older-copy"
    shutil.copytree(bench.keys, copy)
    await _retire(bench)
    await _ask(bench)
    await _perform(bench)
    shutil.rmtree(bench.keys)
    shutil.copytree(copy, bench.keys)
    assert standing(bench.sealer, ORGANISATION, _subject(bench)) is SubjectKey.THERE
    ledger = ErasureLedger(bench.store, bench.pool, Sealer(bench.keys))
    await ledger.apply()
    assert standing(bench.sealer, ORGANISATION, _subject(bench)) is SubjectKey.DESTROYED
    assert isinstance((await bench.told("erasure-1"))[-1], ErasureAppliedAgain)
    await ledger.apply()
    assert _names(await bench.told("erasure-1")).count("erasure-applied-again") == 1
    assert not _opens(bench)


async def test_its_time_is_told_before_it_is_over_and_when_it_is(bench: ExecutorBench) -> None:
    """A month by the GDPR; a subject who has asked long ago has had it."""
    events = await _ask(bench, received_at=SystemClock().now() - timedelta(days=26))
    assert _names(events)[-1] == "erasure-blocked"
    await _fire(bench, DEADLINE)
    assert _names(await bench.told("erasure-1"))[-1] == "erasure-deadline-near"
    async with bench.pool.connection() as connection:
        (due,) = await (
            await connection.execute("SELECT due_at - now() FROM timers WHERE kind = %s", (DEADLINE,))
        ).fetchone()
    assert timedelta(days=1) < due < timedelta(days=6)


async def test_an_erasure_that_is_due_within_a_week_is_alerted_on_until_it_is_complete(bench: ExecutorBench) -> None:
    telemetry, health, scrapes = Telemetry("executor"), Health("executor"), Scrapes()
    HealthServer(health, telemetry)
    telemetry.figures.add("erasures", ErasureFigures(bench.pool).read)

    async def scrape() -> None:
        _, _, body = await answer(health, telemetry, "/metrics")
        scrapes.add(SystemClock().now().timestamp(), {"executor": body.decode()})

    await _retire(bench)
    await scrape()
    assert not firing(scrapes, "WedsyncErasureDue")
    await _ask(bench)
    await scrape()
    assert not firing(scrapes, "WedsyncErasureDue")
    assert firing(scrapes, "WedsyncErasureDue", in_seconds=25 * 86_400)
    await _perform(bench)
    await scrape()
    assert not firing(scrapes, "WedsyncErasureDue", in_seconds=60 * 86_400)


async def test_a_subject_of_whom_nothing_was_saved_is_erased_from_the_record_alone(bench: ExecutorBench) -> None:
    """There is no domain, and no receipt of a repository; other tiers' keys are left alone."""
    await _ask(bench, data_subject_id=subject_id_of(bench.sealer, ORGANISATION, "nobody"))
    end = _end(await _perform(bench))
    assert (end.is_complete, end.receipt) == (True, None)
    assert _opens(bench)


async def test_a_run_of_the_subject_writes_in_their_domain_and_seals_its_report_under_their_key(
    bench: ExecutorBench,
) -> None:
    completed = (await bench.told("run-1"))[-1]
    assert isinstance(completed, BackupCompleted)
    with _opened(bench) as repository:
        domains = {each.brief.label: each.brief.domain for each in repository.snapshots()}
        identity = next(
            keys.identity_id.hex() for keys in repository.keys.all() if keys.domain == domain_of(_subject(bench))
        )
    assert domains[CONFIGURATION] == identity
    assert domains["others"] != identity
