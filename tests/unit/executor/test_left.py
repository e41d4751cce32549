"""What was left behind in a call begins, deletes, commits and restores nothing more when its disk answers after all."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from chassis.claims.port import Claim
from chassis.clock import SystemClock
from chassis.life.blocking import RunInterrupted
from chassis.life.health import Health
from chassis.life.signs import Signs
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.errors import PlatformError
from services.executor.performance import RunPerformance
from services.executor.retention.performance import CleanupPerformance
from services.recovery.performance import RecoveryPerformance
from vault import repositories

Asked = list[Callable[[], bool]]
CLAIM = Claim(work_id="work", organisation="acme", correlation_id="c", worker="w1", fence=1)
COMMON: dict[str, Any] = {
    "claims": SimpleNamespace(is_sure=lambda _claim: True),
    "progress": None,
    "standstills": Standstills(Health("worker")),
}


class _Silent:
    """A plane and what it opened: its calls note how they would ask whether they are still wanted, and then end."""

    def __init__(self) -> None:
        self.asked: Asked = []
        self.said: list[bool] = []

    def open(self, _claim: Claim, _signs: Signs, is_cancelled: Callable[[], bool]) -> NoReturn:
        self._end(is_cancelled)

    def copy(self, *, is_cancelled: Callable[[], bool], **_more: object) -> NoReturn:
        self._end(is_cancelled)

    def restore(self, *, is_cancelled: Callable[[], bool], **_more: object) -> NoReturn:
        self._end(is_cancelled)

    def _end(self, is_cancelled: Callable[[], bool]) -> NoReturn:
        self.asked.append(is_cancelled)
        self.said.append(is_cancelled())
        raise PlatformError(errors.TIER_UNREACHABLE, "no answer")


async def _cleanup(silent: Any) -> None:
    performance = CleanupPerformance(cleanups=None, knowing=None, plane=silent, clock=SystemClock(), **COMMON)  # type: ignore[arg-type]  # not asked
    await performance._open(performance.attempt(SimpleNamespace(id="work"), CLAIM, lambda: False))  # type: ignore[arg-type]  # its id is enough


async def _run(silent: Any) -> None:
    performance = RunPerformance(runs=None, configurations=None, data_plane=None, reports=None, **COMMON)  # type: ignore[arg-type]  # not asked
    await performance._copy(silent, performance.attempt(SimpleNamespace(id="work"), CLAIM, lambda: False))  # type: ignore[arg-type]  # as above


async def _recovery(silent: Any) -> None:
    performance = RecoveryPerformance(operations=None, data_plane=None, **COMMON)  # type: ignore[arg-type]  # not asked
    await performance._restore(performance.attempt(SimpleNamespace(id="work"), CLAIM, lambda: False), silent)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("perform", [_cleanup, _run, _recovery], ids=["cleanup", "run", "recovery"])
async def test_call_that_was_left_is_told_that_it_is_wanted_no_more(perform: Callable[[Any], Any]) -> None:
    """Nobody cancelled the work itself: only that the call was left says so."""
    silent = _Silent()
    with pytest.raises(PlatformError):
        await perform(silent)
    assert silent.said == [False]
    assert [is_cancelled() for is_cancelled in silent.asked] == [True]


def test_call_that_was_left_begins_no_repository() -> None:
    """Another run may have begun it meanwhile."""
    signs = Signs()
    repositories._check_wanted(signs)
    signs.is_left = True
    with pytest.raises(RunInterrupted):
        repositories._check_wanted(signs)
