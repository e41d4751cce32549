"""Rate limits, cursors, waiters, the status board, problems, frames: the gateway's small parts."""

import asyncio
import base64
import unicodedata
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.life.health import Health
from chassis.postgres.database import Unable, translated
from chassis.sealing import Sealer, prepare_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.rate_limit import Rate, TokenBuckets
from gateway.groups.configurations.resources import NewConfiguration
from gateway.groups.security.queries import AccessFilter, SecurityQueries
from gateway.http.bodies import TOLD_MAX, UNREADABLE, invalid_body, require_names_once
from gateway.http.parameters import checked_id, checked_time
from gateway.http.problems import WrongFields, error_of_code, headers_of, plain, problem_of, public_hint
from gateway.http.texts import kept, unreadable_character
from gateway.monitoring.frames import Resume, Subscribe, fact_frame
from gateway.monitoring.status_board import FRESH_SECONDS, StatusBoard
from gateway.projections.fact import Fact
from gateway.reading.cursor import LENGTH_MAX, Cursors, Place
from gateway.runs.queries import ExecutionFilter
from gateway.wire.connections import NO_HANDSHAKE, refusal
from gateway.wire.readiness import Readiness
from gateway.writes.book import check_key
from gateway.writes.waiters import Waiters


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
    assert buckets.allowance("a") == (3, 1, 1)
    assert buckets.take("a") == 0.0
    assert buckets.allowance("a") == (3, 0, 2)
    assert buckets.allowance("nobody") == (3, 3, 0)
    seconds.now += 10
    assert buckets.take("a") == 0.0
    # What was let in as one counts as many: the next waits until all of it is made up for.
    buckets.spend("a", 5)
    assert buckets.allowance("a") == (3, 0, 3)
    assert buckets.take("a") == pytest.approx(2.0)


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


@pytest.fixture(scope="module")
def sealer(tmp_path_factory: pytest.TempPathFactory) -> Sealer:
    """The keys of some organisations."""
    folder = tmp_path_factory.mktemp("keys") / "keys"
    prepare_keys_folder(folder)
    sealer = Sealer(folder)
    for organisation in ("acme", "other"):
        sealer.make_keys(organisation)
    return sealer


@given(st.datetimes(timezones=st.just(UTC)), st.text(min_size=1, max_size=40))
def test_cursor_is_read_as_it_was_given(sealer: Sealer, time: datetime, identifier: str) -> None:
    """A cursor goes on exactly where the page ended."""
    cursors = Cursors(sealer, "acme", "executions", ExecutionFilter())
    encoded = asyncio.run(cursors.encode(Place(time, identifier)))
    if len(encoded) <= LENGTH_MAX:
        assert asyncio.run(cursors.decode(encoded)) == Place(time, identifier)


async def test_cursor_is_of_one_list_alone(sealer: Sealer) -> None:
    """Another list, other filters, another organisation or an altered place: refused, never another page."""
    narrowed = ExecutionFilter(is_degraded=True)
    given_by = Cursors(sealer, "acme", "executions", narrowed)
    text = await given_by.encode(Place(datetime(2026, 11, 24, tzinfo=UTC), "019ab4d3-0f2a-7c44-8e21-6a7b8c9d0e1f"))
    assert len(text) <= LENGTH_MAX
    altered = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).replace(b"2026-11-24", b"2026-11-25")
    ).decode()
    for cursors, sent in (
        (Cursors(sealer, "other", "executions", narrowed), text),
        (Cursors(sealer, "acme", "configurations", narrowed), text),
        (Cursors(sealer, "acme", "executions", ExecutionFilter()), text),
        (Cursors(sealer, "acme", "executions", ExecutionFilter(is_degraded=False)), text),
        (given_by, altered),
        (given_by, text[:-2]),
    ):
        with pytest.raises(PlatformError) as refused:
            await cursors.decode(sent)
        assert (refused.value.code, refused.value.field) == (errors.INVALID_CURSOR, "cursor")
    assert await given_by.decode(None) is None


async def test_cursor_of_access_logs_in_order_of_time_is_refused(sealer: Sealer) -> None:
    """They are in the order of the log since: a time is no place in it, and would be another page."""
    old = Cursors(sealer, "acme", "access-logs", AccessFilter())
    queries = SecurityQueries(Mock(side_effect=AssertionError("it is not read")), sealer, "compliance")
    for place in (Place(datetime(2026, 11, 24, tzinfo=UTC), "019ab4d3"), Place(7, "019ab4d3")):
        with pytest.raises(PlatformError) as refused:
            await queries.accesses("acme", AccessFilter(), limit=1, cursor=await old.encode(place))
        assert (refused.value.code, refused.value.field) == (errors.INVALID_CURSOR, "cursor")


@given(st.text(max_size=400) | st.binary(max_size=90).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_no_cursor(sealer: Sealer, text: str) -> None:
    """What was not given by a list is refused with its parameter."""
    with pytest.raises(PlatformError) as refused:
        asyncio.run(Cursors(sealer, "acme", "executions", ExecutionFilter()).decode(text))
    assert (refused.value.code, refused.value.field) == (errors.INVALID_CURSOR, "cursor")


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
    for _ in range(5):
        assert await board.of("a") == b"1"
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
    monkeypatch.setattr("gateway.monitoring.status_board.ORGANISATIONS_MAX", 2)
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


def test_unknown_refusal_is_final_and_named() -> None:
    """A code of a newer build is no reason to fail, nor one to try again: it is told as a refusal that names it."""
    problem = problem_of(error_of_code("from-the-future"))
    assert (problem.status, problem.retry) == (409, "after-operator")
    assert problem.context == {"refusedWith": "from-the-future"}


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
    except UNREADABLE as error:
        told = invalid_body(body, NewConfiguration, error)
        assert told.code in {errors.MALFORMED_BODY, errors.INVALID_FIELD, errors.UNKNOWN_FIELD}


@given(
    st.dictionaries(st.text(max_size=10), st.none() | st.booleans() | st.integers() | st.text(max_size=5), max_size=5)
)
def test_any_object_is_refused_or_understood(fields: dict[str, Any]) -> None:
    """Unknown and ill-typed fields are named."""
    try:
        msgspec.json.decode(msgspec.json.encode(fields), type=NewConfiguration)
    except msgspec.ValidationError as error:
        told = invalid_body(msgspec.json.encode(fields), NewConfiguration, error)
        if told.code is errors.UNKNOWN_FIELD:
            assert told.field in fields


def test_deep_nesting_is_malformed() -> None:
    """A body that would exhaust the stack is refused like any other that cannot be read."""
    assert invalid_body(b"", NewConfiguration, RecursionError()).code is errors.MALFORMED_BODY


def _wrong(body: Any) -> list[tuple[str, str | None]]:
    encoded = msgspec.json.encode(body)
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(encoded, type=NewConfiguration)
    error = invalid_body(encoded, NewConfiguration, refused.value)
    every = error.every if isinstance(error, WrongFields) else (error,)
    assert (error.code, error.field) == (every[0].code, every[0].field)
    return [(each.code.code, each.field) for each in every]


def test_every_wrong_field_of_a_body_is_told() -> None:
    """Whoever corrects a body learns of all that is wrong with its form at once, each by its path."""
    body = {
        "name": 5,
        "sourceType": "floppy",
        "storageDestinations": {"local": {"location": "UP", "lockDays": "1", "x": 1}, "moon": {}, "offsite": {}},
        "tags": ["ok", 7],
        "surprise": None,
    }
    assert _wrong(body) == [
        ("unknown-field", "surprise"),
        ("invalid-field", "name"),
        ("invalid-field", "sourceType"),
        ("invalid-field", "sourceLocation"),
        ("unknown-field", "storageDestinations.moon"),
        ("unknown-field", "storageDestinations.local.x"),
        ("invalid-field", "storageDestinations.local.location"),
        ("invalid-field", "storageDestinations.local.lockDays"),
        ("invalid-field", "storageDestinations.offsite.location"),
        ("invalid-field", "tags[1]"),
    ]
    assert _wrong([]) == [("invalid-field", None)]
    assert len(_wrong({f"f{number}": 1 for number in range(500)})) == TOLD_MAX


@pytest.mark.parametrize(
    ("hint", "is_told"),
    [
        ("Give the tier more space.", True),
        ("Use a name from /api/backup/locations; /schema lists the fields.", True),
        ("Bring the tier back and/or retry.", True),
        ("Mount the folder that WEDSYNC_KEYS_DIR names.", False),
        ("Set AWS_ACCESS_KEY_ID.", False),
        ("Look at /srv/backup/tier.", False),
        ("Ask https://10.0.0.1:8333 again.", False),
        ("", False),
        (None, False),
    ],
)
def test_hint_that_names_insides_gives_way_to_the_catalogues(hint: str | None, is_told: bool) -> None:
    """Paths, addresses and settings are for operators; people of an organisation get advice that they can follow."""
    shown = public_hint(errors.TIER_FULL, hint)
    assert shown == (hint if is_told else errors.TIER_FULL.hint)


def test_fact_on_the_socket_names_no_machine_and_no_path() -> None:
    """Which worker it was, and where its folders are, is for operators; all else is the event's own."""

    def told(fields: dict[str, Any]) -> Any:
        fact = msgspec.structs.replace(_fact(), fields=msgspec.Raw(msgspec.json.encode(fields)))
        return msgspec.json.decode(fact_frame("epoch", fact).fields)

    assert told({"executionId": "e", "fence": 1, "worker": "ip-10-3-7-12.internal:4711"}) == {
        "executionId": "e",
        "fence": 1,
    }
    shown = told({"tier": "local", "code": "tier-full", "hint": "Free space below /srv/backup."})
    assert shown == {"tier": "local", "code": "tier-full", "hint": errors.TIER_FULL.hint}
    assert told({"code": "tier-full", "hint": "Free some space."})["hint"] == "Free some space."
    assert told({"files": 1}) == {"files": 1}


def test_no_hint_of_the_catalogue_names_insides() -> None:
    """What everybody is told names no setting, no file and no address."""
    for code in errors.catalogue().values():
        assert public_hint(errors.INTERNAL, code.hint) == code.hint, code.code


def test_error_of_ours_tells_nothing_of_its_own() -> None:
    """Message, field and hint of a fault of ours are in the log and on the internal port alone."""
    told = problem_of(
        PlatformError(
            errors.INVALID_SETTING, "/etc/x cannot be read", field="WEDSYNC_LOCATIONS_FILE", hint="Mend /etc/x."
        )
    )
    assert "/etc/x" not in msgspec.json.encode(told).decode()
    assert (told.field, told.errors, told.code) == (None, None, "invalid-setting")


READABLE = ("Zoë & Jürgen", "結婚式 　写真", "Ślub ❤\ufe0f", "عرس ليلى", "a" * 200, "O’Neill – “2027”", "हिन्दी")
UNREADABLE_TEXTS = {
    "\u202eabc": "U+202E (RIGHT-TO-LEFT OVERRIDE), character 1",
    "a\u2066b": "U+2066 (LEFT-TO-RIGHT ISOLATE), character 2",
    "a\u200bb": "U+200B (ZERO WIDTH SPACE), character 2",
    "a\u200db": "U+200D (ZERO WIDTH JOINER), character 2",
    "\ufeffabc": "U+FEFF (ZERO WIDTH NO-BREAK SPACE), character 1",
    "a\u2028b": "U+2028 (LINE SEPARATOR), character 2",
    "a\u2029b": "U+2029 (PARAGRAPH SEPARATOR), character 2",
    "a\u0085b": "U+0085 (control character), character 2",
    "a\nb": "U+000A (control character), character 2",
    "a\x7f": "U+007F (control character), character 2",
    "\u00ad": "U+00AD (SOFT HYPHEN), character 1",
    "\u3164": "U+3164 (HANGUL FILLER), character 1",
    "\ud800": "U+D800 (unpaired surrogate), character 1",
    "\ue000": "U+E000 (private character), character 1",
    "\uffff": "U+FFFF (noncharacter), character 1",
    "\U000e0041": "U+E0041 (TAG LATIN CAPITAL LETTER A), character 1",
    "a\ufe00": "U+FE00 (VARIATION SELECTOR-1), character 2",
}


@pytest.mark.parametrize("text", READABLE)
def test_text_that_can_be_read_is_taken(text: str) -> None:
    """Every script, emoji included."""
    assert unreadable_character(text) is None


@pytest.mark.parametrize(("text", "named"), list(UNREADABLE_TEXTS.items()), ids=ascii)
def test_character_that_nobody_sees_is_named(text: str, named: str) -> None:
    """Whoever is refused learns which character it is and where."""
    assert unreadable_character(text) == named


@given(st.text(max_size=20))
def test_text_that_is_taken_shows_as_it_is(text: str) -> None:
    """No control, format, private or separator character passes, and what is kept passes again."""
    if unreadable_character(text) is None:
        assert not {unicodedata.category(each) for each in text} & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
        assert unreadable_character(kept(text)) is None
        assert kept(kept(text)) == kept(text)


def test_text_is_kept_in_one_form() -> None:
    """A name that two keyboards write differently is one name."""
    assert kept(" Zoe\u0308 ") == "Zo\u00eb"


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


def test_full_disk_under_the_record_is_told_to_whoever_asked() -> None:
    """Not as something that passes in a few seconds, and at once: nothing is gained by trying for some seconds."""
    with pytest.raises(Unable) as refused, translated():
        raise psycopg.errors.DiskFull
    assert refused.value.is_final
    assert headers_of(refused.value) == {"Retry-After": "30"}
    told = problem_of(refused.value)
    assert (told.code, told.retry, told.hint) == ("no-space", "after-operator", errors.NO_SPACE.hint)


@pytest.mark.parametrize("lacking", [psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn])
def test_tables_of_another_build_are_told_as_something_that_lasts(lacking: type[psycopg.Error]) -> None:
    """Whoever meets them is held, and an operator told: trying again mends nothing."""
    with pytest.raises(Unable) as refused, translated():
        raise lacking
    assert (refused.value.is_final, refused.value.lasts) == (True, True)


@pytest.mark.parametrize("body", [b'{"a": 1, "b": 2, "a": 3}', b'{"b": [{"a": 1, "a": 1}]}'])
def test_name_that_stands_twice_in_an_object_is_refused(body: bytes) -> None:
    """Which of the two was meant, nobody knows."""
    with pytest.raises(PlatformError) as refused:
        require_names_once(body)
    assert (refused.value.code, refused.value.field) == (errors.INVALID_FIELD, "a")
    require_names_once(b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}')


def test_request_that_was_given_up_is_told_with_its_id() -> None:
    """The fault is ours, and the id is what an operator asks for."""
    hint = f"{errors.NOT_HANDLED.hint} It is the request request-7."
    assert problem_of(PlatformError(errors.NOT_HANDLED, "x", hint=hint)).hint == hint


def test_refusal_on_the_wire_has_a_trace_that_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing has begun that would have one; who asks for help names it all the same."""
    caplog.set_level("INFO")
    head, _, body = refusal(NO_HANDSHAKE).partition(b"\r\n\r\n")
    trace_id = msgspec.json.decode(body)["traceId"]
    assert f"x-trace-id: {trace_id}".encode() in head
    assert [getattr(record, "traceId", None) for record in caplog.records] == [trace_id]


def test_sentence_of_a_library_tells_nothing_of_what_was_sent() -> None:
    """A secret that was pasted into the wrong field does not come back in the answer."""
    assert plain("Invalid enum value 'pass\nwo'rd' - at `$.kind`") == "invalid enum value"
