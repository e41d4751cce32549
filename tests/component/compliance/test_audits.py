"""Audits over a real log: by what had happened up to an instant, of one organisation, and never by half of it."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chassis.context import Context
from chassis.handling import Handled, Handling, deal_with
from chassis.ids import new_id
from chassis.record.eventstore import EventStore
from contracts import errors
from contracts.attestations import AttestationKind
from contracts.compliance_events import AttestationRecorded, ComplianceAudited
from contracts.compliance_requests import AttestationSubmitted
from contracts.config_events import ConfigurationCreated
from contracts.controls import ControlVerdict, Framework
from contracts.envelope import decode_data
from contracts.errors import PlatformError
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import ComplianceAuditRequested
from contracts.samples import sample_event
from services.compliance.adapters import audits
from services.compliance.adapters.audits import AuditLogLookups, RecordedAttestations, RecordedAudits
from services.compliance.bootstrap import use_cases
from tests.support.compliance import AuditBench, audit_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.published import assert_as_promised

NOW = datetime.now(UTC)  # noqa: TID251  # the facts' own time
ALL = tuple(Framework)


@pytest.fixture
async def audit(tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer) -> AsyncIterator[AuditBench]:
    """An audit log on a NATS server of its own."""
    async with audit_bench(tmp_path, postgres, own_nats) as bench:
        yield bench


class Auditor:
    """Asks for audits as the gateway does, and has them decided as the handler does."""

    def __init__(self, audit: AuditBench, store: EventStore) -> None:
        self._audit = audit
        self._store = store

    async def attest(self, kind: AttestationKind, **fields: Any) -> AttestationRecorded:
        """Have something attested as the handler does, and what was recorded."""
        asked = msgspec.structs.replace(
            sample_event(AttestationSubmitted), attestation_id=new_id(), kind=kind, **{"holds": True} | fields
        )
        envelope = await self._audit.facts.publish(asked, organisation="org-a", actor="user:ada")
        await self._audit.catch_up()
        log, audits, attestations = AuditLogLookups(self._audit.pool), RecordedAudits(self._store), RecordedAttestations
        case = use_cases(log, audits, attestations(self._store))[AttestationSubmitted]
        context = Context.caused_by(envelope, actor="service:compliance")
        handled = Handled("compliance--record-attestation", envelope.id)
        await deal_with(case, asked, Handling(context=context, handled=handled, actor=envelope.actor))
        (told,) = await self._store.history(asked.attestation_id)
        assert_as_promised(told)
        event = decode_data(told)
        assert isinstance(event, AttestationRecorded)
        await self._audit.facts.publish(event, organisation="org-a")
        return event

    async def ask(
        self,
        at: datetime = NOW,
        *,
        organisation: str = "org-a",
        appended: bool = True,
        frameworks: tuple[Framework, ...] = ALL,
    ) -> ComplianceAudited:
        """Ask, and what was recorded; twice, as messages come."""
        request = msgspec.structs.replace(
            sample_event(ComplianceAuditRequested), audit_id=new_id(), frameworks=frameworks, at=at
        )
        envelope = await self._audit.facts.publish(request, organisation=organisation)
        if appended:
            await self._audit.catch_up()
        case = use_cases(
            AuditLogLookups(self._audit.pool), RecordedAudits(self._store), RecordedAttestations(self._store)
        )[ComplianceAuditRequested]
        context = Context.caused_by(envelope, actor="service:compliance")
        await deal_with(case, request, Handling(context=context, handled=Handled("compliance--audit", envelope.id)))
        (told,) = await self._store.history(request.audit_id)
        assert_as_promised(told)
        event = decode_data(told)
        assert isinstance(event, ComplianceAudited)
        return event


@pytest.fixture
async def auditor(audit: AuditBench) -> AsyncIterator[Auditor]:
    """One, with the service's own record."""
    store = EventStore(dsn=audit.access.dsn, schema=audit.access.schema, service="compliance")
    await store.start()
    yield Auditor(audit, store)
    await store.stop()


def verdicts(audited: ComplianceAudited) -> dict[str, ControlVerdict]:
    """Of each control."""
    return {each.control: each.verdict for each in audited.findings}


async def test_audit_is_of_an_instant_and_of_one_organisation(audit: AuditBench, auditor: Auditor) -> None:
    """What failed then has failed then, whatever happened since; of others nothing is seen."""
    created = sample_event(ConfigurationCreated)
    completed = msgspec.structs.replace(
        sample_event(BackupCompleted), configuration_id=created.configuration_id, code=None
    )
    begun, mended = NOW - timedelta(days=3), NOW - timedelta(days=1)
    await audit.facts.publish(created, organisation="org-a", time=begun)
    await audit.facts.publish(completed, organisation="org-a", time=mended)
    await audit.catch_up()
    then, later = await auditor.ask(begun + timedelta(hours=1)), await auditor.ask(mended + timedelta(hours=1))
    assert verdicts(then)["BK-9"] is ControlVerdict.FAIL
    assert verdicts(later)["BK-9"] is ControlVerdict.PASS
    assert (then.log_size, later.log_size) == (1, 2)
    again = await auditor.ask(begun + timedelta(hours=1))
    assert (again.findings, again.log_root) == (then.findings, then.log_root)
    other = await auditor.ask(organisation="org-b")
    assert set(verdicts(other).values()) == {ControlVerdict.NO_EVIDENCE, ControlVerdict.PASS}
    passed = {name for name, verdict in verdicts(other).items() if verdict is ControlVerdict.PASS}
    assert passed == {"HIPAA-312b"}
    only = await auditor.ask(frameworks=(Framework.SOX,))
    assert {each.control.partition("-")[0] for each in only.findings} == {"SOX"}


async def test_what_came_later_is_not_seen_wherever_it_lies(audit: AuditBench, auditor: Auditor) -> None:
    """Streams have no order among each other: of two events the later one may lie before the other in the log."""
    begun, later = NOW - timedelta(days=3), NOW - timedelta(days=2)
    await audit.facts.publish(sample_event(ConfigurationCreated), organisation="org-a", time=later)
    await audit.catch_up()
    await audit.facts.publish(sample_event(BackupCompleted), organisation="org-a", time=begun)
    await audit.catch_up()
    audited = await auditor.ask(begun)
    assert (audited.log_size, verdicts(audited)["BK-9"]) == (2, ControlVerdict.NO_EVIDENCE)


async def test_what_was_deleted_at_the_end_shows_though_the_log_has_grown_since(
    audit: AuditBench, auditor: Auditor
) -> None:
    """What is left before it has a checkpoint of its own, and what came behind it has happened after the instant."""
    for _ in range(2):
        await audit.facts.publish(sample_event(BackupCompleted), organisation="org-a")
        await audit.catch_up()
    at = datetime.now(UTC)  # noqa: TID251  # the facts' own time
    with psycopg.connect(audit.access.admin_dsn, autocommit=True) as admin:
        admin.execute("SET session_replication_role = replica")
        statement = SQL("DELETE FROM {0}.audit_entries WHERE place = 1")
        admin.execute(statement.format(Identifier(audit.access.schema)))
    found = {each.control: each for each in (await auditor.ask(at)).findings}["HIPAA-312b"]
    assert (found.verdict, "and the log has" in found.because) == (ControlVerdict.FAIL, True), found


async def test_word_is_bound_to_the_log_and_decides_its_control(audit: AuditBench, auditor: Auditor) -> None:
    """Who said it, and the log as it was signed then; the next audit goes by it, and by a later one otherwise."""
    said = await auditor.attest(AttestationKind.CERTIFICATION)
    ((root,),) = audit.rows("SELECT root FROM audit_checkpoints WHERE organisation = 'org-a' AND size = 1")
    assert (said.attested_by, said.log_size) == ("user:ada", 1)
    assert said.log_root == base64.b64encode(bytes(root)).decode()
    await audit.catch_up()
    now = datetime.now(UTC)  # noqa: TID251  # the facts' own time
    assert verdicts(await auditor.ask(now))["SOX-302"] is ControlVerdict.PASS
    assert verdicts(await auditor.ask(NOW - timedelta(days=1)))["SOX-302"] is ControlVerdict.NO_EVIDENCE
    await auditor.attest(AttestationKind.CERTIFICATION, holds=False)
    now = datetime.now(UTC)  # noqa: TID251  # as above
    assert verdicts(await auditor.ask(now))["SOX-302"] is ControlVerdict.FAIL


async def test_audit_waits_for_the_log(audit: AuditBench, auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its own request is not in the log yet, what happened before it may be missing: it is asked again later."""
    monkeypatch.setattr(audits, "MOMENT_SECONDS", 0.2)
    with pytest.raises(PlatformError) as refused:
        await auditor.ask(appended=False)
    assert (refused.value.code, refused.value.retry) == (errors.AUDIT_LOG_BEHIND, errors.AUDIT_LOG_BEHIND.retry)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE {0}.audit_entries SET body = body || ' '::bytea WHERE place = 1", "are not those that were signed"),
        ("DELETE FROM {0}.audit_entries WHERE place = 1", "1 entries are missing"),
        ("UPDATE {0}.audit_checkpoints SET note = replace(note, E'\\n2\\n', E'\\n4\\n')", "is not signed by"),
        ("DELETE FROM {0}.audit_entries WHERE place >= 0", "2 entries are missing"),
        ("UPDATE {0}.audit_entries SET type = 'x.y.v1' WHERE place = 1", "is found by what its bytes do not say"),
    ],
    ids=["rewritten", "deleted", "another checkpoint", "all deleted", "found otherwise"],
)
async def test_log_that_an_administrator_has_changed_fails(
    audit: AuditBench, auditor: Auditor, change: str, told: str
) -> None:
    """Whoever may switch the triggers off changes entries or checkpoints: the next audit says so."""
    for _ in range(2):
        await audit.facts.publish(sample_event(BackupCompleted), organisation="org-a")
    await audit.catch_up()
    with psycopg.connect(audit.access.admin_dsn, autocommit=True) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute(SQL(change).format(Identifier(audit.access.schema)))  # type: ignore[arg-type]
    at = datetime.now(UTC)  # noqa: TID251  # the facts' own time
    found = {each.control: each for each in (await auditor.ask(at)).findings}["HIPAA-312b"]
    assert (found.verdict, told in found.because) == (ControlVerdict.FAIL, True), found
