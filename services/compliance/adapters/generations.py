"""Under which names the audit log was signed, one after the other, and by whose key.

Promise: under one name there is one history. A log in the database that is not the one that was signed last (shorter,
or other entries) is neither appended to nor signed, until an operator says that it is the record: then it goes on, its
entries as they are, as a new generation under another name. What each log was when it began is signed under that.
"""

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg import AsyncConnection

from chassis.auditlog.note import Checkpoint, public_bytes, read_note, signed
from chassis.auditlog.origins import origin_of, since_of
from chassis.auditlog.tree import EMPTY_ROOT
from services.compliance.adapters.seen import order_of
from services.compliance.adapters.signing import SigningKey
from services.compliance.errors import AuditLogPutBack

PLATFORM = ""
"""The `organisation` of the platform's own log."""
HAVE_IT = "SELECT 1 FROM audit_logs WHERE organisation = '' FOR UPDATE"
"""Whoever appends, or begins a generation, has the platform's log to themselves."""
_CURRENT = "SELECT number, since, public_key, restart FROM audit_generations ORDER BY number DESC LIMIT 1"
_RESTART = "SELECT coalesce(max(number), 0) FROM audit_restarts"
_IS_THERE: LiteralString = """
    SELECT EXISTS (SELECT FROM audit_checkpoints c JOIN audit_generations g ON g.number = generation
            WHERE organisation = '' AND c.size = %(size)s AND root = %(root)s AND since = %(since)s)
        OR EXISTS (SELECT FROM audit_openings WHERE organisation = '' AND note = %(note)s)
"""
_SIZE = "SELECT size FROM audit_logs WHERE organisation = ''"
_LATEST: LiteralString = """
    SELECT note FROM (
        (SELECT generation, size, note FROM audit_checkpoints WHERE organisation = '' ORDER BY size DESC LIMIT 1)
        UNION ALL
        (SELECT generation, size, note FROM audit_openings WHERE organisation = '' ORDER BY generation DESC LIMIT 1)
    ) latest ORDER BY generation DESC, size DESC LIMIT 1
"""
_NAMED: LiteralString = """
    SELECT to_char(greatest(clock_timestamp(), %s::timestamptz + interval '1 second') AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS"Z"')
"""
_BEGIN: LiteralString = """
    INSERT INTO audit_generations (number, since, size, public_key, earlier, restart)
    SELECT %s, %s, size, %s, %s, %s FROM audit_logs WHERE organisation = ''
"""
_LOGS: LiteralString = """
    SELECT organisation, size, root FROM audit_logs LEFT JOIN audit_checkpoints USING (organisation, size)
"""
_OPEN = "INSERT INTO audit_openings (generation, organisation, size, note) VALUES (%s, %s, %s, %s)"


class Generation(NamedTuple):
    """Since when the log has its name, empty of the first; who signs it; which saying of an operator began it."""

    number: int
    since: str
    public: bytes
    restart: int


async def current(database: AsyncConnection[Any]) -> Generation | None:
    """The one that is signed now; None before the first."""
    row = await (await database.execute(_CURRENT)).fetchone()
    return None if row is None else Generation(row[0], row[1], bytes(row[2]), row[3])


async def latest(database: AsyncConnection[Any]) -> str | None:
    """What was signed last of the platform's log, as far as the database knows."""
    row = await (await database.execute(_LATEST)).fetchone()
    return None if row is None else str(row[0])


async def restart_of(database: AsyncConnection[Any], now: Generation | None) -> int | None:
    """What an operator has said, and is not done yet: that the record is the record."""
    row = await (await database.execute(_RESTART)).fetchone()
    said = 0 if row is None else int(row[0])
    return said if said > (0 if now is None else now.restart) else None


async def require_same(database: AsyncConnection[Any], now: Generation | None, seen: Sequence[str]) -> None:
    """Raise AuditLogPutBack where the log is not the one that was signed last. `seen`: what is known of that."""
    for note in seen:
        told = read_note(note)
        since = since_of(told.origin)
        if now is not None and now.since > since:
            continue
        wanted = {"size": told.size, "root": told.root, "since": since, "note": note}
        row = await (await database.execute(_IS_THERE, wanted)).fetchone()
        if row is None or not row[0]:
            row = await (await database.execute(_SIZE)).fetchone()
            raise AuditLogPutBack(told.size, 0 if row is None else int(row[0]))


async def begin_first(database: AsyncConnection[Any], signing: SigningKey) -> tuple[Generation, Ed25519PrivateKey]:
    """The generation of a log of which nothing was ever signed, in whose transaction this is."""
    row = await (await database.execute("SELECT public_key FROM audit_signer")).fetchone()
    key = await signing.open(None if row is None else bytes(row[0]))  # an older build has begun it, in an upgrade
    first = Generation(1, "", public_bytes(key.public_key()), 0)
    await database.execute("INSERT INTO audit_signer (public_key) VALUES (%s) ON CONFLICT DO NOTHING", (first.public,))
    await database.execute(_BEGIN, (first.number, first.since, first.public, None, first.restart))
    return first, key


async def begin_another(database: AsyncConnection[Any], signing: SigningKey, seen: Sequence[str]) -> str | None:
    """Begin a new generation where that was said, in a transaction of its own; the opening note of the platform's log.

    None where nothing is to be begun: another process has done it, or the key is the former one after all.
    Raises AuditLogPutBack where another key alone was asked for, SignerUnknown, and what the disk of the keys says.
    """
    async with database.transaction():
        await database.execute(HAVE_IT)
        now = await current(database)
        restart = await restart_of(database, now)
        if restart is None:
            await require_same(database, now, seen)  # who begins another key has said nothing of the record
        key = await signing.open(None if now is None else now.public, seen)
        public = public_bytes(key.public_key())
        if restart is None and (now is None or now.public == public):
            return None
        since = await _name(database, [each for each in (now.since if now else "", *_named(seen)) if each])
        number = 1 if now is None else now.number + 1
        earlier = max(seen, key=order_of, default=None) or await latest(database)
        await database.execute(
            _BEGIN, (number, since, public, earlier, restart if restart is not None else now.restart if now else 0)
        )
        found = await (await database.execute(_LOGS)).fetchall()
        openings = {
            organisation: _opening(organisation, since, size, EMPTY_ROOT if root is None else bytes(root), key)
            for organisation, size, root in found
        }
        async with database.cursor() as cursor:
            rows = [(number, organisation, size, openings[organisation]) for organisation, size, _ in found]
            await cursor.executemany(_OPEN, rows)
    return openings[PLATFORM]


async def open_new(
    database: AsyncConnection[Any], now: Generation, organisations: Sequence[str], key: Ed25519PrivateKey
) -> None:
    """Say of logs that begin in a later generation that there was nothing of them when it began."""
    if now.since:
        async with database.cursor() as cursor:
            rows = [(now.number, each, 0, _opening(each, now.since, 0, EMPTY_ROOT, key)) for each in organisations]
            await cursor.executemany(_OPEN, rows)


def _opening(organisation: str, since: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    return signed(Checkpoint(origin_of(organisation, since), size, root), key)


def _named(seen: Sequence[str]) -> list[str]:
    return [since_of(read_note(note).origin) for note in seen]


async def _name(database: AsyncConnection[Any], earlier: Sequence[str]) -> str:
    """The present second, and later than every name so far: a clock may have been put back, too."""
    row = await (await database.execute(_NAMED, (max(earlier, default="-infinity"),))).fetchone()
    if row is None:
        raise AssertionError("a query without a condition has a row")
    return str(row[0])
