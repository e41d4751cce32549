"""Which organisation's repository was begun at which location: what neither the keys nor the tiers can tell once lost.

A row is written when a repository was found or begun at a location, and stays until somebody says that the
location is to be begun anew (`wedsync-backup tiers begin-anew`). It knows the head of the tier's log as it was last
seen, which is only raised, until somebody says that an older one counts (`wedsync-backup tiers accept-history`).
Where a repository is about to be begun is noted before (`intended_repositories`): a run that dies in between leaves one
that the next run looks for. Where a key is all that is left of an organisation, its runs begin nothing until somebody
says so (`new_beginnings`, until one has begun). And it knows the packs that were found damaged there, until they were
read whole; and what a run has met at a location that stays until somebody mends it, until a run went well there.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from contracts import errors
from contracts.errors import PlatformError
from contracts.tier_failure import at_location
from repository.format import ID_LENGTH
from repository.log.state import Head
from repository.opened.seen import SeenTier
from vault.begun import BegunTier

T = TypeVar("T")

WAIT_SECONDS = 30.0
WITNESSES_MAX = 3
"""How many organisations' repositories are looked for where a new organisation's is to be begun."""

_OF = """
    SELECT location, repository_id, tier_id, head_number, head_digest FROM begun_repositories WHERE organisation = %s
    ORDER BY begun_at, location
"""
_INTENDED = "SELECT location FROM intended_repositories WHERE organisation = %s ORDER BY 1"
_INTEND = """
    INSERT INTO intended_repositories (organisation, location) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING
"""
_BEGINS_ANEW = "SELECT FROM new_beginnings WHERE organisation = %s"
_OTHERS = """
    SELECT organisation FROM begun_repositories WHERE location = %s AND organisation <> %s
    ORDER BY begun_at DESC LIMIT %s
"""
_AT = "SELECT organisation FROM begun_repositories WHERE location = %s ORDER BY 1"
_ORGANISATIONS = "SELECT DISTINCT organisation FROM begun_repositories"
_DIVIDED = """
    SELECT organisation, array_agg(DISTINCT location), count(*) OVER () FROM begun_repositories
    WHERE repository_id <> '' GROUP BY organisation HAVING count(DISTINCT repository_id) > 1 ORDER BY 1 LIMIT 1
"""
_NOTE_TROUBLE = """
    UPDATE begun_repositories SET trouble = %(code)s
    WHERE organisation = %(organisation)s AND location = %(location)s AND trouble IS DISTINCT FROM %(code)s
"""
_TROUBLED = """
    SELECT organisation, location, trouble, count(*) OVER () FROM begun_repositories
    WHERE trouble IS NOT NULL ORDER BY organisation, location LIMIT 1
"""
_REMEMBER = """
    WITH done AS (
        DELETE FROM intended_repositories WHERE organisation = %(organisation)s AND location = %(location)s
    ), begun AS (DELETE FROM new_beginnings WHERE organisation = %(organisation)s)
    INSERT INTO begun_repositories (organisation, location, repository_id)
    VALUES (%(organisation)s, %(location)s, %(repository)s)
    ON CONFLICT (organisation, location) DO UPDATE SET repository_id = excluded.repository_id
    WHERE begun_repositories.repository_id = ''
"""
_RAISE_HEAD = """
    UPDATE begun_repositories SET tier_id = %(tier_id)s, head_number = %(number)s, head_digest = %(digest)s
    WHERE organisation = %(organisation)s AND location = %(location)s
        AND (tier_id IS DISTINCT FROM %(tier_id)s OR head_number < %(number)s)
"""
_DAMAGED = "SELECT damaged_packs FROM begun_repositories WHERE organisation = %s AND location = %s"
_NOTE_DAMAGED = """
    UPDATE begun_repositories SET damaged_packs = damaged_packs || %(pack)s::bytea
    WHERE organisation = %(organisation)s AND location = %(location)s
        AND position(%(pack)s::bytea IN damaged_packs) = 0 AND length(damaged_packs) < %(most)s
"""
_FORGET_DAMAGED = """
    UPDATE begun_repositories SET damaged_packs = ''
    WHERE organisation = %s AND location = %s AND damaged_packs = %s
"""
DAMAGED_MAX = 64
"""How many damaged packs of a tier are remembered: one is enough for it not to count as whole."""


class BegunRepositories:
    """The table, asked from threads: calls block, and may raise UNAVAILABLE. Make it on the running event loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()

    def of(self, organisation: str) -> dict[str, BegunTier]:
        """What was begun, by location, the oldest first; the id is empty where a run before this memory began it."""
        return {
            location: BegunTier(repository_id, _seen(tier_id, number, digest))
            for location, repository_id, tier_id, number, digest in self._wait(self._rows(_OF, (organisation,)))
        }

    def intended(self, organisation: str) -> list[str]:
        """Locations at which one was about to be begun and was not noted since."""
        return [row[0] for row in self._wait(self._rows(_INTENDED, (organisation,)))]

    def intend(self, organisation: str, locations: Sequence[str]) -> None:
        """Note where one is about to be begun, before it is. Idempotent."""
        self._wait(self._execute(_INTEND, (organisation, list(locations))))

    def begins_anew(self, organisation: str) -> bool:
        """Whether somebody has said that nothing is left of what the organisation had; until a run has begun anew."""
        return bool(self._wait(self._rows(_BEGINS_ANEW, (organisation,))))

    def others_at(self, location: str, organisation: str) -> list[str]:
        """Some organisations, the latest first, that had a repository at the location before this one."""
        return [row[0] for row in self._wait(self._rows(_OTHERS, (location, organisation, WITNESSES_MAX)))]

    def at(self, location: str) -> list[str]:
        """All organisations that have a repository at the location."""
        return [row[0] for row in self._wait(self._rows(_AT, (location,)))]

    async def organisations(self) -> list[str]:
        """All that have a repository somewhere; to be called on the event loop."""
        return [row[0] for row in await self._rows(_ORGANISATIONS, ())]

    async def check(self) -> PlatformError | None:
        """Which organisations have two repositories: told before a run names tiers of both. On the event loop."""
        rows = await self._rows(_DIVIDED, ())
        if not rows:
            return None
        ((organisation, locations, count),) = rows
        return PlatformError(
            errors.OTHER_REPOSITORY,
            f"{count} organisations have two repositories, such as {organisation}, at {', '.join(locations)}:"
            " no run can use tiers of both",
            hint="Let them go on as one: docs/operations.md, section 6, an organisation has two repositories.",
        )

    async def check_tiers(self) -> PlatformError | None:
        """Which tiers the last run of their organisation could not use: its runs fail or are degraded. As `check`."""
        rows = await self._rows(_TROUBLED, ())
        if not rows:
            return None
        ((organisation, location, trouble, count),) = rows
        code = errors.catalogue().get(trouble, errors.TIER_UNUSABLE)
        return PlatformError(
            code,
            f"{count} tiers of organisations take no backup, such as {location} of {organisation}:"
            f" {code.title[:1].lower()}{code.title[1:]}",
            hint=f"{at_location(code.hint, location)} It is told until a run of {organisation} went well there.",
        )

    def note_trouble(self, organisation: str, location: str, code: str | None) -> None:
        """Remember what a run has met at a location where one was begun; None: it went well. Idempotent."""
        self._wait(self._execute(_NOTE_TROUBLE, {"organisation": organisation, "location": location, "code": code}))

    def remember(self, organisation: str, location: str, repository_id: str, seen: SeenTier | None = None) -> None:
        """Note a repository that was found or begun, and the head that its tier had. Idempotent."""
        values = {"organisation": organisation, "location": location, "repository": repository_id}
        self._wait(self._execute(_REMEMBER, values))
        if seen is not None:
            head = {"tier_id": seen.tier_id, "number": seen.head.number, "digest": seen.head.digest}
            self._wait(self._execute(_RAISE_HEAD, {**values, **head}))

    def damaged(self, organisation: str, location: str) -> tuple[bytes, ...]:
        """The packs (ids) that were found damaged there and have not been read whole since."""
        (found,) = self._wait(self._rows(_DAMAGED, (organisation, location))) or [(b"",)]
        ids = bytes(found[0])
        return tuple(ids[start : start + ID_LENGTH] for start in range(0, len(ids), ID_LENGTH))

    def note_damaged(self, organisation: str, location: str, pack_id: bytes) -> None:
        """Remember a damaged pack. Idempotent."""
        values = {"organisation": organisation, "location": location, "pack": pack_id}
        self._wait(self._execute(_NOTE_DAMAGED, {**values, "most": DAMAGED_MAX * ID_LENGTH}))

    def forget_damaged(self, organisation: str, location: str, pack_ids: tuple[bytes, ...]) -> None:
        """All that `damaged` gave were read whole, or nothing leans on them. What was noted since stays."""
        self._wait(self._execute(_FORGET_DAMAGED, (organisation, location, b"".join(pack_ids))))

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        asked = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return asked.result(timeout=WAIT_SECONDS)
        except TimeoutError as error:
            # The process is stopping, perhaps, and its event loop has ended.
            asked.cancel()
            raise PlatformError(errors.UNAVAILABLE, "what was begun where could not be asked in time") from error

    async def _rows(self, query: Any, parameters: tuple[str | int, ...]) -> list[tuple[Any, ...]]:
        with translated():
            async with self._pool.connection() as connection:
                return await (await connection.execute(query, parameters)).fetchall()

    async def _execute(self, query: Any, parameters: Any) -> None:
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(query, parameters)


def _seen(tier_id: bytes | None, number: int | None, digest: bytes | None) -> SeenTier | None:
    if tier_id is None or number is None or digest is None:
        return None
    return SeenTier(bytes(tier_id), Head(number, bytes(digest)))
