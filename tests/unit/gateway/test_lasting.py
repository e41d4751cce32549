"""Loops of the gateway: no error ends one, and none is kept a secret."""

import asyncio
from collections.abc import Callable

import pytest

from chassis.runtime import Background
from contracts.errors import UNAVAILABLE, PlatformError
from gateway import lasting as module
from gateway.lasting import lasting
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)


async def _told(part: Background, words: str) -> bool:
    found = await part.check()
    return isinstance(found, PlatformError) and words in found.message


def _failing(times: int, error: Exception | None) -> tuple[Callable[[], object], list[int]]:
    calls: list[int] = []

    async def run() -> None:
        calls.append(len(calls))
        if len(calls) > times:
            await asyncio.Event().wait()
        if error is not None:
            raise error

    return run, calls


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("secret"), "loop failed: KeyError"),
        (PlatformError(UNAVAILABLE, "the server is away"), "the server is away"),
        (None, "ended by itself"),
    ],
)
async def test_loop_that_fails_is_told_of_and_begins_again(error: Exception | None, words: str) -> None:
    """It is not ready while it fails, without the error's values, and well again by itself."""
    run, calls = _failing(2, error)
    part = lasting("loop", run)  # type: ignore[arg-type]
    await part.start()
    try:
        await eventually(lambda: _told(part, words))
        await eventually(lambda: len(calls) == 3)

        async def is_well() -> bool:
            return await part.check() is None

        await eventually(is_well)
        assert not await _told(part, "secret")
    finally:
        await part.stop()


async def test_own_check_is_asked_while_the_loop_works() -> None:
    """What the loop itself has to say is said."""
    run, _ = _failing(0, None)

    async def check() -> str:
        return "its own reason"

    part = lasting("loop", run, check=check)  # type: ignore[arg-type]
    await part.start()
    try:
        assert await part.check() == "its own reason"
    finally:
        await part.stop()
