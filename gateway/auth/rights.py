"""Who may what: the table of the API, declared once.

Every route and the WebSocket name one right (`gateway.auth.guards.needs`, `Write.RIGHT`); which roles have it is said
here and nowhere else. Somebody with several roles may what any of them may. A right whose routes are not there yet is
in the table all the same: it is the API's (docs/api.md), and a new route finds its word.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What an organisation lets a person do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    OWNER = "owner"
    AUDITOR = "auditor"


class Right(StrEnum):
    """What a route lets a person do."""

    READ = "read"
    """Everything of the organisation but what is said of its people."""
    RUN_BACKUPS = "run-backups"
    """Execute, cancel, retry."""
    TEST = "test"
    """Try a configuration or a notification channel: nothing is changed by it."""
    VALIDATE = "validate"
    OPTIMISE = "optimise"
    REHEARSE = "rehearse"
    """Test a recovery or a disaster recovery plan."""
    CONFIGURE = "configure"
    """Configurations, and who is told what of them."""
    SET_RETENTION = "set-retention"
    PLAN_DISASTER_RECOVERY = "plan-disaster-recovery"
    RECOVER = "recover"
    CLEAN_UP = "clean-up"
    MANAGE_KEYS = "manage-keys"
    ERASE = "erase"
    """Destroy what is kept of a data subject."""
    FAIL_OVER = "fail-over"
    APPROVE = "approve"
    READ_ACCESS_LOGS = "read-access-logs"
    """Who did what, and the audit log."""
    AUDIT = "audit"
    """Start compliance audits and security validations."""
    ATTEST = "attest"
    """Put one's name to what nothing else proves."""


_VIEWER = frozenset({Right.READ})
_OPERATOR = _VIEWER | {Right.RUN_BACKUPS, Right.TEST, Right.VALIDATE, Right.OPTIMISE, Right.REHEARSE}
_OWNER = _OPERATOR | {
    Right.CONFIGURE,
    Right.SET_RETENTION,
    Right.PLAN_DISASTER_RECOVERY,
    Right.RECOVER,
    Right.CLEAN_UP,
    Right.MANAGE_KEYS,
    Right.ERASE,
    Right.FAIL_OVER,
    Right.APPROVE,
    Right.ATTEST,
}
MAY: Final[Mapping[Role, frozenset[Right]]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.OWNER: _OWNER,
    Role.AUDITOR: frozenset({Right.READ, Right.READ_ACCESS_LOGS, Right.AUDIT, Right.ATTEST}),
}


def roles_with(right: Right) -> list[Role]:
    """The roles that have a right, by their names."""
    return sorted(role for role, rights in MAY.items() if right in rights)
