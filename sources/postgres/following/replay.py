"""Plays what a database committed behind a dump again, in the order of the commits, each transaction whole or not.

Promise: a transaction that the dump holds is not made twice, one that it does not hold is not left out; the first that
was committed after the wanted time ends it. A table of which that cannot be said is told by name, with the reason, and
stays as far as it came. A transaction that the target refuses ends it, too, and what was reached is told.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO

from repository.errors import Damaged, RestoreRefused, TargetFailed
from sources.postgres.catalog import SESSION, Catalog, Table
from sources.postgres.database import Database
from sources.postgres.following.messages import Begin, Change, Commit, Message, Relation, Truncate, message_of
from sources.postgres.following.record import Life, Part, State, messages_of
from sources.postgres.following.statements import statement_of
from sources.postgres.following.visibility import snapshot_of
from sources.postgres.programs import Complaint, give, psql, tell
from sources.postgres.trouble import unreachable

Tell = Callable[[str, str], None]


def shown_time(time_us: int) -> str:
    """A time in UTC as it is written, to the microsecond."""
    return datetime.fromtimestamp(time_us // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time_us % 10**6:06}Z"


def life_for(catalog: Catalog, lives: Iterable[Life], at_us: int | None) -> Life:
    """The life of the stream that leads from a dump to a time. Raises `RestoreRefused`, with what can be reached."""
    if not catalog.snapshot or not catalog.system:
        raise RestoreRefused(
            "the snapshot does not say which transactions it holds",
            hint="It was made by an earlier version, or from a standby: choose a later one.",
        )
    moment = snapshot_of(catalog.snapshot)
    lives = list(lives)
    found = [each for each in lives if each.carries(moment, catalog.system)]
    if not found:
        raise RestoreRefused(
            "nothing tells what was committed after the snapshot was taken",
            hint="Its database was not followed then (repo follow), or there was a gap: choose a later snapshot, or "
            "restore without --at.",
        )
    life = found[-1]
    if at_us is not None and at_us < catalog.seen_us:
        raise RestoreRefused(
            "the snapshot is younger than the time",
            hint=f"It was taken at {shown_time(catalog.seen_us)}: choose an earlier one.",
        )
    if at_us is not None and at_us > life.last.time_us:
        why = f"There is a gap since {shown_time(gap)}. " if (gap := gap_behind(catalog, lives, life)) else ""
        raise RestoreRefused(
            "the time is not reached",
            hint=f"{why}From this snapshot on can be reached: {shown_time(catalog.seen_us)} to "
            f"{shown_time(life.last.time_us)}. Is the database followed (repo follow)? A later snapshot reaches "
            "further.",
        )
    return life


def gap_behind(catalog: Catalog, lives: Sequence[Life], life: Life) -> int | None:
    """Since when, in microseconds since 1970, nothing leads on from a dump though more was committed; None: unknown."""
    if life is lives[-1] and not life.last.is_gap:
        return None
    return max(life.last.time_us, catalog.seen_us)


class Replay:
    """One. `trouble` is told the table's name and why it is not as it was; `check` raises where it is to end."""

    def __init__(
        self,
        catalog: Catalog,
        tables: Iterable[Table],
        life: Life,
        at_us: int | None,
        *,
        trouble: Tell,
        check: Callable[[], None],
    ) -> None:
        self._moment = snapshot_of(catalog.snapshot)
        self._at_us = at_us
        self._life = life
        self._trouble = trouble
        self._check = check
        self._all = {table.oid for table in catalog.tables}
        self._tables = {table.oid: table for table in tables}
        self._nodes = {table.oid: table.node for table in catalog.tables}
        self._emptied: set[int] = set()
        self._followed: set[int] = set()
        self._given_up: set[int] = set()
        self._relations: dict[int, Relation] = {}
        self._open: Begin | None = None
        self._applied = 0
        self._is_past = False
        self.transactions = 0
        self.last: Begin | None = None

    def script(self, parts: Iterable[Part]) -> Iterator[bytes]:
        """The statements, a piece at a time. Raises `Damaged`."""
        for each in messages_of(self._of_life(parts)):
            if each is None:
                if self._open is not None:
                    self._open = None
                    yield b"ROLLBACK;\n"
            elif isinstance(each, State):
                self._look(each)
                if self._is_past:
                    break
            else:
                self._check()
                try:
                    message = message_of(each)
                    yield from self._of(message)
                except ValueError as error:
                    raise Damaged(f"a database's stream cannot be played: {error}") from error
                if self._is_past:
                    break
        if self._open is not None:
            yield b"ROLLBACK;\n"
        for oid, table in self._tables.items():
            if oid not in self._followed and oid not in self._given_up:
                self._give_up(oid, self._why_not(table))

    def _of_life(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The parts that lie between the first state of the life and its last one."""
        has_begun = False
        for part in parts:
            is_own = part.state is not None and part.state.life == self._life.first.life
            if part.state is not None and not is_own and has_begun:
                return
            if has_begun or is_own:
                has_begun = True
                yield part

    def _why_not(self, table: Table) -> str:
        name = f"{table.schema}.{table.name}"
        why = next((each.why for each in self._life.left_out if each.name == name), "it was added after the snapshot")
        return f"is as the snapshot has it: {why}"

    def _give_up(self, oid: int, why: str) -> None:
        if oid in self._given_up:
            return
        self._given_up.add(oid)
        table = self._tables.get(oid)
        if table is not None:
            self._trouble(f"{table.schema}.{table.name}", why)
        elif oid not in self._all and (relation := self._relations.get(oid)) is not None:
            self._trouble(f"{relation.schema}.{relation.name}", "was made after the snapshot, and is not restored")

    def _look(self, state: State) -> None:
        """What a state says of the tables that the dump holds."""
        moment = self._moment
        if self._at_us is not None and state.time_us > self._at_us:
            self._is_past = True
        if state.tables is None:
            return
        is_behind = snapshot_of(state.snapshot).sees_all_of(moment)
        there = {each.oid: each for each in state.tables}
        for oid, each in there.items():
            if moment.sees_all_of(snapshot_of(each.since)):
                self._followed.add(oid)
            if is_behind and oid in self._nodes and each.node != self._nodes[oid]:
                if oid not in self._emptied:
                    self._give_up(oid, f"was rewritten (ALTER, VACUUM FULL, CLUSTER) before {self._when(state)}")
                self._nodes[oid] = each.node
                self._emptied.discard(oid)
        if is_behind:
            for oid in self._followed & self._tables.keys() - there.keys():
                self._give_up(oid, f"was dropped, or could not be followed any more, before {self._when(state)}")

    def _when(self, state: State) -> str:
        return shown_time(state.time_us)

    def _of(self, message: Message | None) -> Iterator[bytes]:
        if isinstance(message, Begin):
            is_wanted = not self._moment.sees(message.number) and message.position > self._applied
            if is_wanted and self._at_us is not None and message.time_us > self._at_us:
                self._is_past = True
            if is_wanted and not self._is_past:
                self._open = message
                yield b"BEGIN;\n"
        elif isinstance(message, Relation):
            self._relations[message.table] = message
        elif self._open is None:
            return
        elif isinstance(message, Commit):
            begun, self._open = self._open, None
            self._applied = begun.position
            yield b"COMMIT;\nSELECT %d, %d, %d;\n" % begun
        elif isinstance(message, Change):
            if (table := self._table(message.table)) is not None:
                yield statement_of(message, self._relations[message.table], table)
        elif isinstance(message, Truncate):
            self._emptied.update(message.tables)
            names = [table.sql for oid in message.tables if (table := self._table(oid)) is not None]
            if names:
                restart = " RESTART IDENTITY" if message.restarts else ""
                yield f"TRUNCATE ONLY {', ONLY '.join(names)}{restart};\n".encode()

    def _table(self, oid: int) -> Table | None:
        """The table of a change, where it is played."""
        if oid in self._given_up:
            return None
        relation, table = self._relations.get(oid), self._tables.get(oid)
        if relation is None:
            raise ValueError("a change is of no table that was told")
        if table is None or oid not in self._followed:
            if oid not in self._all:
                self._give_up(oid, "")
            return None
        columns = [(name, kind) for name, kind, _ in relation.columns]
        if sorted(columns) != sorted(zip(table.columns, table.types, strict=True)):
            assert self._open is not None  # noqa: S101 - a change is of a transaction
            self._give_up(oid, f"has other columns since {shown_time(self._open.time_us)}, and stays as it was then")
            return None
        return table

    def reached(self) -> dict[str, object]:
        """How far it came, for whoever asked."""
        last = self.last
        return {
            "transactions": self.transactions,
            "asked": shown_time(self._at_us) if self._at_us is not None else "latest",
            "last_commit_time": shown_time(last.time_us) if last is not None else None,
            "last_commit_position": f"{last.position >> 32:X}/{last.position & 0xFFFFFFFF:X}" if last else None,
            "known_until": shown_time(self._life.last.time_us),
        }


def play(replay: Replay, parts: Iterable[Part], database: Database) -> str:
    """Run it against a database; gives why that refused a transaction, which ended it, or nothing.

    Raises `TargetFailed` where the database is not there any more.
    """
    running = psql(database)
    told = threading.Thread(target=_listen, args=(running.output, replay), daemon=True)
    told.start()
    try:
        give(running, f"{SESSION}SET statement_timeout = 0;\n".encode())
        for piece in replay.script(parts):
            give(running, piece)
        tell(running, "")
        told.join()
        running.wait()
    except BrokenPipeError:
        told.join()
        try:
            running.wait()
        except Complaint as complaint:
            return _refused(complaint, database)
        return "the rest was not taken"
    except Complaint as complaint:
        return _refused(complaint, database)
    finally:
        running.close()
    return ""


def _listen(output: IO[bytes], replay: Replay) -> None:
    """Count what was committed: the target says so behind each transaction."""
    with suppress(ValueError, OSError):  # it was closed
        for line in output:
            position, time_us, number = map(int, line.split(b"|"))
            replay.last = Begin(position, time_us, number)
            replay.transactions += 1


def _refused(complaint: Complaint, database: Database) -> str:
    if complaint.is_cut_off and not complaint.state:
        found = unreachable(complaint, database, doing="broke off")
        raise TargetFailed(found.message, hint=found.hint, retry=found.retry, **found.context) from complaint
    return complaint.said
