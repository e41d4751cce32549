"""One budget of memory for many: nobody gets less than it was promised, and all of them never more than there is."""

import threading
import time

import pytest

from repository.backup.workshop import Workshop, least_of_group
from repository.errors import LimitExceeded
from repository.stored.memory_budget import MemoryBudget, MemoryShare
from tests.support.eventually import eventually
from tests.support.repositories import SeededRandomness

UNIT = 4096


def _in_thread(call: object) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_least_is_there_whatever_the_others_hold() -> None:
    """A share that was admitted gets its least at once; one whose least is not free is not admitted."""
    budget = MemoryBudget(10 * UNIT, headroom=2 * UNIT)
    greedy, modest = MemoryShare(budget, UNIT), MemoryShare(budget, 2 * UNIT)
    assert budget.try_admit([greedy])
    pool = greedy.pool(UNIT)
    lent = [pool.acquire() for _ in range(8)]
    thread = _in_thread(lambda: lent.append(pool.acquire()))
    assert budget.try_admit([modest])
    for _ in range(2):
        modest.pool(UNIT).acquire()
    assert not budget.try_admit([MemoryShare(budget, UNIT)])
    with pytest.raises(LimitExceeded, match="too small"):
        budget.try_admit([MemoryShare(budget, 6 * UNIT), MemoryShare(budget, 5 * UNIT)])
    assert len(lent) == 8
    for _ in range(3):
        pool.release(lent.pop())
    thread.join(10)
    assert not thread.is_alive()


def test_buffer_that_never_comes_is_refused_before_anybody_waits_for_it() -> None:
    """One that is longer than the least, and than all that is lent beyond it, is named with what would do."""
    budget = MemoryBudget(10 * UNIT, headroom=2 * UNIT)
    share = MemoryShare(budget, 9 * UNIT)
    assert budget.try_admit([share])
    share.pool(9 * UNIT).acquire()
    with pytest.raises(LimitExceeded, match="too small") as raised:
        share.pool(9 * UNIT + 1)
    assert raised.value.context["needed"] == 11 * UNIT + 1
    assert "1 MiB" in raised.value.hint
    modest = MemoryShare(MemoryBudget(10 * UNIT, headroom=2 * UNIT), UNIT)
    modest.pool(8 * UNIT)
    with pytest.raises(LimitExceeded):
        modest.pool(8 * UNIT + 1)


@pytest.mark.parametrize("budget", [0, 20 << 20, least_of_group()])
def test_workshop_of_one_that_holds_no_pack_is_refused(budget: int) -> None:
    """However it was made: a share of less than the packs it needs would be admitted, and wait for ever."""
    workshop = Workshop(budget, workers=1, is_alone=True)
    with pytest.raises(LimitExceeded, match="too small"):
        workshop.least_of_group(1 << 20)
    assert Workshop(least_of_group() + (2 << 20), workers=1, is_alone=True).least_of_group(1 << 20) == least_of_group()


async def test_who_holds_least_comes_first() -> None:
    """What comes free goes to the share that has less, however long the other has waited."""
    budget = MemoryBudget(4 * UNIT)
    rich, poor = MemoryShare(budget, 0), MemoryShare(budget, 0)
    assert budget.try_admit([rich, poor])
    rich_pool, poor_pool = rich.pool(UNIT), poor.pool(UNIT)
    lent = [rich_pool.acquire() for _ in range(3)]
    poor_pool.acquire()
    order: list[str] = []
    threads = [_in_thread(lambda: (rich_pool.acquire(), order.append("rich")))]
    await eventually(lambda: len(budget._waiting) == 1)
    threads.append(_in_thread(lambda: (poor_pool.acquire(), order.append("poor"))))
    await eventually(lambda: len(budget._waiting) == 2)
    rich_pool.release(lent.pop())
    threads[1].join(10)
    assert order == ["poor"]
    rich_pool.release(lent.pop())
    threads[0].join(10)
    assert order == ["poor", "rich"]


async def test_waiting_is_told_and_ends_with_the_share() -> None:
    """Whoever waits hears of it, and a share that fails leaves nobody waiting."""
    budget = MemoryBudget(UNIT)
    share = MemoryShare(budget, 0)
    assert budget.try_admit([share])
    heard: list[float] = []
    pool = share.pool(UNIT, heard.append)
    buffer = pool.acquire()
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            pool.acquire()
        except ValueError as error:
            caught.append(error)

    thread = _in_thread(wait)
    await eventually(lambda: bool(heard))
    share.fail(ValueError("over"))
    thread.join(10)
    assert [str(error) for error in caught] == ["over"]
    share.close()
    assert budget.bytes_lent == UNIT  # a tier still reads it
    pool.release(buffer)
    assert budget.bytes_lent == 0
    assert budget.try_admit([MemoryShare(budget, UNIT)])


def test_who_waits_is_passed_by_nobody_who_needs_less() -> None:
    """Not even where the other's least is free; who gives up waiting keeps nobody from coming."""
    budget = MemoryBudget(10 * UNIT)
    first = MemoryShare(budget, 6 * UNIT)
    assert budget.try_admit([first])
    big, small = MemoryShare(budget, 5 * UNIT), MemoryShare(budget, UNIT)
    with budget.arrival() as earlier, budget.arrival() as later:
        assert not budget.try_admit([big], earlier)
        assert not budget.try_admit([small], later)
        assert not budget.try_admit([small])
        first.close()
        assert not budget.try_admit([small], later)
        assert budget.try_admit([big], earlier)
        assert budget.try_admit([small], later)
    with budget.arrival() as earlier:
        assert not budget.try_admit([MemoryShare(budget, 9 * UNIT)], earlier)
    assert budget.try_admit([MemoryShare(budget, UNIT)])


def test_what_is_lent_keeps_nobody_waiting_who_needs_more_than_the_headroom() -> None:
    """While the first in line lacks only that, it is not lent again; else it is, and nobody is slower for nothing."""
    budget = MemoryBudget(10 * UNIT, headroom=2 * UNIT)
    busy = MemoryShare(budget, UNIT)
    assert budget.try_admit([busy])
    pool = busy.pool(UNIT)
    lent = [pool.acquire() for _ in range(8)]
    comer = MemoryShare(budget, 4 * UNIT)
    with budget.arrival() as arrival:
        assert not budget.try_admit([comer], arrival)
        for _ in range(2):
            pool.release(lent.pop())
            assert not budget._may_have(busy, UNIT)
        assert budget.try_admit([comer], arrival)
    with budget.arrival() as arrival:
        assert not budget.try_admit([MemoryShare(budget, 6 * UNIT)], arrival)
        for _ in range(3):
            pool.release(lent.pop())
        assert budget._may_have(busy, UNIT), "it waits for an end, whatever is lent"


@pytest.mark.parametrize("seed", range(5))
def test_all_get_on_and_never_have_more_than_there_is(seed: int) -> None:
    """Shares with many threads each, of two lengths, come and go: no deadlock, no byte too many."""
    budget = MemoryBudget(24 * UNIT, headroom=3 * UNIT)
    errors: list[str] = []

    def use(number: int) -> None:
        choice = SeededRandomness(100 * seed + number)
        share = MemoryShare(budget, 3 * UNIT)
        with budget.arrival() as arrival:
            while not budget.try_admit([share], arrival):
                budget.wait()
        pools = [share.pool(UNIT), share.pool(2 * UNIT)]

        def lend(times: int) -> None:
            for _ in range(times):
                pool = pools[choice.token_bytes(1)[0] % 2]
                buffer = pool.acquire()
                if len(buffer) != pool.length or budget.bytes_lent > budget.total:
                    errors.append(f"{budget.bytes_lent} of {budget.total}")
                time.sleep(0)
                pool.release(buffer)

        threads = [_in_thread(lambda: lend(20)) for _ in range(3)]
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                errors.append("stands still")
        share.close()

    users = [_in_thread(lambda number=number: use(number)) for number in range(10)]
    for user in users:
        user.join(120)
    assert errors == []
    assert budget.bytes_lent == 0
