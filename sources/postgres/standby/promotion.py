"""Makes the standby the primary, where nobody else writes, and lets the old primary write again where it is not.

Promise: a standby is promoted only beside a primary that is fenced by the same holder, or that does not answer and of
which the caller says that it is off; never beside one that takes writes. What is of another cluster, has gone another
way, or was promoted by somebody else, is refused and named. Nothing is done twice: who was killed asks again.
"""

import time
from typing import Final

import msgspec

from repository.backup.source import SourceUnreachable
from repository.errors import Retry
from sources.postgres.physical.connection import Connection
from sources.postgres.standby.fencing import unfence
from sources.postgres.standby.server import Server, StandbyRefused, State, look

_PROMOTE_SECONDS: Final = 15.0


class Pair(msgspec.Struct, frozen=True):
    """How both stand; None of a primary that does not answer."""

    primary: State | None
    standby: State


def look_at(primary: Server, standby: Server) -> Pair:
    """How both stand, and that they are a pair. Raises `StandbyRefused`, and `SourceUnreachable` of the standby."""
    state = standby.look()
    try:
        of_primary = primary.look()
    except SourceUnreachable as error:
        if error.context.get("answers"):
            raise  # It is there, and does not let us see whether it writes.
        return Pair(None, state)
    if of_primary.system != state.system:
        raise StandbyRefused(
            "the two servers are of different clusters",
            reason="another-cluster",
            hint="Name the primary from which the standby was made.",
        )
    return Pair(of_primary, state)


def refuse_unless_ready(pair: Pair) -> None:
    """Raise `StandbyRefused` where the standby cannot take over from this primary."""
    primary, standby = pair.primary, pair.standby
    if not standby.is_standby:
        raise StandbyRefused(
            "it is no standby any more: somebody has promoted it",
            reason="promoted-already",
            hint="See which of the two applications write to before anything else is done; fence the other.",
        )
    if primary is not None and primary.is_standby:
        raise StandbyRefused(
            "both servers are standbys", reason="no-primary", hint="Name the primary that they follow."
        )
    if primary is not None and (
        standby.timeline > primary.timeline
        # The primary was asked later: a standby of it is never ahead.
        or (standby.timeline == primary.timeline and standby.written > primary.written)
    ):
        raise StandbyRefused(
            "the standby has what its primary has not: they have parted",
            reason="diverged",
            hint="Make the standby anew from the primary that has the right rows.",
        )


def await_all(primary: Server, standby: Server, *, seconds: float) -> int:
    """Wait until the standby has all of a fenced primary's log; how many bytes are missing still, 0 for none.

    Raises as `look_at` does.
    """
    until = time.monotonic() + seconds
    while True:
        pair = look_at(primary, standby)
        missing = 0 if pair.primary is None else max(pair.primary.written - pair.standby.written, 0)
        if not missing or time.monotonic() > until:
            return missing
        time.sleep(0.05)


def promote(primary: Server, standby: Server, holder: str, *, is_primary_off: bool = False) -> State:
    """Make the standby the primary, open to applications; how it stands then. May be called again by the same holder.

    `is_primary_off`: somebody answers for it that the old primary does not run and does not come back open. Raises
    `StandbyRefused`; `SourceUnreachable` where the standby does not answer, or the primary does and cannot be asked.
    """
    pair = look_at(primary, standby)
    if pair.primary is None and not is_primary_off:
        raise StandbyRefused(
            "the old primary does not answer, and may come back and take writes",
            reason="primary-unknown",
            hint="Switch its machine off, so that it stays off, and say so; or let it answer, to be fenced.",
        )
    if pair.primary is not None and pair.primary.fence != holder:
        raise StandbyRefused(
            "the old primary takes writes" if pair.primary.fence is None else "the old primary is fenced by another",
            reason="not-fenced",
            hint="Fence it first: of two primaries each has rows that the other has not.",
        )

    def do(connection: Connection) -> State:
        state = look(connection)
        if state.is_standby:
            refuse_unless_ready(pair)
            connection.ask(f"SELECT pg_catalog.pg_promote(true, {int(_PROMOTE_SECONDS)})")
            state = look(connection)
            if state.is_standby:
                raise StandbyRefused(
                    "the standby was told to become the primary, and is not yet",
                    reason="promotion-slow",
                    hint="It is tried again.",
                    retry=Retry.LATER,
                )
        elif not _is_own(pair, state, holder):
            refuse_unless_ready(pair)
        if not any(each.is_waited_for for each in state.followers):
            # Of the primary it has the setting to wait for a standby, which it was itself: no commit would end.
            connection.ask("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.ask("SELECT pg_catalog.pg_reload_conf()")
        return state

    standby.asked(do)
    return unfence(standby, holder)


def _is_own(pair: Pair, state: State, holder: str) -> bool:
    """Whether it is this holder who has promoted it: beside a primary that holds still, on the timeline behind it."""
    if pair.primary is None:
        # Beside a primary that is off, one that somebody else has promoted is what was asked for.
        return state.fence in (None, holder)
    return state.timeline == pair.primary.timeline + 1 and state.fence in (None, holder)


def reopen(server: Server, other: Server, holder: str) -> State:
    """Let a fenced primary write again. Raises `StandbyRefused` where the other does, `SourceUnreachable` where that is
    not seen.
    """
    state = other.look()
    if state.writes:
        raise StandbyRefused(
            "the other server takes writes",
            reason="not-fenced",
            hint="Fence that first: of two primaries each has rows that the other has not.",
        )
    return unfence(server, holder)
