"""Streams: appended to by several, on several tiers, with what fails in between, and read back in order."""

import errno
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random  # noqa: TID251  # seeded
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repository.errors import (
    Damaged,
    LimitExceeded,
    NoUsableTier,
    Replayed,
    RepositoryError,
    Retry,
    TextInvalid,
    TierBehind,
    TierUnreachable,
)
from repository.opened.open_tier import TierState
from repository.stored.stream_piece import piece_of
from repository.streams.errors import (
    AppendNotDurable,
    StreamContended,
    StreamForked,
    StreamGap,
    StreamNotFound,
)
from repository.streams.on_tier import StreamHead
from repository.streams.reading import read_stream
from repository.streams.stream import Durability, open_stream
from repository.streams.survey import names_of
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import Body
from tests.support.misbehaving_stores import WrappedStore
from tests.support.recording_disk import RecordingDisk, rebuild
from tests.support.repositories import Scene
from tests.support.streams import WAL, Away, bytes_of, filled, fork, key_of


def objects_of(scene: Scene, name: str) -> dict[str, bytes]:
    """All pieces on a tier."""
    store = scene.store(name)
    return {info.key: store.get(info.key) for info in store.list("streams/")}


def test_stream_is_read_back_from_each_tier_and_from_any_position() -> None:
    """What was appended comes back in order, from each tier alone, from the piece that holds the position."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    whole = b"".join(bytes([number]) * (number + 1) for number in range(5))
    assert stream.end == 1000 + len(whole)
    for tier in ("a", "b"):
        assert bytes_of(scene.reopen(), tiers=[tier]) == whole
    starts = {piece.position for piece in read_stream(scene.repository, WAL)}
    for position in range(1000, 1000 + len(whole)):
        first = max(each for each in starts if each <= position)
        assert bytes_of(scene.repository, position) == whole[first - 1000 :]
    assert bytes_of(scene.repository, 1000 + len(whole)) == b""
    for outside in (999, 1001 + len(whole)):
        with pytest.raises(StreamGap):
            bytes_of(scene.repository, outside)
    assert names_of(scene.repository) == [WAL]


def test_pieces_are_the_same_bytes_on_all_tiers() -> None:
    """So that each tier can give another one what it lost."""
    scene = Scene(("a", "b", "c"))
    filled(scene)
    assert objects_of(scene, "a") == objects_of(scene, "b") == objects_of(scene, "c")
    assert len(objects_of(scene, "a")) == 5
    assert all(piece_of(key) is not None for key in objects_of(scene, "a"))


def test_append_that_is_made_again_changes_nothing() -> None:
    """After a crash the writer does not know how far it got: it appends once more, however it cuts the bytes."""
    scene = Scene(("a", "b"))
    filled(scene)
    before = objects_of(scene, "a")
    again = open_stream(scene.reopen(), WAL)
    assert again.append(b"\4" * 5, position=1010).number == 5
    assert again.append(b"\0\1\1\2\2", position=1000).end == 1005
    assert again.append(b"\3\4\4", position=1009).tiers == {"a": Durability.DURABLE, "b": Durability.DURABLE}
    assert objects_of(scene, "a") == before == objects_of(scene, "b")
    with pytest.raises(StreamContended):
        again.append(b"other", position=1010)
    for data in (b"\4" * 6, b"\5"):
        with pytest.raises(StreamContended):
            again.append(data, position=1010)
    with pytest.raises(StreamContended, match="only the beginning") as overlap:
        again.append(b"\4" * 6, position=1010)
    assert overlap.value.context["end"] == 1015


class _Interrupted(RecordingDisk):
    """A disk of which no folder is synced any more once `dies` is set: the machine is about to go."""

    dies = False

    def sync_folder(self, path: str) -> None:
        """Sync, or fail."""
        if self.dies:
            raise OSError(errno.EIO, "the process dies here")
        super().sync_folder(path)


@pytest.mark.parametrize("how", ["again", "opened", "said"])
def test_what_a_dead_writer_left_is_durable_before_it_is_told_or_built_upon(tmp_path: Path, how: str) -> None:
    """It had given the piece its name and not synced the folder: a power cut after that takes nothing that was told."""
    root = tmp_path / "a"
    disk = _Interrupted()
    scene = Scene(stores=[DirectoryObjectStore(str(root), "a", disk=disk)])
    first = filled(scene, 2)
    disk.dies = True
    with pytest.raises(NoUsableTier):
        first.append(b"once")
    disk.dies = False
    stream = open_stream(scene.reopen(stores=[DirectoryObjectStore(str(root), "a", disk=disk)]), WAL)
    assert stream.end == 1007
    if how == "again":
        assert stream.append(b"once", position=1003).tiers == {"a": Durability.DURABLE}
    elif how == "said":
        stream.say()
    for seed in range(20):
        rebuild(disk.steps, str(root), tmp_path / str(seed), Random(seed))
        repository = scene.reopen(stores=[DirectoryObjectStore(str(tmp_path / str(seed)), "a")])
        assert bytes_of(repository) == b"\0\1\1once"


def test_append_behind_the_end_is_refused() -> None:
    """Bytes that are missing before these would never be found missing."""
    scene = Scene()
    stream = filled(scene)
    with pytest.raises(StreamGap) as caught:
        stream.append(b"x", position=2000)
    assert caught.value.context["end"] == 1015
    assert len(objects_of(scene, "a")) == 5


def test_second_writer_is_told() -> None:
    """Of two writers of other bytes one loses, whichever is faster; of the same bytes neither does."""
    scene = Scene(("a", "b"))
    first, second = open_stream(scene.repository, WAL), open_stream(scene.reopen(), WAL)
    assert first.append(b"mine").number == second.append(b"mine").number == 1
    assert first.append(b"first").number == 2
    with pytest.raises(StreamContended) as caught:
        second.append(b"second")
    assert caught.value.context["number"] == 2
    with pytest.raises(StreamContended):  # it stays told
        second.append(b"second")
    assert bytes_of(scene.reopen()) == b"minefirst"
    assert objects_of(scene, "a") == objects_of(scene, "b")


def test_tier_that_was_away_is_told_and_brought_level() -> None:
    """With each append it gets some of what it missed, and nobody waits for it."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL)
    stream.append(b"0")
    stores[1].is_away = True
    for number in range(1, 6):
        result = stream.append(b"%d" % number)
        assert result.tiers == {"a": Durability.DURABLE, "b": Durability.FAILED}
        assert result.is_degraded
        assert isinstance(result.errors["b"], TierUnreachable)
    stores[1].is_away = False
    states = [stream.append(b"%d" % number).tiers["b"] for number in range(6, 80)]
    assert states[-1] is Durability.DURABLE
    assert Durability.BEHIND in states
    assert bytes_of(scene.reopen(), tiers=["b"]) == b"".join(b"%d" % number for number in range(80))


def test_required_tier_that_is_away_is_no_success() -> None:
    """Who asked for a tier and did not get it is told; the append that is made again succeeds when it is back."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL, required=["b"])
    stores[1].is_away = True
    for _ in range(3):
        with pytest.raises(AppendNotDurable) as caught:
            stream.append(b"wal", position=0)
        assert caught.value.context["tiers"] == "b"
    stores[1].is_away = False
    assert not stream.append(b"wal", position=0).is_degraded
    with pytest.raises(NoUsableTier):
        open_stream(scene.repository, WAL, required=["c"])


def test_no_tier_is_no_success_and_the_next_append_goes_on() -> None:
    """Nothing is skipped: the bytes keep their position."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL)
    for store in stores:
        store.is_away = True
    for _ in range(4):
        with pytest.raises(NoUsableTier):
            stream.append(b"lost?")
    for store in stores:
        store.is_away = False
    assert stream.append(b"kept").tiers == {"a": Durability.DURABLE, "b": Durability.DURABLE}
    assert bytes_of(scene.reopen()) == b"kept"


def test_append_costs_the_same_always() -> None:
    """Under ten requests a tier, from the first on, the log's entry now and then included."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL)
    costs: list[int] = []
    for number in range(600):
        for store in stores:
            store.calls.clear()
        stream.append(b"%d" % number)
        costs.append(max(len(store.calls) for store in stores))
    assert max(costs) < 10
    assert sorted(costs)[len(costs) // 2] == 1
    assert sum(cost > 1 for cost in costs) <= 4
    head = scene.reopen().tier("a").log.state.streams[WAL]
    assert 300 < head.number <= 600
    # Opening costs as much as what came since the log's last word.
    for store in stores:
        store.calls.clear()
    open_stream(scene.repository, WAL)
    assert max(len(store.calls) for store in stores) < 10


def test_fork_is_told_to_writers_and_readers() -> None:
    """Tiers that took different bytes: nobody decides unasked whose count."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    fork(scene, stores)
    with pytest.raises(StreamForked) as caught:
        bytes_of(scene.repository)
    assert (caught.value.context["number"], caught.value.context["position"]) == (2, 7)
    with pytest.raises(StreamForked):
        open_stream(scene.repository, WAL, required=["a", "b"])
    result = open_stream(scene.repository, WAL).append(b"more")
    assert sorted(result.tiers.values()) == [Durability.DURABLE, Durability.FAILED]
    assert {type(error) for error in result.errors.values()} == {StreamForked}
    assert {bytes_of(scene.repository, tiers=["a"])[:7], bytes_of(scene.repository, tiers=["b"])[:7]} == {
        b"bothtwo",
        b"bothone",
    }


def test_fork_that_a_writer_runs_into_ends_it() -> None:
    """Whoever meets another's piece on a tier is told at once."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL)
    stream.append(b"both")
    decider = min(scene.repository.tiers, key=lambda tier: tier.log.state.tier_id or b"").name
    first = next(store for store in stores if store.name == decider)
    first.is_away = True
    open_stream(scene.reopen(), WAL).append(b"other")
    first.is_away = False
    with pytest.raises(StreamForked):
        stream.append(b"mine")
    with pytest.raises(StreamForked):
        stream.append(b"mine")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda body: body[:100] + bytes([body[100] ^ 1]) + body[101:],
    "cut": lambda body: body[:-1],
    "empty": lambda _: b"",
    "signature": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "header": lambda body: body[:60] + b"\1" + body[61:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("number", range(1, 6))
def test_damaged_piece_is_read_from_the_other_tier_or_told(number: int, damage: Callable[[bytes], bytes]) -> None:
    """With its number and the position up to which all is well."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    stream.say()
    store, key = scene.store("a"), key_of(scene.repository, number)
    whole = bytes_of(scene.repository)
    store.put(key, damage(store.get(key)))
    assert bytes_of(scene.reopen()) == whole
    with pytest.raises(RepositoryError) as caught:
        bytes_of(scene.repository, tiers=["a"])
    if number < 5:
        assert isinstance(caught.value, StreamGap)
        assert caught.value.context["number"] == number
        assert caught.value.context["position"] == (1000 + number * (number - 1) // 2 if number > 1 else 0)


@pytest.mark.parametrize("number", range(1, 5))
def test_swapped_and_missing_pieces_are_told(number: int) -> None:
    """Each piece counts at its own place only."""
    scene = Scene()
    stream = filled(scene)
    stream.say()
    store = scene.store("a")
    other = store.get(key_of(scene.repository, number + 1))
    store.put(key_of(scene.repository, number), other)
    with pytest.raises(StreamGap):
        bytes_of(scene.reopen())
    store.delete(key_of(scene.repository, number))
    with pytest.raises(StreamGap) as caught:
        bytes_of(scene.reopen())
    assert caught.value.context["number"] == number
    # Nobody is held up by it: the end is there.
    assert open_stream(scene.repository, WAL).append(b"on").number == 6


def test_end_that_was_cut_off_shows_against_the_log_and_against_what_was_seen() -> None:
    """What the log does not name yet the caller may remember."""
    scene = Scene()
    stream = filled(scene)
    stream.say()
    seen = stream.append(b"not said yet")
    head = stream.head
    assert seen.number == head.number == 6
    scene.store("a").delete(key_of(scene.repository, 6))
    assert open_stream(scene.reopen(), WAL).head.number == 5
    for call in (open_stream, read_stream):
        with pytest.raises(Replayed):
            list(call(scene.repository, WAL, seen=head))  # type: ignore[call-overload]
    with pytest.raises(Replayed):
        open_stream(scene.repository, WAL, seen=StreamHead(3, bytes(32), 1006))
    for number in (5, 4, 3, 2, 1):
        scene.store("a").delete(key_of(scene.repository, number))
        scene.reopen()
        with pytest.raises(NoUsableTier) as caught:
            open_stream(scene.repository, WAL)
        assert isinstance(caught.value.causes[0], Replayed)
        with pytest.raises(Replayed):
            bytes_of(scene.repository)


def test_tier_whose_end_was_cut_off_is_not_written() -> None:
    """The other one goes on; the reader takes it from there."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    stream.say()
    scene.store("a").delete(key_of(scene.repository, 5))
    result = open_stream(scene.reopen(), WAL).append(b"on")
    assert result.tiers == {"a": Durability.FAILED, "b": Durability.DURABLE}
    assert isinstance(result.errors["a"], Replayed)
    assert bytes_of(scene.repository)[-2:] == b"on"


def test_another_history_of_a_holder_of_the_key_is_told() -> None:
    """A tier's pieces are exchanged for others that are signed as well: the log names the true ones."""
    scene = Scene()
    filled(scene).say()
    other = Scene()
    assert other.repository.id == scene.repository.id
    stream = open_stream(other.repository, WAL)
    stream.append(b"0" * 14, position=1001)
    for _ in range(4):
        stream.append(b"x")
    for key, body in objects_of(other, "a").items():
        scene.store("a").put(key, body)
    scene.reopen()
    with pytest.raises(NoUsableTier):
        open_stream(scene.repository, WAL)
    with pytest.raises(StreamGap):
        bytes_of(scene.repository)


def test_junk_at_the_end_stops_that_tier_and_is_not_overwritten() -> None:
    """Anybody who may write to the bucket can put something where the next piece belongs."""
    scene = Scene(("a", "b"))
    stream = filled(scene)
    scene.store("a").put(key_of(scene.repository, 6), b"junk")
    for one in (stream, open_stream(scene.reopen(), WAL)):
        result = one.append(b"next", position=1015)
        assert result.tiers == {"a": Durability.FAILED, "b": Durability.DURABLE}
        assert isinstance(result.errors["a"], Damaged)
    assert scene.store("a").get(key_of(scene.repository, 6)) == b"junk"
    assert bytes_of(scene.repository)[-4:] == b"next"


def test_stream_that_nobody_began_is_not_found() -> None:
    """An unknown name is told from one that cannot be reached."""
    scene = Scene()
    with pytest.raises(StreamNotFound):
        bytes_of(scene.repository)
    open_stream(scene.repository, WAL)
    assert bytes_of(scene.repository) == b""
    for name in ("", "\udc80"):
        with pytest.raises(TextInvalid):
            open_stream(scene.repository, name)


def test_append_of_too_many_bytes_is_refused() -> None:
    """16 MiB are a whole WAL segment; a longer one is cut by whoever appends it."""
    scene = Scene()
    stream = open_stream(scene.repository, WAL)
    with pytest.raises(LimitExceeded):
        stream.append(bytes((16 << 20) + 1))
    assert stream.append(bytes(16 << 20)).end == 16 << 20
    with pytest.raises(LimitExceeded):
        open_stream(scene.repository, "other").append(b"x", position=1 << 63)


def test_checkpoint_holds_what_the_log_says_of_streams() -> None:
    """Whoever opens from a checkpoint knows as much as whoever read the log."""
    scene = Scene()
    filled(scene).say()
    tier = scene.tier("a")
    for number in range(260):
        tier.log.append(lambda _, number=number: _entry(number))  # type: ignore[misc]
    said = tier.log.refresh().streams
    assert tier.log.checkpoint()
    state = scene.reopen().tier("a").log.state
    assert state.base > 0
    assert state.streams == said
    assert state.streams[WAL].number == 5


def _entry(number: int) -> object:
    from repository.stored.log_entry import IndexChanged

    return IndexChanged(time_ns=number, reason="test")


def test_pieces_are_locked_and_a_tier_that_does_not_lock_is_left_out() -> None:
    """Who asked for locks has them, or is told."""
    scene = Scene(stores=[MemoryObjectStore("a", locks=True), MemoryObjectStore("b")])
    stream = open_stream(scene.repository, WAL, lock_days={"a": 10, "b": 10})
    result = stream.append(b"locked")
    assert result.tiers == {"a": Durability.DURABLE, "b": Durability.FAILED}
    stream.say()
    store = scene.store("a")
    found = store.head(key_of(scene.repository, 1))
    assert found is not None and found.lock_until is not None  # noqa: PT018
    assert found.lock_until > store.now() + timedelta(days=9)
    said = scene.reopen().tier("a").log.state.streams[WAL]
    assert said.locked_until is not None
    assert said.locked_from == 1


def test_stream_is_sealed_under_the_domain_that_was_asked_for() -> None:
    """A domain whose keys are not here cannot be appended under."""
    scene = Scene()
    with pytest.raises(RepositoryError):
        open_stream(scene.repository, WAL, domain="tenant")


class Hanging(WrappedStore):
    """A tier whose puts hang until they are let go."""

    def __init__(self, name: str) -> None:
        super().__init__(MemoryObjectStore(name))
        self.is_let_go = threading.Event()
        self.is_let_go.set()

    def put(self, key: str, body: Body, **options: Any) -> None:
        """Wait, then pass on."""
        self.is_let_go.wait()
        self.inner.put(key, body, **options)


def test_tier_that_hangs_holds_up_nobody_who_did_not_ask_for_it() -> None:
    """It is told as behind, waited for no second time, and level again when it answers."""
    stores = [Hanging("a"), Hanging("b")]
    scene = Scene(stores=stores)
    decider = min(scene.repository.tiers, key=lambda tier: tier.log.state.tier_id or b"").name
    (slow,) = (store for store in stores if store.name != decider)
    stream = open_stream(scene.repository, WAL, patience_seconds=0.01)
    stream.append(b"0")
    slow.is_let_go.clear()
    for number in range(1, 5):
        result = stream.append(b"%d" % number)
        assert result.tiers == {decider: Durability.DURABLE, slow.name: Durability.BEHIND}
        assert isinstance(result.errors[slow.name], TierBehind)
    slow.is_let_go.set()
    written = b"01234"

    for _ in range(8):
        for copy in stream._copies:
            copy.wait()
        written += b"+"
        stream.append(b"+")
    for copy in stream._copies:
        copy.wait()
    assert bytes_of(scene.reopen(), tiers=[slow.name]) == written


def test_piece_that_only_tiers_have_which_are_away_is_not_told_as_lost() -> None:
    """Neither to whoever appends once more nor to whoever reads; when they are back, all is there."""
    stores = [Away(name) for name in "abc"]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL)
    stores[0].is_away = True
    stream.append(b"kept")
    stores[0].is_away, stores[1].is_away, stores[2].is_away = False, True, True
    for _ in range(3):
        with pytest.raises(NoUsableTier) as caught:
            stream.append(b"kept", position=0)
        assert caught.value.retry is Retry.LATER
        assert TierUnreachable in {type(error) for error in caught.value.causes}
    assert stream.head.number == 1
    stores[1].is_away = False
    assert bytes_of(scene.repository) == b"kept"
    for store in stores:
        store.is_away = False
    assert stream.append(b"kept", position=0).number == 1
    stream.append(b"more")
    assert bytes_of(scene.reopen()) == b"keptmore"


@pytest.mark.parametrize("is_away_when_opened", [False, True])
def test_gap_is_told_as_unknown_while_a_tier_that_may_fill_it_is_away(*, is_away_when_opened: bool) -> None:
    """What one tier lost the other one may have: nobody knows until it answers. Who names the tier gets its word."""
    stores = [Away("a"), Away("b")]
    scene = Scene(stores=stores)
    stream = filled(scene)
    stream.say()
    stores[0].delete(key_of(scene.repository, 3))
    stores[1].is_away = is_away_when_opened
    scene.reopen()
    reader = read_stream(scene.repository, WAL)
    assert [next(reader).number for _ in range(2)] == [1, 2]
    stores[1].is_away = True
    with pytest.raises(NoUsableTier) as caught:
        next(reader)
    assert caught.value.retry is Retry.LATER
    assert (caught.value.context["number"], caught.value.context["position"]) == (3, 1003)
    with pytest.raises(StreamGap):
        bytes_of(scene.repository, tiers=["a"])
    with pytest.raises(NoUsableTier):
        open_stream(scene.repository, WAL).append(b"\2" * 3, position=1003)
    stores[1].is_away = False
    assert len(bytes_of(scene.reopen())) == 15


@example([("away", 0), ("append", 0), ("away", 0), ("away", 1), ("away", 2), ("again", 0)])
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["append", "again", "away", "reopen", "say"]), st.integers(0, 2)), max_size=30)
)
def test_whatever_happens_what_was_acknowledged_is_read_back(steps: list[tuple[str, int]]) -> None:
    """Tiers come and go, writers die and come back: each append that succeeded is there, in order, on all tiers."""
    stores = [Away(name) for name in "abc"]
    scene = Scene(stores=stores)
    stream = open_stream(scene.repository, WAL)
    written = b""
    for number, (step, which) in enumerate(steps):
        data = b"<%d>" % number
        if step == "away":
            stores[which].is_away = not stores[which].is_away and sum(each.is_away for each in stores) < 2
        elif step == "reopen":
            for store in stores:
                store.is_away = False
            stream = open_stream(scene.reopen(), WAL)
        elif step == "say":
            stream.say()
        else:
            start = max(len(written) - 1 - which, 0) if step == "again" and written else len(written)
            data = written[start:] or data
            try:
                stream.append(data, position=start)
                written = written[:start] + data
            except NoUsableTier:
                # Who has what came before is away; what was acknowledged is never told as lost.
                assert any(store.is_away for store in stores)
    for store in stores:
        store.is_away = False
    stream = open_stream(scene.reopen(), WAL)
    for _ in range(12):
        stream.append(b"end")
        written += b"end"
    for tier in "abc":
        assert scene.repository.tier(tier).state is TierState.READY
        assert bytes_of(scene.repository, tiers=[tier]) == written
