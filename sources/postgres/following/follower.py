"""Follows a database: what its slot tells is appended to a stream, and then, and not before, the slot lets go of it.

Promise: whoever dies at any time, and is begun again, leaves nothing out: what was not let go of is told once more.
What could not be told (a slot that was lost, or is another one's) is a gap that only a dump closes: the stream says so
before a new slot is made, and a new life of it begins behind that. Whoever waits for the tiers asks `guard`, so that
the source's disk is not filled meanwhile.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from repository.backup.source import SourceUnreachable
from repository.errors import Retry
from repository.opened.open_tiers import OpenTiers
from repository.streams.errors import StreamNotFound
from repository.streams.reading import read_stream
from repository.streams.stream import Appended, Stream
from sources.postgres.following.messages import Commit, message_of
from sources.postgres.following.record import (
    Followed,
    LeftOut,
    Life,
    Part,
    State,
    encoded,
    lives_of,
    part_of,
    parts_from,
)
from sources.postgres.following.slot import SERVER_MIN, Look, Slot
from sources.postgres.following.visibility import snapshot_of

CHANGES_AT_ONCE: Final = 20_000
"""Messages after which a batch ends; a transaction is told whole."""
_OPEN_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.2


def parts_of(repository: OpenTiers, name: str, *, tiers: Collection[str] | None = None) -> Iterator[Part]:
    """What the stream holds, in order; nothing where there is none. Raises what keeps it from being read."""
    try:
        for piece in read_stream(repository, name, tiers=tiers):
            yield part_of(piece.data)
    except StreamNotFound:
        return


def guard(slot: Slot, keep_max: int) -> None:
    """Drop the slot where the server keeps more bytes for it than that. Raises `SourceUnreachable`, which says so."""
    look = slot.look()
    if look.slot is None or look.slot.is_active:
        return
    kept = look.inserted - look.slot.kept
    if kept > keep_max:
        slot.drop()
        raise SourceUnreachable(
            "the slot was dropped: the server kept more for it than it may",
            hint="What was committed meanwhile is a gap until the next dump. Look at the tiers; --keep-max says how "
            "much the server may keep.",
            reason="slot-dropped",
            retry=Retry.LATER,
            kept_bytes=kept,
        )


class Follower:
    """One database, one stream. `wait` sleeps so many seconds, or raises where it is to end.

    `quiet_seconds`: when nothing happens, so often is said how far the stream reaches.
    """

    def __init__(
        self,
        slot: Slot,
        stream: Stream,
        *,
        quiet_seconds: float,
        wait: Callable[[float], None],
        on_gap: Callable[[Life], None],
    ) -> None:
        self._slot = slot
        self._stream = stream
        self._quiet_us = int(quiet_seconds * 1e6)
        self._wait = wait
        self._on_gap = on_gap
        self._state: State | None = None
        self._said_us = 0
        self._known_us = 0
        self._clock: tuple[int, int] | None = None
        self._tables: dict[int, Followed] = {}
        self._left_out: tuple[LeftOut, ...] = ()
        self._joining: dict[int, str] = {}
        self.appended: Appended | None = None
        self.lives: list[Life] = []

    @property
    def state(self) -> State:
        """What is true of the stream. It is there after `begin`."""
        assert self._state is not None  # noqa: S101 - said above
        return self._state

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to tell of the stream."""
        return self._state is not None

    @property
    def known_us(self) -> int:
        """A time before which nothing was committed that is not in the stream, or will be with the next state."""
        return max(self.state.time_us, self._known_us)

    def say(self) -> None:
        """Have the next poll say how far the stream reaches, and do it. Raises as `poll`."""
        self._said_us = 0
        self.poll()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Tables that are not followed."""
        return self._left_out

    @property
    def joining(self) -> int:
        """Tables that will be, when the transactions have ended that were open when they were added."""
        return len(self._joining)

    def begin(self, parts: Iterable[Part]) -> Look:
        """Go on where the stream ends, or begin a new life of it. Raises `SourceUnreachable`."""
        look = self._slot.look()
        _refuse(look)
        lives = self.lives = lives_of(parts)
        last = lives[-1] if lives else None
        slot = look.slot
        if slot is not None and slot.plugin != "pgoutput":
            hint = "Give another name by --slot."
            raise SourceUnreachable("the slot is somebody else's", hint=hint, retry=Retry.NEVER, reason="slot-foreign")
        goes_on = (
            last is not None
            and not last.last.is_gap
            and slot is not None
            and not slot.is_lost
            and look.is_published
            and last.last.system == look.system
            and slot.told <= last.last.position
        )
        if goes_on:
            assert last is not None  # noqa: S101 - as above
            self._state = last.last
            self._tables = {each.oid: each for each in last.tables}
            self._left_out = last.left_out
            self._said_us = look.clock_us
            self._slot.advance(last.last.position)
            return look
        if last is not None:
            self._on_gap(last)
            if not last.last.is_gap:
                last.last = _bare(last.last, is_gap=True)
                self._append(Part(True, [], last.last))
        return self._begin_life(look)

    def _begin_life(self, look: Look) -> Look:
        slot = look.slot
        self._membership(look)
        if slot is not None and slot.is_lost:
            self._slot.drop()
            slot = None
        if slot is None:
            self._slot.create()
        # A snapshot that is taken now may not yet see what was committed just before the slot began.
        first = self._slot.look()
        opened = snapshot_of(first.snapshot)
        left = _OPEN_SECONDS
        look = self._slot.look()
        while not snapshot_of(look.snapshot).has_outlived(opened):
            if left <= 0:
                hint = "See pg_stat_activity for what began long ago; end it, or run this again when it has ended."
                raise SourceUnreachable("a transaction is open for long", hint=hint, reason="transaction-open")
            self._wait(_AGAIN_SECONDS)
            left -= _AGAIN_SECONDS
            look = self._slot.look()
        told = first.slot.told if first.slot is not None else 0
        self._joining = {}
        tables = tuple(
            Followed(each.oid, each.node, look.snapshot) for each in look.tables if each.is_published and not each.why
        )
        self._tables = {each.oid: each for each in tables}
        self._left_out = _left_out_of(look)
        life = f"{look.system}:{told:X}:{look.clock_us}"
        state = State(life, look.system, look.snapshot, told, first.clock_us, tables, self._left_out)
        self._append(Part(True, [], state))
        self.lives.append(Life(state, state))
        self._state = _bare(state)
        self._said_us = look.clock_us
        return look

    def poll(self) -> int:
        """Tell what was committed since the last time; gives the number of transactions.

        Raises `SourceUnreachable` (reason `slot-lost`: begin anew), and what `Stream.append` raises.
        """
        look = self._slot.look()
        state = self.state
        if look.slot is None or look.slot.is_lost or not look.is_published or look.system != state.system:
            raise SourceUnreachable("the slot is gone", hint="It is begun anew.", reason="slot-lost", answers=True)
        changed = self._membership(look)
        commits: list[int] = []
        count = 0

        def told() -> Iterator[bytes]:
            nonlocal count
            for message in self._slot.peek(CHANGES_AT_ONCE):
                count += 1
                if message[:1] == b"C" and isinstance(found := message_of(message), Commit):
                    commits.append(found.end)
                yield message

        def then() -> State:
            is_all = count < CHANGES_AT_ONCE
            position = max([state.position, *commits, *([look.flushed] if is_all else [])])
            time_us = state.time_us
            if is_all and self._clock is not None and self._clock[1] <= look.flushed:
                time_us = max(time_us, self._clock[0])
            self._known_us = time_us
            return State(
                state.life,
                state.system,
                look.snapshot,
                position,
                time_us,
                tuple(self._tables.values()) if changed else None,
                self._left_out if changed else None,
            )

        is_due = changed or look.clock_us - self._said_us >= self._quiet_us
        new = state
        for part in parts_from(told(), then):
            if part.state is not None:
                new = part.state
            if part.state is None or count or is_due:
                self._append(part)
                self._said_us = look.clock_us if part.state is not None else self._said_us
        if count or is_due:
            self._state = _bare(new)
            self._slot.advance(new.position)
        if self._clock is None or self._clock[1] <= look.flushed:
            self._clock = (look.clock_us, look.inserted)
        return len(commits)

    def _append(self, part: Part) -> None:
        self.appended = self._stream.append(encoded(part))

    def _membership(self, look: Look) -> bool:
        """See that those tables are published that can be followed; whether anything is otherwise than was said."""
        wanted = [each for each in look.tables if not each.why and not each.is_published]
        unwanted = [each for each in look.tables if each.why and each.is_published]
        if wanted or unwanted or not look.is_published:
            self._slot.publish(wanted, unwanted, is_there=look.is_published)
            if wanted:
                # Who began before that may write rows that the slot does not tell.
                after = self._slot.look().snapshot
                self._joining.update(dict.fromkeys((each.oid for each in wanted), after))
        now = snapshot_of(look.snapshot)
        before, left_out = dict(self._tables), self._left_out
        self._tables = {}
        for each in look.tables:
            if each.why or not (each.is_published or each.oid in self._joining):
                continue
            if each.oid in before:
                self._tables[each.oid] = Followed(each.oid, each.node, before[each.oid].since)
            elif each.oid in self._joining:
                added = snapshot_of(self._joining[each.oid])
                if now.sees_all_of(added) and now.has_outlived(added):
                    del self._joining[each.oid]
                    self._tables[each.oid] = Followed(each.oid, each.node, look.snapshot)
            else:  # somebody else has published it, or who did it here has died
                self._joining[each.oid] = look.snapshot
        self._left_out = _left_out_of(look)
        return self._tables != before or self._left_out != left_out


def _bare(state: State, *, is_gap: bool = False) -> State:
    """Without what was said already."""
    return State(state.life, state.system, state.snapshot, state.position, state.time_us, is_gap=is_gap)


def _left_out_of(look: Look) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(f"{each.schema}.{each.name}", each.why) for each in look.tables if each.why)


def _refuse(look: Look) -> None:
    for is_so, message, hint, reason in (
        (look.is_standby, "a standby cannot be followed", "Follow its primary.", "standby"),
        (look.server < SERVER_MIN, "the server is older than Postgres 13", "Dump it more often.", "server-too-old"),
        (look.level != "logical", "the server does not tell its changes",
         "ALTER SYSTEM SET wal_level = logical; then restart it (Supabase has it so).", "wal-level"),
        (look.encoding != "UTF8", "the database is not in UTF-8", "Dump it more often.", "encoding"),
    ):  # fmt: skip
        if is_so:
            raise SourceUnreachable(message, hint=hint, retry=Retry.AFTER_OPERATOR, reason=reason, answers=True)
