"""A log that was put back to an earlier time: never signed twice under one name, and never in silence."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chassis.auditlog.files import ANEW, KEY, SEEN
from chassis.auditlog.note import is_signed, public_bytes, read_note
from chassis.auditlog.origins import origin_of, since_of
from chassis.clock import SystemClock
from chassis.life.health import Health, Report
from chassis.postgres.database import install_schema
from contracts import errors
from contracts.errors import PlatformError
from contracts.executor_events import BackupAccepted
from contracts.samples import sample_event
from services.compliance.adapters.audits import AuditLogLookups
from services.compliance.adapters.following import AuditLogFollower
from services.compliance.adapters.log import AuditLogTable, announce_record, put_back
from services.compliance.adapters.schema import STATEMENTS
from services.compliance.bootstrap import add_log_checks
from tests.support.compliance import AuditBench, audit_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

EVENT = sample_event(BackupAccepted)
NOTES = """
    SELECT note FROM audit_checkpoints WHERE organisation = %s
    UNION ALL SELECT note FROM audit_openings WHERE organisation = %s
"""


@pytest.fixture
async def audit(tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer) -> AsyncIterator[AuditBench]:
    """An audit log on a NATS server of its own."""
    async with audit_bench(tmp_path, postgres, own_nats) as bench:
        yield bench


async def _append(audit: AuditBench, follower: AuditLogFollower, organisation: str, times: int = 1) -> None:
    for _ in range(times):
        await audit.facts.publish(EVENT, organisation=organisation)
        await follower.catch_up()


async def _refused(follower: AuditLogFollower) -> PlatformError:
    with pytest.raises(PlatformError) as refused:
        await follower.catch_up()
    return refused.value


async def _say(audit: AuditBench, *services: str) -> None:
    """What `refill all --new-incarnation` says, where the log of the record stays what it was."""
    for service in services or ("executor", "compliance"):
        await announce_record(
            audit.access.admin_dsn, audit.access.schema, service, log=audit.facts.log, restarts=service == "compliance"
        )


def _checked(log: AuditLogTable) -> Health:
    health = Health("compliance")
    add_log_checks(health, log)
    return health


def _told(report: Report) -> list[tuple[str, str, str | None]]:
    return [(each.name, each.status, each.code) for each in report.checks if each.status != "ready"]


class Signed(dict[tuple[str, int], bytes]):
    """Every note that ever was: of one name and size there is one root."""

    def look(self, audit: AuditBench) -> Mapping[str, int]:
        """Take in what is signed now; how large the platform's log is under each name."""
        sizes = dict[str, int]()
        for organisation in ("", "org-a", "org-b"):
            for (note,) in audit.rows(NOTES, organisation, organisation):
                told = read_note(note)
                assert self.setdefault((told.origin, told.size), told.root) == told.root
                if not organisation:
                    sizes[since_of(told.origin)] = max(told.size, sizes.get(since_of(told.origin), 0))
        return sizes


async def test_log_that_was_put_back_is_signed_under_another_name(audit: AuditBench) -> None:
    """Shorter, with other entries, below a running process, with and without the file, lost altogether, twice.

    Nothing is appended or signed until that is said; what was signed under one name is never signed otherwise.
    """
    signed = Signed()
    log = audit.log()
    follower = audit.follower(log)
    await _append(audit, follower, "org-a", 2)
    older = audit.copy()
    await _append(audit, follower, "org-a", 2)
    await _append(audit, follower, "org-b", 1)
    assert signed.look(audit) == {"": 5}
    newer = audit.copy()

    audit.put_back(older)
    other = audit.log()
    for each in (log, other):  # by the memory of the process alone, by the file alone
        kept = (audit.keys_dir / SEEN).read_text()
        if each is log:
            (audit.keys_dir / SEEN).unlink()
        refused = await _refused(audit.follower(each))
        assert (refused.code, "had 5 entries, and this one has 2" in refused.message) == (
            errors.AUDIT_LOG_PUT_BACK,
            True,
        )
        assert _told(await _checked(each).report()) == [("audit-log-signing", "not-ready", "audit-log-put-back")]
        (audit.keys_dir / SEEN).write_text(kept)
    assert signed.look(audit) == {"": 2}
    assert (await put_back(audit.access.admin_dsn, audit.access.schema, audit.keys_dir)) is not None
    audit.put_back(newer)
    assert _told(await _checked(other).report()) == []

    audit.put_back(older)
    await _say(audit)
    await follower.catch_up()
    ((at, size, earlier),) = audit.rows("SELECT since, size, earlier FROM audit_generations WHERE number = 2")
    assert (size, read_note(earlier).size) == (2, 5)
    assert abs(datetime.fromisoformat(at) - SystemClock().now()) < timedelta(minutes=10)
    assert signed.look(audit) == {"": 2, at: 5}
    assert {place for (place,) in audit.rows("SELECT size FROM audit_openings WHERE organisation = 'org-b'")} == {0}
    assert audit.rows("SELECT count(*) FROM audit_generations") == [(2,)]
    found = await AuditLogLookups(audit.pool).facts("org-a", SystemClock().now(), [], checks_log=True)
    assert (found.log.size, found.log.broken) == (4, "")

    audit.put_back(older)  # the second time, and of the same copy
    other_follower = audit.follower(other)
    assert (await _refused(other_follower)).code is errors.AUDIT_LOG_PUT_BACK
    await _say(audit)
    await other_follower.catch_up()
    later = sorted(signed.look(audit))
    assert (len(later), later[-1] > at) == (2, True)

    audit.put_back({table: [] for table in older} | {"audit_logs": [b"\t0\n"]})
    lost = audit.log()
    assert "and this one has 0" in (await _refused(audit.follower(lost))).message
    await _say(audit)
    await audit.follower(lost).catch_up()
    assert list(signed.look(audit).values()) == [5]
    assert _told(await _checked(lost).report()) == []
    assert await put_back(audit.access.admin_dsn, audit.access.schema, audit.keys_dir) is None


async def test_memory_that_is_not_there_is_told(audit: AuditBench) -> None:
    """Gone, or an older copy of the folder of the keys was put back: it is written again.

    No note: nothing is signed. Not written: degraded, and the log goes on.
    """
    log = audit.log()
    follower, health, path = audit.follower(log), _checked(log), audit.keys_dir / SEEN
    await _append(audit, follower, "org-a")
    first = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    await _append(audit, follower, "org-a")
    newest = path.read_text()
    for each, left in ((log, None), (audit.log(), None), (log, first), (audit.log(), first)):
        path.unlink() if left is None else path.write_text(left)
        assert _told(await _checked(each).report()) == []
        assert path.read_text() == newest
    path.write_text("nothing of ours")
    assert _told(await health.report()) == [("audit-log-signing", "not-ready", "keys-unusable")]
    assert (await _refused_to_append(audit, follower)).code is errors.KEYS_UNUSABLE
    assert path.read_text() == "nothing of ours"
    path.unlink()
    log._seen._write = _full  # type: ignore[method-assign]
    await follower.catch_up()
    assert _told(await health.report()) == [("audit-log-memory", "degraded", "no-space")]
    del log._seen._write
    assert await health.report() is not None
    assert (_told(await health.report()), read_note(path.read_text()).size) == ([], 3)


def _full(note: str) -> Any:
    raise PlatformError(errors.NO_SPACE, "a file cannot be made", note=note)


async def _refused_to_append(audit: AuditBench, follower: AuditLogFollower) -> PlatformError:
    await audit.facts.publish(EVENT, organisation="org-a")
    return await _refused(follower)


async def test_key_that_was_begun_anew_begins_a_generation(audit: AuditBench) -> None:
    """Gone, it is missed at once; once that is said another one signs, under another name, and both are recorded."""
    log = audit.log()
    await _append(audit, audit.follower(log), "org-a", 2)
    ((old,),) = audit.rows("SELECT public_key FROM audit_generations")
    (audit.keys_dir / KEY).unlink()
    assert _told(await _checked(log).report()) == [("audit-log-signing", "not-ready", "keys-unusable")]
    assert (await _refused_to_append(audit, audit.follower(log))).code is errors.KEYS_UNUSABLE
    assert not (audit.keys_dir / KEY).exists()
    (audit.keys_dir / ANEW).touch()  # the start, which was told so
    begun = audit.log()
    await audit.follower(begun).catch_up()
    assert not (audit.keys_dir / ANEW).exists()
    assert _told(await _checked(begun).report()) == []
    rows = audit.rows("SELECT since, public_key FROM audit_generations ORDER BY number")
    assert [bytes(public) == bytes(old) for _, public in rows] == [True, False]
    notes = [note for (note,) in audit.rows(NOTES, "org-a", "org-a")]
    for since, public in rows:
        of_then = [note for note in notes if read_note(note).origin == origin_of("org-a", since)]
        assert [is_signed(note, read_note(note), bytes(public)) for note in of_then] == [True] * 2
    (audit.keys_dir / ANEW).touch()  # said once more, and nothing is missing
    key = (audit.keys_dir / KEY).read_bytes()
    await _append(audit, audit.follower(), "org-a")
    assert (audit.keys_dir / KEY).read_bytes() == key
    assert audit.rows("SELECT count(*) FROM audit_generations") == [(2,)]
    assert public_bytes((await audit.log()._signing.open(bytes(rows[1][1]))).public_key()) == bytes(rows[1][1])


async def test_key_that_is_begun_anew_does_not_say_that_the_record_is_the_record(audit: AuditBench) -> None:
    """Of a record that was put back meanwhile nothing was said; said twice before it begins, it is one generation."""
    follower = audit.follower()
    await _append(audit, follower, "org-a", 2)
    older = audit.copy()
    await _append(audit, follower, "org-a", 3)
    audit.put_back(older)
    (audit.keys_dir / KEY).unlink()
    (audit.keys_dir / ANEW).touch()
    begun = audit.log()
    assert (await _refused(audit.follower(begun))).code is errors.AUDIT_LOG_PUT_BACK
    assert not (audit.keys_dir / KEY).exists()
    assert audit.rows("SELECT count(*) FROM audit_generations") == [(1,)]
    assert [each[2] for each in _told(await _checked(begun).report())] == ["audit-log-put-back"]
    await _say(audit)
    await _say(audit)
    await audit.follower(begun).catch_up()
    await _append(audit, audit.follower(), "org-a")
    assert audit.rows("SELECT count(*), count(DISTINCT public_key) FROM audit_generations") == [(2, 2)]
    assert _told(await _checked(audit.log()).report()) == []


def test_log_of_an_older_build_is_its_first_generation(postgres: PostgresServer) -> None:
    """What it has signed, and by which key, is known by the tables of this one."""
    old = STATEMENTS[: next(at for at, each in enumerate(STATEMENTS) if "TABLE audit_generations" in each)]
    access = postgres.fresh(statements=old, prefix="compliance")
    try:
        with psycopg.connect(access.admin_dsn, autocommit=True) as admin:
            admin.execute(SQL("SET search_path TO {}").format(Identifier(access.schema)))
            admin.execute("INSERT INTO audit_signer (public_key) VALUES ('of then')")
            admin.execute(
                "INSERT INTO audit_checkpoints (organisation, size, root, note) VALUES ('', 1, 'root', 'note')"
            )
            install_schema(
                access.admin_dsn, service=access.schema, role=access.role, password=None, statements=STATEMENTS
            )
            found = admin.execute(
                "SELECT since, public_key, note FROM audit_generations g JOIN audit_checkpoints ON generation = number"
            ).fetchall()
        assert found == [("", b"of then", "note")]
    finally:
        postgres.drop(access)
