"""What is told by a slot: which transactions a moment sees, messages, the parts of a stream, statements."""

import struct

import msgspec
import pytest

from repository.errors import Damaged, RestoreRefused
from sources.postgres.catalog import Catalog, Table
from sources.postgres.following import record
from sources.postgres.following.gaps import open_gaps
from sources.postgres.following.messages import UNCHANGED, Begin, Change, Commit, Relation, Truncate, message_of
from sources.postgres.following.record import Followed, Life, Part, State
from sources.postgres.following.replay import Replay, life_for
from sources.postgres.following.statements import statement_of
from sources.postgres.following.visibility import snapshot_of

TABLE = Table(7, "public", "t", 70, ("id", "v"), types=(23, 25))
RELATION = Relation(7, "public", "t", "d", (("id", 23, True), ("v", 25, False)))
US_2000 = 946_684_800_000_000


@pytest.mark.parametrize(
    ("snapshot", "number", "is_seen"),
    [
        ("10:20:12,15", 9, True),
        ("10:20:12,15", 12, False),
        ("10:20:12,15", 13, True),
        ("10:20:", 20, False),
        ("4294967300:4294967310:", 4, True),  # the 32 bits of the log began again
        ("4294967300:4294967310:4294967305", 9, False),
        ("4294967300:4294967310:", 4294967295, True),
        ("4294967290:4294967290:", 5, False),
        ("3:3:", 4294967295, True),
    ],
)
def test_moment_sees_what_had_ended(snapshot: str, number: int, is_seen: bool) -> None:
    """By the 32 bits that the log has of an id."""
    assert snapshot_of(snapshot).sees(number) is is_seen


@pytest.mark.parametrize(
    ("later", "earlier", "does"),
    [
        ("10:20:", "10:20:", True),
        ("10:20:15", "10:20:15", True),
        ("10:20:15", "10:20:", False),  # 15 had ended, and is open: it is not the later one
        ("10:30:25", "10:20:", True),
        ("10:20:", "10:21:", False),
        ("10:20:", "10:20:12", True),
    ],
)
def test_moment_sees_all_that_another_saw(later: str, earlier: str, does: bool) -> None:
    """A dump is led on by a slot's life only where it saw all that had ended when that began."""
    assert snapshot_of(later).sees_all_of(snapshot_of(earlier)) is does


def _text(value: bytes) -> bytes:
    return b"t" + struct.pack(">I", len(value)) + value


def _begin(number: int, time_us: int, position: int) -> bytes:
    return b"B" + struct.pack(">QqI", position, time_us - US_2000, number)


def _commit(position: int) -> bytes:
    return b"C\0" + struct.pack(">QQq", position, position + 8, 0)


RELATION_BYTES = (
    b"R" + struct.pack(">I", 7) + b"public\0t\0d" + struct.pack(">H", 2)
    + b"\1id\0" + struct.pack(">Ii", 23, -1) + b"\0v\0" + struct.pack(">Ii", 25, -1)
)  # fmt: skip


def _insert(identity: bytes, value: bytes) -> bytes:
    return b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", 2) + _text(identity) + _text(value)


def test_messages_are_read() -> None:
    """As the manual of Postgres has them."""
    row = struct.pack(">H", 2)
    assert message_of(_begin(5, US_2000 + 3, 9)) == Begin(9, US_2000 + 3, 5)
    assert message_of(_commit(9)) == Commit(17)
    assert message_of(RELATION_BYTES) == RELATION
    assert message_of(_insert(b"1", b"x")) == Change(7, None, (b"1", b"x"))
    update = b"U" + struct.pack(">I", 7) + b"K" + row + _text(b"1") + b"n" + b"N" + row + _text(b"2") + b"u"
    assert message_of(update) == Change(7, (b"1", None), (b"2", UNCHANGED), True)
    assert message_of(b"D" + struct.pack(">I", 7) + b"O" + row + _text(b"1") + b"n") == Change(7, (b"1", None), None)
    assert message_of(b"T" + struct.pack(">IBII", 2, 2, 7, 8)) == Truncate((7, 8), True)
    assert message_of(b"Y123") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Z",
        b"B1",
        _insert(b"1", b"x")[:-1],
        _insert(b"1", b"x") + b"!",
        b"D" + struct.pack(">I", 7),
        b"R\0\0\0\7a",
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    """It is never taken for another change."""
    with pytest.raises(ValueError, match=r"a |pgoutput"):
        message_of(body)


def test_statement_finds_exactly_one_row() -> None:
    """By the key as it was; what is stored apart and was not changed is left as it is; quotes stay values."""
    insert = statement_of(Change(7, None, (b"1", b"it's \\!")), RELATION, TABLE)
    assert insert == b'INSERT INTO "public"."t" ("id", "v") VALUES (\'1\', \'it\'\'s \\!\');\n'
    update = statement_of(Change(7, (b"1", None), (b"2", UNCHANGED), True), RELATION, TABLE)
    assert b"SET \"id\" = '2' WHERE \"id\" = '1' RETURNING 1" in update
    assert b"1 / (pg_catalog.count(*) = 1)" in update
    full = RELATION._replace(identity="f", columns=(("id", 23, True), ("v", 25, True)))
    delete = statement_of(Change(7, (b"1", None), None), full, TABLE)
    assert b'("v")::text IS NOT DISTINCT FROM NULL LIMIT 1)' in delete
    with pytest.raises(ValueError, match="no key"):
        statement_of(Change(7, (b"1", None), None), RELATION._replace(columns=(("id", 23, False),) * 2), TABLE)


def _state(snapshot: str, time_us: int, node: int = 70, life: str = "a") -> State:
    return State(life, "sys", snapshot, 0, time_us, (Followed(7, node, "1:10:"),), ())


def test_long_messages_are_cut_and_a_batch_that_was_begun_again_voids_the_open_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the length: what is read is what was told."""
    monkeypatch.setattr(record, "PART_MAX", 10)
    told = [b"12345678", b"9" * 25, b"", b"x"]
    state = _state("1:10:", 1)
    parts = [record.part_of(record.encoded(part)) for part in record.parts_from(told, lambda: state)]
    assert all(sum(map(len, part.messages)) <= 10 for part in parts)
    assert list(record.messages_of(parts)) == [None, *told, state]
    assert [each for each in record.messages_of([*parts[:2], *parts]) if each is not None][-5:] == [*told, state]
    with pytest.raises(Damaged):
        record.part_of(b"\xc1")
    with pytest.raises(Damaged):
        record.part_of(record.encoded(Part(True, [], format=record.FORMAT + 1)))


CATALOG = Catalog(
    *("shop", 170000, "UTF8", "C", "", "", "me", True, 0, (TABLE,)), system="sys", snapshot="10:20:15", seen_us=1000
)


def _replayed(*parts: Part, at: int | None = None) -> tuple[str, dict[str, str]]:
    troubles: dict[str, str] = {}
    (life,) = record.lives_of(parts)
    replay = Replay(CATALOG, [TABLE], life, at, trouble=troubles.__setitem__, check=lambda: None)
    return b"".join(replay.script(parts)).decode(), troubles


def test_replay_plays_what_the_dump_does_not_see_once_and_to_the_time() -> None:
    """By the moment's ids, whatever the order; a batch that was told twice counts once; nothing behind the time."""
    first = Part(True, [], _state("1:10:", 500))
    seen = [_begin(14, 2000, 1), RELATION_BYTES, _insert(b"1", b"seen"), _commit(1)]
    unseen = [_begin(15, 900, 2), _insert(b"2", b"open then"), _commit(2)]
    later = [_begin(30, 3000, 3), _insert(b"3", b"later"), _commit(3)]
    last = [_begin(31, 4000, 4), _insert(b"4", b"last"), _commit(4)]
    batch = Part(True, [*seen, *unseen, *later, *last], _state("40:40:", 5000))
    broken = Part(True, [*seen, *unseen, *later[:2]])
    script, troubles = _replayed(first, broken, batch, at=3000)
    assert (script.count("'2'"), script.count("'later'"), "seen" in script, "last" in script) == (1, 2, False, False)
    assert script.index("ROLLBACK") < script.rindex("'later'") < script.rindex("COMMIT")
    assert not troubles
    assert "'last'" in _replayed(first, batch)[0]


def test_replay_names_a_table_that_was_defined_otherwise_or_rewritten() -> None:
    """It stays as it was before; an emptied one has another file, too, and is no such table."""
    first = Part(True, [], _state("1:10:", 500))
    other = RELATION_BYTES.replace(b"v\0", b"w\0")
    change = [_begin(30, 3000, 3), other, _insert(b"3", b"x"), _commit(3)]
    script, troubles = _replayed(first, Part(True, change, _state("40:40:", 5000)))
    assert "INSERT" not in script
    assert "other columns" in troubles["public.t"]
    _, troubles = _replayed(first, Part(True, [], _state("40:40:", 5000, node=71)))
    assert "rewritten" in troubles["public.t"]
    emptied = [_begin(30, 3000, 3), RELATION_BYTES, b"T" + struct.pack(">IBI", 1, 0, 7), _commit(3)]
    script, troubles = _replayed(first, Part(True, emptied, _state("40:40:", 5000, node=71)))
    assert ("TRUNCATE ONLY" in script, troubles) == (True, {})
    gone = State("a", "sys", "40:40:", 0, 5000, (), ())
    assert "dropped" in _replayed(first, Part(True, [], gone))[1]["public.t"]


def _dump(snapshot: str, seen_us: int, system: str = "sys") -> Catalog:
    return msgspec.structs.replace(CATALOG, snapshot=snapshot, seen_us=seen_us, system=system)


LIVES = [
    Life(_state("1:10:", 500), _state("40:40:", 5000)),
    Life(_state("50:50:", 6000, life="b"), _state("60:60:", 7000, life="b")),
    Life(_state("70:70:", 8000, life="c"), _state("80:80:", 9000, life="c")),
]


@pytest.mark.parametrize(
    ("lives", "dumps", "since"),
    [
        ([], [_dump("20:20:", 1000)], []),
        (LIVES[:1], [], []),
        (LIVES[:1], [_dump("20:20:", 1000)], []),
        (LIVES[:1], [_dump("5:5:", 400)], [400]),  # it was followed too late for the dump
        (LIVES[:1], [_dump("20:20:", 1000, "other")], [1000]),
        (LIVES[:1], [_dump("", 0, ""), _dump("20:20:", 1000)], []),  # of an early version
        (LIVES, [], [5000, 7000]),
        (LIVES, [_dump("20:20:", 1000)], [5000, 7000]),
        (LIVES, [_dump("45:45:", 5500)], [5500, 7000]),  # a dump within the gap reaches itself
        (LIVES, [_dump("55:55:", 6500), _dump("20:20:", 1000)], [7000]),
        (LIVES, [_dump("75:75:", 8500), _dump("20:20:", 1000)], []),
        ([LIVES[0], Life(LIVES[1].first, msgspec.structs.replace(LIVES[1].last, is_gap=True))],
         [_dump("55:55:", 6500)], [7000]),
    ],
)  # fmt: skip
def test_gap_is_open_until_a_dump_leads_on_behind_it(lives: list[Life], dumps: list[Catalog], since: list[int]) -> None:
    """By what the stream and the dumps say, and by nothing that somebody remembers."""
    assert open_gaps(lives, iter(dumps)) == since


def test_time_outside_of_what_is_known_is_refused() -> None:
    """Before anything is changed, with the interval; a life that began behind the dump does not lead on from it."""
    life = Life(_state("1:10:", 500), _state("40:40:", 5000))
    assert life_for(CATALOG, [life], 5000) is life
    assert life_for(CATALOG, [life], None) is life
    for lives, at, words in (
        ([life], 999, "younger"),
        ([life], 5001, "not reached"),
        ([Life(_state("1:30:", 500), _state("40:40:", 5000))], None, "nothing tells"),
        ([Life(_state("1:18:", 500), _state("40:40:", 5000))], None, "nothing tells"),  # 15 was open for the dump
        ([], None, "nothing tells"),
    ):
        with pytest.raises(RestoreRefused, match=words):
            life_for(CATALOG, lives, at)
