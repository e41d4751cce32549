"""Rate limits, cursors, waiters, the status board, problems, frames: the gateway's small parts."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.health import Health
from contracts import errors
from contracts.errors import PlatformError
from gateway import problems
from gateway.examples import NEW_CONFIGURATION
from gateway.frames import Resume, Subscribe
from gateway.parameters import checked_id, checked_time
from gateway.problems import error_of_code, invalid_body, problem_of
from gateway.projections.facts import Fact
from gateway.queries import cursor
from gateway.rate_limit import Rate, TokenBuckets
from gateway.readiness import Readiness
from gateway.requests import check_key
from gateway.resources import NewConfiguration
from gateway.status_board import FRESH_SECONDS, StatusBoard
from gateway.templates import TEMPLATES
from gateway.waiters import Waiters


class _Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _fact(organisation: str = "acme", request_id: str | None = None) -> Fact:
    return Fact(
        1,
        organisation,
        None,
        None,
        request_id,
        "executor.backup-accepted.v1",
        "e",
        datetime(2026, 11, 24, tzinfo=UTC),
        msgspec.Raw(b"{}"),
    )


def test_caller_within_the_rate_is_never_refused() -> None:
    """A burst at once, then one for each refill; who is refused is told how long to wait."""
    seconds = _Seconds()
    buckets = TokenBuckets(Rate(per_second=2, burst=3), clock=seconds)
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0.0
    seconds.now += 0.5
    assert buckets.wait_seconds("a") == 0.0
    assert buckets.take("a") == 0.0
    assert buckets.wait_seconds("a") == pytest.approx(0.5)
    assert buckets.wait_seconds("nobody") == 0.0


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_bucket_never_gives_more_than_its_rate(pauses: list[float], per_second: float, burst: int) -> None:
    """Within any time a caller gets at most the burst and the refill of that time."""
    seconds = _Seconds()
    buckets = TokenBuckets(Rate(per_second=per_second, burst=burst), clock=seconds)
    granted = 0
    for pause in pauses:
        seconds.now += pause
        granted += buckets.take("a") == 0.0
        assert granted <= burst + seconds.now * per_second + 1e-6


def test_buckets_are_bounded() -> None:
    """However many callers there are, memory is not theirs to fill."""
    buckets = TokenBuckets(Rate(1, 1), callers_max=10)
    for number in range(100):
        buckets.take(number)
    assert len(buckets._buckets) == 10


@given(st.datetimes(timezones=st.just(UTC)), st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text))
def test_cursor_is_read_as_it_was_given(time: datetime, identifier: str) -> None:
    """A cursor goes on exactly where the page ended."""
    encoded = cursor.encode(cursor.Cursor(time, identifier))
    if len(encoded) <= cursor.LENGTH_MAX:
        assert cursor.decode(encoded) == cursor.Cursor(time, identifier)


@given(st.text(max_size=400))
def test_any_other_text_is_no_cursor(text: str) -> None:
    """What was not given by a list is refused with its parameter."""
    told = None
    try:
        cursor.decode(text)
    except PlatformError as error:
        told = (error.code, error.field)
    assert told in (None, (errors.INVALID_FIELD, "cursor"))


def test_times_without_offset_are_refused() -> None:
    """A time is taken only where it is one."""
    assert checked_time(None, "from") is None
    with pytest.raises(PlatformError):
        checked_time(datetime(2026, 1, 1), "from")  # noqa: DTZ001  # without an offset on purpose
    with pytest.raises(PlatformError):
        checked_id("x")


@pytest.mark.parametrize(
    ("key", "is_usable"), [(None, False), ("", False), ("a" * 201, False), ("ü", False), ("a\n", False), ("a-1", True)]
)
def test_idempotency_key_is_short_and_printable(key: str | None, is_usable: bool) -> None:
    """A key can be kept and shown, or is refused."""
    if is_usable:
        assert check_key(key) == key
        return
    with pytest.raises(PlatformError) as refused:
        check_key(key)
    assert refused.value.field == "Idempotency-Key"


async def test_waiter_hears_the_answer_to_its_request_alone() -> None:
    """Each waits for its own request, several may wait for one, and nothing is left behind."""
    waiters = Waiters()
    with waiters.expect("r1") as first, waiters.expect("r1") as second, waiters.expect("r2") as other:
        waiters.tell([_fact(), _fact(request_id="r1"), _fact(request_id="r3")])
        assert await first.wait(1) == await second.wait(1)
        assert first.fact is not None
        assert first.fact.request_id == "r1"
        assert await other.wait(0.01) is None
    assert len(waiters) == 0


async def test_status_is_read_once_for_all_who_ask_at_a_time() -> None:
    """Within half a second an organisation's status is read once, unless something has happened."""
    seconds = _Seconds()
    read: list[str] = []
    gate = asyncio.Event()

    async def reading(organisation: str) -> bytes:
        read.append(organisation)
        await gate.wait()
        return f"{organisation} {len(read)}".encode()

    board = StatusBoard(reading, seconds)
    asked = [asyncio.create_task(board.of("a")) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert set(await asyncio.gather(*asked)) == {b"a 1"}
    assert await board.of("a") == b"a 1"
    assert await board.of("b") == b"b 2"
    board.tell([_fact("a")])
    assert await board.of("a") == b"a 3"
    assert await board.of("b") == b"b 2"
    seconds.now += FRESH_SECONDS
    assert await board.of("b") == b"b 4"
    board.tell([])
    assert await board.of("b") == b"b 5"


async def test_one_reading_of_an_organisation_goes_on_at_a_time() -> None:
    """However many facts come while the status is read, all who ask meanwhile wait for one more reading."""
    gates = [asyncio.Event() for _ in range(3)]
    read = 0

    async def reading(organisation: str) -> bytes:
        nonlocal read
        number, read = read, read + 1
        await gates[number].wait()
        return str(number).encode()

    board = StatusBoard(reading, _Seconds())
    first = asyncio.create_task(board.of("a"))
    await asyncio.sleep(0)
    later = []
    for _ in range(20):
        board.tell([_fact("a")])
        later.append(asyncio.create_task(board.of("a")))
        await asyncio.sleep(0)
    assert read == 1
    gates[0].set()
    assert await first == b"0"
    gates[1].set()
    assert set(await asyncio.gather(*later)) == {b"1"}
    assert read == 2


async def test_who_asks_often_waits_for_no_reading() -> None:
    """An answer that has half of its time left is shown while the next one is read; one that is too old never is."""
    seconds = _Seconds()
    gate = asyncio.Event()
    gate.set()
    read = 0

    async def reading(organisation: str) -> bytes:
        nonlocal read
        read += 1
        number = read
        await gate.wait()
        return str(number).encode()

    board = StatusBoard(reading, seconds)
    assert await board.of("a") == b"1"
    gate.clear()
    seconds.now = FRESH_SECONDS * 0.6
    assert await board.of("a") == b"1"
    assert await board.of("a") == b"1"
    for _ in range(5):
        await asyncio.sleep(0)
    assert read == 2
    seconds.now = FRESH_SECONDS
    waiting = asyncio.create_task(board.of("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    assert await waiting == b"2"


async def test_status_that_cannot_be_read_is_read_again() -> None:
    """An error is told to whoever asked, and not remembered."""
    failing = True

    async def reading(organisation: str) -> bytes:
        if failing:
            raise PlatformError(errors.UNAVAILABLE, "away")
        return organisation.encode()

    board = StatusBoard(reading)
    with pytest.raises(PlatformError):
        await board.of("a")
    await asyncio.sleep(0)
    failing = False
    assert await board.of("a") == b"a"


async def test_caller_who_gives_up_takes_nobody_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading goes on for the others when the one who began it is gone, and memory stays bounded."""
    monkeypatch.setattr("gateway.status_board.ORGANISATIONS_MAX", 2)
    gate = asyncio.Event()

    async def reading(organisation: str) -> bytes:
        await gate.wait()
        return organisation.encode()

    board = StatusBoard(reading)
    first = asyncio.create_task(board.of("a"))
    await asyncio.sleep(0)
    second = asyncio.create_task(board.of("a"))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == b"a"
    for organisation in ("b", "c", "d"):
        await board.of(organisation)
    assert len(board._entries) <= 2


async def test_readiness_is_looked_at_once_a_second() -> None:
    """Whoever asks without a token cannot make the gateway look more often."""
    seconds = _Seconds()
    looked = 0

    async def check() -> str | None:
        nonlocal looked
        looked += 1
        return None if looked == 1 else "away"

    health = Health("gateway")
    health.add("part", check)
    readiness = Readiness(health, seconds)
    assert await asyncio.gather(readiness.status(), readiness.status()) == ["ready", "ready"]
    assert looked == 1
    seconds.now = 1.0
    assert await readiness.status() == "not-ready"


def test_every_code_has_a_whole_problem() -> None:
    """Each entry of the catalogue becomes a body with type, title, detail, code, retry and hint."""
    for code, entry in errors.catalogue().items():
        problem = problem_of(error_of_code(code))
        assert problem.type.endswith(code)
        assert (problem.code, problem.status, problem.title) == (code, entry.status, entry.title)
        assert problem.detail
        assert problem.hint
        assert problem.retry in {"never", "later", "after-operator"}


def test_unknown_refusal_is_told_as_ours() -> None:
    """A code of a newer build is no reason to fail: it is told as an internal problem that names it."""
    problem = problem_of(error_of_code("from-the-future"))
    assert problem.status == 500
    assert "from-the-future" in problem.detail


def test_context_is_told_to_who_caused_the_error_alone() -> None:
    """Figures of our insides stay inside."""
    theirs = problem_of(PlatformError(errors.TOO_MANY_REQUESTS, "slow down", retry_after_seconds=2))
    ours = problem_of(PlatformError(errors.UNAVAILABLE, "away", host="db.internal"))
    assert theirs.context == {"retryAfterSeconds": 2}
    assert ours.context is None
    assert "retryAfterSeconds" in msgspec.json.encode(theirs).decode()


@given(st.binary(max_size=200))
def test_any_bytes_become_a_problem_with_a_code(body: bytes) -> None:
    """Whatever a body holds, decoding it ends in the resource or in a known error."""
    try:
        msgspec.json.decode(body, type=NewConfiguration)
    except problems.UNREADABLE as error:
        told = invalid_body(error)
        assert told.code in {errors.MALFORMED_BODY, errors.INVALID_FIELD, errors.UNKNOWN_FIELD}


@given(
    st.dictionaries(st.text(max_size=10), st.none() | st.booleans() | st.integers() | st.text(max_size=5), max_size=5)
)
def test_any_object_is_refused_or_understood(fields: dict[str, Any]) -> None:
    """Unknown and ill-typed fields are named."""
    try:
        msgspec.json.decode(msgspec.json.encode(fields), type=NewConfiguration)
    except msgspec.ValidationError as error:
        told = invalid_body(error)
        if told.code is errors.UNKNOWN_FIELD:
            assert told.field in fields


def test_deep_nesting_is_malformed() -> None:
    """A body that would exhaust the stack is refused like any other that cannot be read."""
    assert invalid_body(RecursionError()).code is errors.MALFORMED_BODY


def test_resume_id_is_epoch_and_sequence() -> None:
    """A resume id is read as it was given; anything else is refused."""
    assert Resume.parse(str(Resume("epoch", 12))) == Resume("epoch", 12)
    for text in ("", ":", "epoch", "epoch:", ":1", "epoch:-1", "epoch:1.5", "epoch:" + "9" * 19):
        with pytest.raises(PlatformError):
            Resume.parse(text)


def test_subscription_wants_what_it_names() -> None:
    """By execution, by configuration or all."""
    assert Subscribe(all=True).wants(None, None)
    assert Subscribe(executions=("e",)).wants("e", "c")
    assert Subscribe(configurations=("c",)).wants("e", "c")
    assert not Subscribe(executions=("e",), configurations=("c",)).wants("x", "y")
    assert not Subscribe(executions=("e",)).wants(None, None)


def test_templates_are_valid_and_explain_every_field() -> None:
    """Each template decodes as a body, and the explanations name fields that exist."""
    names = {field.encode_name for field in msgspec.structs.fields(NewConfiguration)}
    for template in TEMPLATES:
        encoded = msgspec.json.encode(template.configuration)
        assert msgspec.json.decode(encoded, type=NewConfiguration) == template.configuration
        explained = {field.field.partition(".")[0] for field in template.fields}
        assert explained == names
    assert NEW_CONFIGURATION.name
