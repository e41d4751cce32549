"""The audit log: every event once, in the order of its record, provable, whatever is killed or replaced."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chassis.auditlog import tree
from chassis.auditlog.files import KEY
from chassis.auditlog.tree import TileId
from chassis.life.health import Health
from chassis.reading.stored import Place
from chassis.reading.stream_reader import every_stream
from contracts import errors
from contracts.config_events import ConfigurationCreated
from contracts.envelope import encode
from contracts.errors import PlatformError
from contracts.executor_events import BackupAccepted
from contracts.gateway_events import AccessDenied, BackupRequested
from contracts.samples import sample_event
from services.compliance.adapters.generations import HAVE_IT
from services.compliance.adapters.log import AuditLogTable, announce_record
from services.compliance.bootstrap import add_log_checks
from tests.support.compliance import AuditBench, audit_bench
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

WAITING = "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
LOG = "SELECT service, position, body FROM audit_entries WHERE organisation = %s ORDER BY place"
EVENTS = [sample_event(each) for each in (BackupRequested, AccessDenied, ConfigurationCreated, BackupAccepted)]


@pytest.fixture
async def audit(tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer) -> AsyncIterator[AuditBench]:
    """An audit log on a NATS server of its own."""
    async with audit_bench(tmp_path, postgres, own_nats) as bench:
        yield bench


class Dying(AuditLogTable):
    """A process that is killed behind so many appends: they are in the log, and it does not know so."""

    appends = 0

    async def append(self, service: str, after: Place, messages: Any, reached: Place) -> bool:
        """Append, and break off."""
        await super().append(service, after, messages, reached)
        self.appends += 1
        raise RuntimeError("killed")


def _root(audit: AuditBench, organisation: str) -> tuple[int, bytes]:
    rows = audit.rows("SELECT leaf FROM audit_entries WHERE organisation = %s ORDER BY place", organisation)
    if not organisation:
        rows = audit.rows("SELECT leaf FROM audit_entries ORDER BY number")
    edge = tree.Edge()
    edge.append(bytes(leaf) for (leaf,) in rows)
    return edge.size, edge.root()


async def test_every_event_is_in_the_log_once_whatever_is_killed(audit: AuditBench) -> None:
    """Bytes as they were published, in the order of each record, in the log of their organisation and the platform's.

    Killed behind each append, and two at once. Each checkpoint is the root of the entries that it counts.
    """
    told = []
    for organisation in ("org-a", "org-b", "org-a"):
        told += [await audit.facts.publish(event, organisation=organisation) for event in EVENTS]
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await audit.follower(Dying(audit.pool, audit.log()._signing)).catch_up()
        first, second = audit.follower(), audit.follower()
        async with every_stream(first._nats()) as one, every_stream(second._nats()) as other:
            while await first._round(one) or await second._round(other):
                pass
    for organisation in ("org-a", "org-b"):
        kept = audit.rows(LOG, organisation)
        for service in ("gateway", "config", "executor"):
            published = [encode(each) for each in told if (each.organisation, each.owner) == (organisation, service)]
            assert [bytes(body) for owner, _, body in kept if owner == service] == published
        assert len(kept) == sum(each.organisation == organisation for each in told)
    for organisation in ("", "org-a", "org-b"):
        size, root = _root(audit, organisation)
        signed = audit.rows(
            "SELECT size, root FROM audit_checkpoints WHERE organisation = %s ORDER BY size DESC LIMIT 1", organisation
        )
        assert [(size, root)] == [(at, bytes(told_root)) for at, told_root in signed]
        for at, told_root in audit.rows(
            "SELECT size, root FROM audit_checkpoints WHERE organisation = %s", organisation
        ):
            tiles = {
                TileId(level, number): bytes(hashes)
                for level, number, hashes in audit.rows(
                    "SELECT level, number, hashes FROM audit_tiles WHERE organisation = %s", organisation
                )
            }
            proof = tree.roots(tree.consistency(at, size), tiles)
            assert tree.roots_from_consistency(at, size, bytes(told_root), proof) == (bytes(told_root), root)
    access = audit.rows("SELECT access, count(*) FROM audit_entries GROUP BY 1 ORDER BY 1")
    assert access == [("allowed", 3), ("denied", 3), (None, 6)]


async def test_append_that_breaks_off_in_the_middle_leaves_nothing(audit: AuditBench) -> None:
    """Entries are written before their checkpoint: where that cannot be, neither they nor the place are there."""
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    await audit.catch_up()
    schema = Identifier(audit.access.schema)
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    with psycopg.connect(audit.access.admin_dsn, autocommit=True) as admin:
        admin.execute(SQL("ALTER TABLE {}.audit_checkpoints RENAME TO elsewhere").format(schema))
        with pytest.raises(PlatformError) as refused:
            await audit.catch_up()
        assert refused.value.code is errors.UNAVAILABLE
        assert len(audit.rows(LOG, "org-a")) == 1
        assert audit.rows("SELECT position FROM audit_streams WHERE service = 'config'") == [(1,)]
        admin.execute(SQL("ALTER TABLE {}.elsewhere RENAME TO audit_checkpoints").format(schema))
    await audit.catch_up()
    assert len(audit.rows(LOG, "org-a")) == 2


async def test_who_comes_second_does_not_take_the_place_back(audit: AuditBench) -> None:
    """Another process has appended what this one read: nothing is done, and it reads again.

    Also at the same moment: it waits for who has the log, and looks where the place is then.
    """
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    slow = audit.log()
    place, _ = await slow.standing("config")
    follower = audit.follower()
    async with every_stream(follower._nats()) as readers:
        found = await readers["config"].after(place, 10)
        await audit.facts.publish(EVENTS[2], organisation="org-a")
        await audit.catch_up()
        assert not await slow.append("config", place, found.events, found.place)
        assert audit.rows("SELECT position FROM audit_streams WHERE service = 'config'") == [(2,)]
        assert len(audit.rows(LOG, "org-a")) == 2
        place, _ = await slow.standing("config")
        await audit.facts.publish(EVENTS[2], organisation="org-a")
        found = await readers["config"].after(place, 10)
    with psycopg.connect(audit.access.admin_dsn) as other:
        other.execute(SQL("SET search_path TO {}").format(Identifier(audit.access.schema)))
        other.execute(HAVE_IT)
        other.execute("UPDATE audit_streams SET position = 3 WHERE service = 'config'")
        appending = asyncio.create_task(slow.append("config", place, found.events, found.place))
        await eventually(lambda: asyncio.to_thread(audit.rows, WAITING, other.info.backend_pid))
    assert not await appending
    assert len(audit.rows(LOG, "org-a")) == 2


async def test_what_is_no_event_is_kept_too(audit: AuditBench) -> None:
    """Under a relay's name, byte for byte, in the platform's log alone: nobody can tell whose it is."""
    await audit.facts.send_raw("config", "backup.config.org-a.configuration-created.v1", b"\xff not an event")
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    await audit.catch_up()
    kept = audit.rows("SELECT number, organisation, place, type, body FROM audit_entries ORDER BY number")
    assert kept[0] == (0, "", None, "unreadable", b"\xff not an event")
    assert (len(kept), kept[1][:3]) == (2, (1, "org-a", 0))


async def test_record_that_is_published_again_is_in_the_log_once(audit: AuditBench) -> None:
    """A restored record goes on under a new name: what it has kept is not appended again, what it has lost stays.

    Before an operator says so nothing of it is taken in, and the process is not ready.
    """
    for _ in range(3):
        await audit.facts.publish(EVENTS[2], organisation="org-a")
    await audit.catch_up()
    lost = audit.facts.published.pop()
    audit.facts.log, audit.facts.positions["config"] = "log-2", 2
    await audit.facts.publish_again()
    new = await audit.facts.publish(EVENTS[2], organisation="org-a")
    health = Health("compliance")
    follower = audit.follower(health=health)
    with pytest.raises(PlatformError) as refused:
        await follower.catch_up()
    assert refused.value.code is errors.STREAM_OF_ANOTHER_LOG
    assert [each.code for each in (await health.report()).checks] == [errors.STREAM_OF_ANOTHER_LOG.code]
    assert len(audit.rows(LOG, "org-a")) == 3
    await announce_record(audit.access.admin_dsn, audit.access.schema, "config", log="log-2")
    await follower.catch_up()
    kept = audit.rows(LOG, "org-a")
    assert [position for _, position, _ in kept] == [1, 2, 3, 3]
    assert [bytes(body) for *_, body in kept[2:]] == [encode(lost[1]), encode(new)]
    assert {each.status for each in (await health.report()).checks} == {"ready"}


async def test_event_that_was_exchanged_stands_in_the_way(audit: AuditBench, own_nats: NatsServer) -> None:
    """A stream that has another event where one was taken in, under the same name, is told, and nothing is appended."""
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    await audit.catch_up()
    own_nats.stop()
    own_nats.wipe()
    own_nats.start()
    await own_nats.apply()
    audit.facts.positions.clear()
    for _ in range(2):
        await audit.facts.publish(EVENTS[2], organisation="org-a")
    with pytest.raises(PlatformError) as refused:
        await audit.catch_up()
    assert refused.value.code is errors.STREAM_OF_ANOTHER_LOG
    assert len(audit.rows(LOG, "org-a")) == 1


async def test_log_is_not_changed_by_the_service_s_own_role(audit: AuditBench) -> None:
    """Entries and checkpoints stay as they are: what can be changed is hashes, which the checkpoints contradict."""
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    await audit.catch_up()
    for statement in (
        "UPDATE audit_entries SET body = ''",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_checkpoints",
        "UPDATE audit_checkpoints SET note = ''",
    ):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            audit.rows(statement)


async def test_nothing_is_signed_by_another_key(audit: AuditBench) -> None:
    """Missing, cut or exchanged: nothing is appended, and the file is named. With its copy it goes on."""
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    await audit.catch_up()
    path = audit.keys_dir / KEY
    key = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    await audit.facts.publish(EVENTS[2], organisation="org-a")
    for broken in (None, key[:-1], bytes(32)):
        path.unlink(missing_ok=True)
        if broken is not None:
            path.write_bytes(broken)
            path.chmod(0o600)
        with pytest.raises(PlatformError) as refused:
            await audit.catch_up()
        assert (refused.value.code, KEY in refused.value.hint) == (errors.KEYS_UNUSABLE, True)
        assert len(audit.rows(LOG, "org-a")) == 1
    path.write_bytes(key)
    path.chmod(0o640)
    health = Health("compliance")
    add_log_checks(health, audit.log())
    found = [each for each in (await health.report()).checks if each.status != "ready"]
    assert [(each.name, each.code, "0640" in (each.reason or "")) for each in found] == [
        ("audit-log-signing", errors.KEYS_UNUSABLE.code, True)
    ]
    path.chmod(0o600)
    assert (await health.report()).status == "ready"
    await audit.catch_up()
    assert len(audit.rows(LOG, "org-a")) == 2
