"""Holds against cleanups, and the second person whom their release takes."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from chassis.record.eventstore import StatementRefused
from chassis.timers.table import TimerTable
from contracts import errors
from contracts.approval_events import ApprovalExpired
from contracts.cleanup_events import RetentionCleanedUp, RetentionCleanupFailed
from contracts.configuration import Destination
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    ApprovalDenialRequested,
    ApprovalGrantRequested,
    Evidence,
    HoldPlacementRequested,
    HoldReleaseRequested,
)
from contracts.hold_events import HoldPlaced, HoldPlacementRefused, HoldReleaseRefused
from contracts.holds import HoldBody, HoldScope
from contracts.sample_values import HOLD_BODY
from repository.errors import SnapshotHeld
from repository.retention.orders import forget
from services.executor.adapters.cleanups import RecordedCleanups
from services.executor.adapters.holds import APPROVAL, TIER_HOLDS, RecordedApprovals
from services.executor.adapters.points import KnownToTheRecord
from services.executor.errors import ConfigurationNotSeenYet
from tests.component.executor import test_cleanups as cleaning
from tests.support.executor import CONFIGURATION, ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

PROVEN = Evidence(assurance="aal2", second_factor=True, roles=("owner",))
UNPROVEN = Evidence(assurance="aal1", roles=("owner",))
bench = cleaning.bench


async def _place(bench: ExecutorBench, hold: str, *, deliveries: int = 1, **scope: Any) -> Event:
    body: HoldBody = msgspec.structs.replace(HOLD_BODY, scope=HoldScope(**scope))
    request = HoldPlacementRequested(request_id=f"request of {hold}", hold_id=hold, body=body, evidence=PROVEN)
    await bench.hear(request, deliveries=deliveries)
    return (await bench.told(hold))[-1]


async def _ask(bench: ExecutorBench, hold: str, request: str, *, evidence: Evidence = PROVEN, **how: Any) -> None:
    await bench.hear(HoldReleaseRequested(request_id=request, hold_id=hold, evidence=evidence), **how)


async def _answer(bench: ExecutorBench, request: Event, **how: Any) -> str:
    """What a request to an approval is answered with: the code of a refusal, or the name of the fact."""
    assert isinstance(request, ApprovalGrantRequested | ApprovalDenialRequested)
    await bench.hear(request, **{"actor": "user:second", **how})
    for identity in (request.approval_id, request.request_id):  # Of what is not there the refusal is kept by itself.
        for told in await bench.told(identity):
            if getattr(told, "request_id", "") == request.request_id:
                return str(getattr(told, "code", told.NAME.split(".")[1]))
    raise AssertionError("it was not answered")


async def _grant(bench: ExecutorBench, approval: str, evidence: Evidence = PROVEN, **how: Any) -> str:
    request = ApprovalGrantRequested(request_id=new_id(), approval_id=approval, evidence=evidence)
    return await _answer(bench, request, **how)


async def _deny(bench: ExecutorBench, approval: str, **how: Any) -> str:
    request = ApprovalDenialRequested(request_id=new_id(), approval_id=approval, evidence=UNPROVEN)
    return await _answer(bench, request, **how)


async def _refused(bench: ExecutorBench, hold: str) -> str:
    told = (await bench.told(hold))[-1]
    assert isinstance(told, HoldPlacementRefused | HoldReleaseRefused)
    return told.code


async def test_hold_beats_the_policy_until_a_second_person_releases_it_once(bench: ExecutorBench) -> None:
    """What it keeps stays; who asked, who has no factor, another organisation and an old approval release nothing."""
    placed = await _place(bench, "hold", recovery_point_ids=("run-1",))
    assert isinstance(placed, HoldPlaced)
    assert (placed.kept, placed.too_late) == (1, 0)
    done = await cleaning._clean(bench, "first")
    assert (done.gone, done.kept, await cleaning._gone(bench)) == (1, 2, ["run-2"])
    await _place(bench, "late", recovery_point_ids=("run-1", "run-2"))
    assert await _refused(bench, "late") == errors.RECOVERY_POINT_GONE.code

    await _ask(bench, "hold", "r-1", evidence=UNPROVEN)
    assert await _refused(bench, "hold") == errors.SECOND_FACTOR_NEEDED.code
    await _ask(bench, "hold", "r-2", actor="user:first")
    await _ask(bench, "hold", "r-3")
    assert await _refused(bench, "hold") == errors.HOLD_RELEASE_OPEN.code
    assert await _grant(bench, "r-2", actor="user:first") == errors.SECOND_PERSON_NEEDED.code
    assert await _grant(bench, "r-2", actor="") == errors.SECOND_PERSON_NEEDED.code
    assert await _grant(bench, "r-2", UNPROVEN) == errors.SECOND_FACTOR_NEEDED.code
    assert await _grant(bench, "r-2", organisation="org-b") == errors.APPROVAL_UNKNOWN.code
    assert await _grant(bench, "r-3") == errors.APPROVAL_UNKNOWN.code
    assert await _deny(bench, "r-2", organisation="org-b") == errors.APPROVAL_UNKNOWN.code
    assert (await cleaning._clean(bench, "held")).gone == 0

    assert await _deny(bench, "r-2", actor="user:first") == "approval-denied"  # Taken back.
    assert await _grant(bench, "r-2") == errors.APPROVAL_OVER.code
    await _ask(bench, "hold", "r-4", actor="user:first")
    assert await _grant(bench, "r-4") == "approval-granted"
    assert await _grant(bench, "r-4") == errors.APPROVAL_OVER.code
    assert await _deny(bench, "r-4") == errors.APPROVAL_OVER.code
    assert (await bench.names("hold"))[-1] == "hold-released"
    await _ask(bench, "hold", "r-5")
    assert await _refused(bench, "hold") == errors.HOLD_RELEASED.code
    done = await cleaning._clean(bench, "last")
    assert (done.gone, await cleaning._gone(bench)) == (1, ["run-1", "run-2"])
    async with bench.pool.connection() as connection:
        assert await (await connection.execute("SELECT * FROM timers WHERE kind = %s", (APPROVAL,))).fetchall() == []


async def _follow(bench: ExecutorBench) -> RetentionCleanedUp:
    """What becomes of the timer that has the tiers follow."""
    timer = await TimerTable(bench.pool).take([TIER_HOLDS])
    assert timer is not None
    await RecordedCleanups(bench.store).bring_holds(timer)
    async with bench.pool.connection() as connection:
        found = await connection.execute("SELECT id FROM cleanup_claims WHERE state <> 'done'")
        ((cleanup,),) = await found.fetchall()
    await cleaning._perform(bench)
    ended = (await bench.told(cleanup))[-1]
    assert isinstance(ended, RetentionCleanedUp)
    return ended


async def _is_due(bench: ExecutorBench) -> tuple[bool, ...]:
    """Of each timer that has tiers follow whether it is due."""
    async with bench.pool.connection() as connection:
        found = await connection.execute("SELECT due_at <= now() FROM timers WHERE kind = %s", (TIER_HOLDS,))
        return tuple(each for (each,) in await found.fetchall())


async def test_tiers_follow_a_hold_and_its_release_and_one_that_is_away_is_told(bench: ExecutorBench) -> None:
    """Their logs refuse to forget it; a new point follows in a while, a tier that is away later; nothing is let go."""
    assert await _is_due(bench) == ()  # Of an organisation without holds nobody looks after a run.
    await _place(bench, "hold", configuration_ids=(CONFIGURATION,))
    await cleaning._ask(bench, "before")
    timer = await TimerTable(bench.pool).take([TIER_HOLDS])
    assert timer is not None
    await RecordedCleanups(bench.store).bring_holds(timer)  # Beside another cleanup it waits for its end.
    assert await _is_due(bench) == (False,)
    await cleaning._perform(bench)
    async with bench.pool.connection() as connection:
        await connection.execute("UPDATE timers SET due_at = now(), held_until = NULL")
    shutil.move(bench.tier("second"), bench.home / "away")
    told = await _follow(bench)
    assert (told.degraded, told.gone, told.places) == (True, 0, ())
    assert [(each.location, each.points, each.on_objects, each.code) for each in told.held] == [
        ("local", 3, None, None),
        ("second", 0, None, errors.TIER_VANISHED.code),
    ]
    assert await _is_due(bench) == (False,)  # In an hour it is tried again.
    shutil.move(bench.home / "away", bench.tier("second"))
    await cleaning._back_up(bench, "run-4")
    assert await _is_due(bench) == (False,)
    async with bench.pool.connection() as connection:
        ((soon,),) = await (
            await connection.execute("SELECT due_at < now() + interval '11 minutes' FROM timers")
        ).fetchall()
        assert soon
        await connection.execute("UPDATE timers SET due_at = now()")
    told = await _follow(bench)
    assert (told.degraded, [each.points for each in told.held]) == (False, [4, 4])
    assert await _is_due(bench) == ()
    with cleaning._opened(bench, "second") as repository, pytest.raises(SnapshotHeld):
        forget(repository, [each.id for each in repository.snapshots(CONFIGURATION)][:1])

    await _ask(bench, "hold", "r-1", actor="user:first")
    assert await _grant(bench, "r-1") == "approval-granted"
    # Until the tiers have followed nothing of it goes.
    assert (await cleaning._clean(bench, "between")).gone == 0
    told = await _follow(bench)
    assert (told.degraded, [each.points for each in told.held]) == (False, [0, 0])
    assert (await cleaning._clean(bench, "after")).gone == 3


async def test_hold_that_comes_between_a_look_and_its_decision_is_looked_at(bench: ExecutorBench) -> None:
    """Whoever was told that it is placed finds its points there, whichever step the cleanup was at."""
    await cleaning._ask(bench, "racing")
    holding = _Holding(bench)
    with pytest.raises(PlatformError) as raised:
        await cleaning._perform(bench, plane=holding)
    assert raised.value.code is errors.CONCURRENT_CHANGE
    await cleaning._perform(bench, worker="w2")
    done = (await bench.told("racing"))[-1]
    assert isinstance(done, RetentionCleanedUp)
    assert (done.gone, done.kept, await cleaning._gone(bench)) == (1, 2, ["run-2"])


async def test_hold_that_comes_after_the_decision_says_what_it_may_be_too_late_for(bench: ExecutorBench) -> None:
    """The worker died over them: the next one judges them again, and keeps them."""
    await cleaning._ask(bench, "killed")
    plane: Any = cleaning._Dying(cleaning._plane(bench), "before forgetting")
    with pytest.raises(cleaning.Died):
        await cleaning._perform(bench, plane=plane)
    placed = await _place(bench, "hold", configuration_ids=(CONFIGURATION,))
    assert isinstance(placed, HoldPlaced)
    assert (placed.kept, placed.too_late, sorted(placed.too_late_points)) == (3, 2, ["run-1", "run-2"])
    await cleaning._perform(bench, worker="w2")
    done = (await bench.told("killed"))[-1]
    assert isinstance(done, RetentionCleanedUp)
    assert (done.gone, done.kept, cleaning._snapshots(bench, "local")) == (0, 3, 3)
    placed = await _place(bench, "later", configuration_ids=(CONFIGURATION,))  # That cleanup has ended.
    assert isinstance(placed, HoldPlaced)
    assert placed.too_late == 0


async def test_hold_after_a_cleanup_that_failed_says_what_it_may_be_too_late_for(bench: ExecutorBench) -> None:
    """A tier may have forgotten it before the failure: that it is there is said by a cleanup that saw every tier."""
    await cleaning._ask(bench, "failing")
    jumped = PlatformError(errors.RETENTION_CLOCK_IN_DOUBT, "a clock jumped")
    plane: Any = cleaning._Dying(cleaning._plane(bench), "after forgetting", jumped)
    await cleaning._perform(bench, plane=plane)
    assert isinstance((await bench.told("failing"))[-1], RetentionCleanupFailed)
    placed = await _place(bench, "hold", configuration_ids=(CONFIGURATION,))
    assert isinstance(placed, HoldPlaced)
    assert (placed.too_late, sorted(placed.too_late_points)) == (2, ["run-1", "run-2"])


class _Holding:
    """A plane over which a hold is placed right after the first look at what there is."""

    def __init__(self, bench: ExecutorBench) -> None:
        self._bench = bench
        self._plane = cleaning._plane(bench)
        self._loop = asyncio.get_running_loop()

    def open(self, *arguments: Any) -> Any:
        """Open the real one."""
        opened: Any = self._plane.open(*arguments)
        real = opened.assess

        def assess(*given: Any) -> Any:
            found = real(*given)
            placing = _place(self._bench, "hold", recovery_point_ids=("run-1",))
            asyncio.run_coroutine_threadsafe(placing, self._loop).result()
            return found

        opened.assess = assess
        return opened


async def test_hold_by_tag_time_and_what_is_not_there_and_an_approval_whose_time_is_over(
    tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer
) -> None:
    """A tag that is taken away takes nothing out of a hold; what is not there is waited for, then refused."""
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        local = Destination(location="local")
        await bench.configure(tags=("disputed",), local=local)
        await bench.configure(configuration_id="other", local=local)
        now = SystemClock().now()
        async with bench.pool.connection() as connection:
            insert = "INSERT INTO recovery_points VALUES (%s, %s, %s, 's', %s, true)"
            for days, (point, of) in enumerate((("p-1", CONFIGURATION), ("p-2", CONFIGURATION), ("o-1", "other"))):
                await connection.execute(insert, (point, ORGANISATION, of, now - timedelta(days=days)))
            await connection.execute(insert, ("f-1", "org-b", CONFIGURATION, now))

        async def held() -> dict[str, tuple[str, ...]]:
            known = await KnownToTheRecord(bench.pool, bench.store).of(ORGANISATION, ())
            return {each.id: each.holds for each in known.points}

        placed = await _place(bench, "tagged", tags=("disputed",), made_before=now - timedelta(hours=1))
        assert isinstance(placed, HoldPlaced)
        assert (placed.kept, placed.tagged) == (1, (CONFIGURATION,))
        await bench.configure(version=2, local=local)
        assert await held() == {"p-1": (), "p-2": ("tagged",), "o-1": ()}
        await bench.configure(configuration_id="other", version=2, tags=("disputed",), local=local)
        assert (await held())["o-1"] == ("tagged",)

        for scope, code in (
            ({}, errors.HOLD_OF_EVERYTHING),
            ({"configuration_ids": (CONFIGURATION, "none")}, errors.CONFIGURATION_UNKNOWN),
            ({"recovery_point_ids": ("f-1",)}, errors.RECOVERY_POINT_UNKNOWN),
        ):
            if scope:
                with pytest.raises(ConfigurationNotSeenYet):
                    await _place(bench, "wrong", **scope)
            hold = new_id()
            await _place(bench, hold, deliveries=12, **scope)
            assert await _refused(bench, hold) == code.code
        assert (await held())["p-1"] == ()

        await _ask(bench, "tagged", "r-1", organisation="org-b")
        (refused,) = await bench.told("r-1")
        assert isinstance(refused, HoldReleaseRefused)
        assert refused.code == errors.HOLD_UNKNOWN.code

        await _ask(bench, "tagged", "r-2", actor="user:first")
        async with bench.pool.connection() as connection:
            await connection.execute("UPDATE timers SET due_at = now() WHERE kind = %s", (APPROVAL,))
        timer = await TimerTable(bench.pool).take([APPROVAL])
        assert timer is not None
        await RecordedApprovals(bench.store).expire(timer)
        assert isinstance((await bench.told("r-2"))[-1], ApprovalExpired)
        assert await _grant(bench, "r-2") == errors.APPROVAL_OVER.code
        with pytest.raises(StatementRefused):  # Another replica that held it for dead does it no second time.
            await RecordedApprovals(bench.store).expire(timer)
        assert (await held())["p-2"] == ("tagged",)
