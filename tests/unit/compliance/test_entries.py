"""What becomes of a message as an entry of the audit log."""

import msgspec
import pytest

from contracts.event import pinned_events
from contracts.gateway_events import AccessDenied, ComplianceAuditRequested
from services.compliance.application import TEXT_MAX, entry_of
from services.compliance.domain import UNREADABLE
from services.compliance.policies import ALLOWED, DENIED, access_of

EVIDENCE = b'{"requestId":"r","evidence":{"assurance":"aal1"}}'


def _body(**changed: object) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": "0199a0f2-0000-7000-8000-000000000001",
            "source": "/wedsync-backup/gateway",
            "type": AccessDenied.NAME,
            "subject": "denial/1",
            "time": "2026-11-28T09:00:00Z",
            "datacontenttype": "application/json",
            "organisation": "studio-a",
            "actor": "user:u1",
            "sequence": 1,
            "correlationid": "c",
            "data": {},
        }
        | changed
    )


@pytest.mark.parametrize("field", ["id", "type", "organisation", "actor"])
@pytest.mark.parametrize("text", ["a\0b", "x" * (TEXT_MAX + 1)])
def test_text_that_no_table_takes_costs_its_own_entry_alone(field: str, text: str) -> None:
    """It is in the platform's log, byte for byte, as something that nobody can read."""
    body = _body(**{field: text})
    entry = entry_of("config", "log", 7, body, None)
    assert (entry.type, entry.organisation, entry.actor, entry.body) == (UNREADABLE, "", "", body)
    assert entry_of("config", "log", 7, _body(), None).organisation == "studio-a"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_time_that_no_calendar_has_costs_its_own_entry_alone(time: str) -> None:
    """An envelope takes it, and a row with it could never be read again."""
    assert entry_of("config", "log", 7, _body(time=time), None).type == UNREADABLE


def test_half_a_character_is_no_envelope() -> None:
    """A lone surrogate is valid as an escape, and no text."""
    body = _body().replace(b"user:u1", rb"user:\ud800")
    assert entry_of("config", "log", 7, body, None).type == UNREADABLE


@pytest.mark.parametrize(
    ("name", "data", "access"),
    [
        (AccessDenied.NAME, b"{}", DENIED),
        ("gateway.access-denied.v2", b"{}", DENIED),
        (ComplianceAuditRequested.NAME, EVIDENCE, ALLOWED),
        ("gateway.compliance-audit-requested.v9", b"{}", ALLOWED),
        ("gateway.vault-emptying-requested.v1", EVIDENCE, ALLOWED),
        ("gateway.vault-emptied.v1", b'{"requestId":"r"}', None),
        ("executor.backup-completed.v1", EVIDENCE, None),
        ("nonsense", EVIDENCE, None),
        ("gateway.vault-emptying-requested.v1", b"[1]", None),
    ],
)
def test_newer_builds_requests_are_accesses_too(name: str, data: bytes, access: str | None) -> None:
    """An entry is never written anew: what an older service appends beside a newer gateway is judged once."""
    assert access_of(name, data) == access


def test_every_event_that_says_with_which_evidence_is_an_access() -> None:
    """As this build has them."""
    for name, event in pinned_events().items():
        assert (access_of(name, b"{}") is not None) == ("evidence" in event.__struct_fields__), name
