"""Waiting patiently for a part of the platform that is away."""

import pytest

from chassis.life.blocking import RunInterrupted
from chassis.life.patience import patiently
from contracts import errors
from contracts.errors import ErrorCode, PlatformError


class _Away:
    """A call that fails so many times."""

    def __init__(self, times: int, code: ErrorCode = errors.UNAVAILABLE) -> None:
        self.left = times
        self.calls = 0
        self._code = code

    async def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise PlatformError(self._code, "away")
        return "done"


async def test_call_is_made_again_until_the_part_is_back() -> None:
    """Its result is that of the call that went well."""
    call = _Away(3)
    assert await patiently(call, pause_seconds=0.0) == "done"
    assert call.calls == 4


async def test_patience_has_an_end() -> None:
    """Then it is said that the part is away."""
    with pytest.raises(PlatformError) as raised:
        await patiently(_Away(10**9), seconds=0.0, pause_seconds=0.0)
    assert raised.value.code is errors.UNAVAILABLE


async def test_whatever_else_is_raised_is_raised_at_once() -> None:
    """Only absence passes by itself."""
    call = _Away(1, errors.CONCURRENT_CHANGE)
    with pytest.raises(PlatformError):
        await patiently(call, pause_seconds=0.0)
    assert call.calls == 1


async def test_cancelled_waiting_ends() -> None:
    """Who has lost its claim waits for nothing."""
    call = _Away(10**9)
    with pytest.raises(RunInterrupted):
        await patiently(call, lambda: call.calls == 2, pause_seconds=0.0)
