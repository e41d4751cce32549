"""What a control is, and what may be found of it."""

import msgspec

from contracts.reading import Growing


class Framework(Growing):
    """Whose rules a control is of."""

    GDPR = "gdpr"
    CCPA = "ccpa"
    HIPAA = "hipaa"
    SOX = "sox"
    BACKUP = "backup"


class Severity(Growing):
    """How bad it is where a control fails."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ControlVerdict(Growing):
    """What was found. `no-evidence`: nothing that is recorded says so or otherwise; it never counts as a pass."""

    PASS = "pass"  # noqa: S105  # a verdict
    FAIL = "fail"
    NO_EVIDENCE = "no-evidence"


class Control(msgspec.Struct, frozen=True):
    """One control. `asked`: what passes; `remedy`: what to do where it does not."""

    id: str
    framework: Framework
    citation: str
    severity: Severity
    asked: str
    remedy: str
