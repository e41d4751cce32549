"""Places that organisations share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from chassis.postgres.circuit import answering
from contracts import errors
from contracts.errors import PlatformError
from gateway.reading.shares import Limits, Shares


@pytest.fixture
def shares() -> Shares:
    return Shares(Limits(each=3, in_all=6, kept=2))


@asynccontextmanager
async def _holding(shares: Shares, *organisations: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as held:
        for organisation in organisations:
            await held.enter_async_context(shares.of(organisation))
        yield


async def _refused(shares: Shares, organisation: str) -> PlatformError:
    with answering(0.0), pytest.raises(PlatformError) as refused:
        async with shares.of(organisation):
            pass
    return refused.value


async def test_one_organisation_has_its_share_and_no_more(shares: Shares) -> None:
    """What it lacks is its own doing, by the code."""
    async with _holding(shares, "a", "a", "a"):
        assert (await _refused(shares, "a")).code is errors.TOO_MANY_REQUESTS
        async with shares.of("b"):
            pass
    async with shares.of("a"):
        pass


async def test_places_are_kept_for_who_holds_none(shares: Shares) -> None:
    """Three that would take all leave two, which go to two others."""
    async with _holding(shares, "a", "a", "b", "c"):
        for organisation in ("a", "b", "c"):
            assert (await _refused(shares, organisation)).code is errors.TOO_MANY_REQUESTS
        async with _holding(shares, "d", "e"):
            late = await _refused(shares, "f")
            assert (late.code, late.context["retry_after_seconds"]) == (errors.UNAVAILABLE, 1)
        async with shares.of("f"):
            pass


async def test_who_holds_fewest_comes_before_who_has_waited_longer(shares: Shares) -> None:
    """A queue of one organisation is no queue for another."""
    order: list[str] = []

    async def take(organisation: str) -> None:
        async with shares.of(organisation):
            order.append(organisation)

    async with AsyncExitStack() as held:
        for organisation in ("a", "b", "c", "d", "e"):
            await held.enter_async_context(shares.of(organisation))
        last = await held.enter_async_context(AsyncExitStack())
        await last.enter_async_context(shares.of("g"))
        waiting = [asyncio.create_task(take(organisation)) for organisation in ("a", "a", "b", "h")]
        await asyncio.sleep(0)
        await last.aclose()
        await waiting[-1]
        assert order == ["h"]
    await asyncio.gather(*waiting)
    assert sorted(order) == ["a", "a", "b", "h"]


async def test_who_stops_waiting_takes_no_place(shares: Shares) -> None:
    """A client that is gone leaves nothing taken, also when its turn came at this moment."""
    async with _holding(shares, "a", "a", "a"):
        gone = [asyncio.create_task(shares.of("a").__aenter__()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
    async with _holding(shares, "a", "a", "a"):
        pass
