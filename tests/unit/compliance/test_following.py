"""What keeps the audit log from being followed: whose trouble it is, and when it is told."""

from types import SimpleNamespace
from typing import Any

import pytest

from chassis.life.health import READY, Health
from chassis.life.tasks import GRACE_SECONDS
from chassis.reading.stored import START, Place
from chassis.reading.stream_reader import Found
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from services.compliance.adapters import following
from services.compliance.adapters.following import AuditLogFollower


class _Log:
    """Nothing was taken in yet, or Postgres is away."""

    def __init__(self) -> None:
        self.failure: PlatformError | None = None

    async def standing(self, _service: str) -> tuple[Place, str]:
        if self.failure is not None:
            raise self.failure
        return START, ""


class _Reader:
    """A stream that is empty, or silent."""

    stream = "BACKUP_CONFIG"

    def __init__(self) -> None:
        self.is_silent = False

    async def after(self, _place: Place, _limit: int, *, log: str = "") -> Found:
        if self.is_silent:
            raise PlatformError(errors.UNAVAILABLE, "the stream does not answer", stream=self.stream)
        return Found((), (), START)


def _follower(log: _Log, health: Health) -> AuditLogFollower:
    of_log: Any = log
    return AuditLogFollower(of_log, nats=lambda: None, telemetry=Telemetry("compliance"), health=health)  # type: ignore[arg-type,return-value]  # it is not asked


async def _status(health: Health) -> tuple[str, list[str | None]]:
    report = await health.report()
    return report.status, [each.reason for each in report.checks if each.status != READY]


async def test_stream_that_stays_silent_is_told_however_often_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blip is not; each look finds it silent anew, and it has been so since the first."""
    now = [1000.0]
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: now[0]))
    health, reader = Health("compliance"), _Reader()
    follower, readers = _follower(_Log(), health), {"config": reader}
    reader.is_silent = True
    for _ in range(3):
        await follower._round(readers)  # type: ignore[arg-type]  # what is asked of them
        assert (await _status(health))[0] == READY
        now[0] += GRACE_SECONDS / 3
    now[0] += 0.1
    await follower._round(readers)  # type: ignore[arg-type]  # as above
    status, reasons = await _status(health)
    assert status != READY
    assert "the stream does not answer" in str(reasons)
    reader.is_silent = False
    await follower._round(readers)  # type: ignore[arg-type]  # as above
    assert (await _status(health))[0] == READY


async def test_postgres_that_is_away_is_the_loop_s_trouble_and_no_stream_s() -> None:
    """Else the round would end as if something had been achieved, after each stream had waited for it in turn."""
    health, log = Health("compliance"), _Log()
    follower, readers = _follower(log, health), {"config": _Reader(), "gateway": _Reader()}
    log.failure = PlatformError(errors.UNAVAILABLE, "postgres does not answer", part="postgres")
    with pytest.raises(PlatformError, match="postgres does not answer"):
        await follower._round(readers)  # type: ignore[arg-type]  # what is asked of them
    assert not follower._troubles
    log.failure = PlatformError(errors.KEYS_UNUSABLE, "the signing key is gone")
    await follower._round(readers)  # type: ignore[arg-type]  # as above
    assert set(follower._troubles) == {"config", "gateway"}
