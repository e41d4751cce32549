"""The controls that audits look at, declared once: article by article, what is asked, and what to do where it fails.

A starting list with citations, split so that one verdict is about one thing. It is no legal advice. Who evaluates a
control is the compliance service; of one that nobody evaluates yet the verdict is *no evidence*, which never counts as
a pass.
"""

from collections.abc import Mapping

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


_NOT_RECORDED = "The platform records nothing yet that decides this: keep the evidence yourself, beside these reports."
_CRITICAL, _HIGH, _MEDIUM, _LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW

_GDPR = (
    ("GDPR-5e", "5(1)(e)", _HIGH, "No recovery point is kept past its retention without a hold", _NOT_RECORDED),
    ("GDPR-5f", "5(1)(f), 32(1)(a)", _CRITICAL, "Every recovery point is encrypted under a live key", _NOT_RECORDED),
    ("GDPR-7", "7(1), (3)", _HIGH, "Consent is recorded, and nothing is done after its withdrawal", _NOT_RECORDED),
    (
        "GDPR-17-1",
        "17, 12(3)",
        _CRITICAL,
        "Every erasure is complete within a month of the request, at every location",
        "Look at what stands against it, or is left of it (GET /api/backup/compliance/erasures). Where a hold or a "
        "legal obligation keeps it, tell the data subject so, and why (12(4)).",
    ),
    (
        "GDPR-17-2",
        "17",
        _CRITICAL,
        "Nothing that was erased was restored since",
        "Find out from what it was restored, and erase that as well: a copy of a tier and of its key, most likely.",
    ),
    (
        "GDPR-19-1",
        "19",
        _HIGH,
        "Every location that had keys of an erased data subject has acknowledged the erasure",
        "See which location is away or locked (`places` of the erasure), and bring it back: the erasure goes on then.",
    ),
    ("GDPR-19-2", "19", _HIGH, "Every other recipient was told of an erasure", _NOT_RECORDED),
    ("GDPR-20", "20", _MEDIUM, "Exports are machine-readable, and delivered in time", _NOT_RECORDED),
    ("GDPR-25", "25", _HIGH, "Personal fields are encrypted for each subject, by default", _NOT_RECORDED),
    (
        "GDPR-30",
        "30(1)",
        _MEDIUM,
        "Every configuration in force says its purpose, its data categories, its recipients and its retention",
        "Give each configuration `purpose`, `dataCategories` and `retentionPolicyId`; its recipients are its tiers.",
    ),
    ("GDPR-32c", "32(1)(c)", _HIGH, "The measured time of a restore is within its target", _NOT_RECORDED),
    (
        "GDPR-32d",
        "32(1)(d)",
        _HIGH,
        "A disaster recovery plan was tested within the last 90 days, and all came back whole and in time",
        "Test a plan (POST /api/backup/disaster-recovery/test), or give it a `testingSchedule`; mend what it finds.",
    ),
    ("GDPR-33", "33", _CRITICAL, "A breach is decided on within 72 hours", _NOT_RECORDED),
    ("GDPR-44", "44-46", _HIGH, "Every tier is in an allowed region, or has a basis of transfer", _NOT_RECORDED),
)
_CCPA = (
    (
        "CCPA-100",
        "1798.100(a)(3), (c)",
        _MEDIUM,
        "Every configuration in force names its data categories and how long they are kept",
        "Give each configuration `dataCategories` and `retentionPolicyId`.",
    ),
    (
        "CCPA-105-1",
        "1798.105; 11 CCR 7021(b)",
        _CRITICAL,
        "Every deletion is complete within 45 days of the request, at every location",
        "Look at what stands against it, or is left of it (GET /api/backup/compliance/erasures).",
    ),
    (
        "CCPA-105-2",
        "1798.105; 11 CCR 7022(d)",
        _CRITICAL,
        "Nothing that was deleted was restored since",
        "Find out from what it was restored, and erase that as well.",
    ),
    ("CCPA-110", "1798.110, 1798.130(a)(2)", _HIGH, "Requests are acknowledged and answered in time", _NOT_RECORDED),
    ("CCPA-120", "1798.120", _HIGH, "An opt-out survives a restore", _NOT_RECORDED),
    ("CCPA-REC", "11 CCR 7101", _MEDIUM, "The log of requests is kept for 24 months", _NOT_RECORDED),
    ("CCPA-AUD", "11 CCR 7123", _MEDIUM, "Evidence of factors, encryption and backups is exported", _NOT_RECORDED),
)
_HIPAA = (
    (
        "HIPAA-7A",
        "164.308(a)(7)(ii)(A)",
        _CRITICAL,
        "The latest restore was an exact copy of what was backed up",
        "Look at why the latest restore failed (its `error`), mend that, and restore again.",
    ),
    ("HIPAA-7B", "164.308(a)(7)(ii)(B)", _HIGH, "A plan for disasters is approved", _NOT_RECORDED),
    ("HIPAA-7C", "164.308(a)(7)(ii)(C)", _HIGH, "There is a procedure for emergencies", _NOT_RECORDED),
    ("HIPAA-7D", "164.308(a)(7)(ii)(D)", _MEDIUM, "The plan is tested and revised", _NOT_RECORDED),
    ("HIPAA-7E", "164.308(a)(7)(ii)(E)", _MEDIUM, "It is said how critical each asset is", _NOT_RECORDED),
    ("HIPAA-1D", "164.308(a)(1)(ii)(D)", _MEDIUM, "The logs are reviewed regularly", _NOT_RECORDED),
    ("HIPAA-310d", "164.310(d)(2)(i), (iii), (iv)", _MEDIUM, "Media are disposed of provably", _NOT_RECORDED),
    (
        "HIPAA-312a-i",
        "164.312(a)(2)(i)",
        _HIGH,
        "Everybody who asked for something is told apart by an id of their own",
        "See which identity has no subject of its own, and give each person an account.",
    ),
    ("HIPAA-312a-ii", "164.312(a)(2)(ii)", _MEDIUM, "Access in an emergency is tested", _NOT_RECORDED),
    ("HIPAA-312a-iv", "164.312(a)(2)(iv)", _CRITICAL, "What is stored is encrypted", _NOT_RECORDED),
    (
        "HIPAA-312b",
        "164.312(b)",
        _CRITICAL,
        "The audit log is whole, and its checkpoints are the roots of its entries",
        "Somebody has changed the log or its hashes: keep the database as it is, and find out who. Compare with an "
        "exported copy.",
    ),
    (
        "HIPAA-312c",
        "164.312(c)",
        _CRITICAL,
        "Of every completed run of the last 90 days tiers were read back and compared",
        "Run the configuration again; a run that verified nothing has no proof of what its tiers hold.",
    ),
    (
        "HIPAA-312d",
        "164.312(d)",
        _CRITICAL,
        "Every restore was asked for with a second factor, but those of tests in a place of their own",
        "Find out by whom and why a restore was asked for without one, and take that way away.",
    ),
    ("HIPAA-312e", "164.312(e)", _HIGH, "What is transmitted is encrypted", _NOT_RECORDED),
    ("HIPAA-316", "164.316(b)(2)(i)", _MEDIUM, "Documentation is kept for six years", _NOT_RECORDED),
)
_SOX = (
    ("SOX-302", "302(a)(4)", _HIGH, "A certification is signed, and bound to a checkpoint of the log", _NOT_RECORDED),
    ("SOX-404-AC", "404", _HIGH, "Nobody approves what they asked for; access is reviewed", _NOT_RECORDED),
    (
        "SOX-404-CM-1",
        "404 (change management)",
        _MEDIUM,
        "Every change of a configuration has its actor, and what it said before and after",
        "A change without one has come from outside the API: find out how.",
    ),
    (
        "SOX-404-CM-2",
        "404 (change management)",
        _HIGH,
        "Every change of a configuration was approved by a second person",
        "The platform knows no approvals yet: keep them in your own change record.",
    ),
    (
        "SOX-404-OP-1",
        "404 (operations)",
        _HIGH,
        "Every run that a schedule asked for has ended, and none was missed",
        "Look at the runs that were missed, or have not ended two hours after they fell due.",
    ),
    (
        "SOX-404-OP-2",
        "404 (operations)",
        _HIGH,
        "Every run that failed was followed by one that completed",
        "Mend what the latest run of the configuration failed by (its `error`), and run it again.",
    ),
    ("SOX-802", "802; 17 CFR 210.2-06", _HIGH, "Tagged records are locked for seven years", _NOT_RECORDED),
)
_BACKUP = (
    (
        "BK-1",
        "AWS Audit Manager: in a plan",
        _HIGH,
        "Every configuration in force has a schedule",
        "Give the configuration a `schedule`.",
    ),
    ("BK-2", "AWS Audit Manager: frequency, retention", _MEDIUM, "Daily, and kept for 35 days", _NOT_RECORDED),
    ("BK-3", "AWS Audit Manager: manual delete", _HIGH, "Nobody can delete recovery points by hand", _NOT_RECORDED),
    ("BK-4", "AWS Audit Manager: encrypted", _CRITICAL, "Recovery points are encrypted", _NOT_RECORDED),
    ("BK-5", "AWS Audit Manager: minimum retention", _MEDIUM, "Recovery points are kept long enough", _NOT_RECORDED),
    ("BK-6", "AWS Audit Manager: cross-region", _MEDIUM, "A copy is in another region", _NOT_RECORDED),
    ("BK-7", "AWS Audit Manager: cross-account", _MEDIUM, "A copy is in another account", _NOT_RECORDED),
    (
        "BK-8",
        "AWS Audit Manager: locked",
        _HIGH,
        "Every configuration in force asks for an object lock on one tier at least",
        "Give a destination of the configuration `lockDays`, at a location that promises object locks.",
    ),
    (
        "BK-9",
        "AWS Audit Manager: last recovery point",
        _HIGH,
        "Every configuration in force has a recovery point of the last 24 hours",
        "Run the configuration, and give it a schedule of once a day at least.",
    ),
    (
        "BK-10",
        "AWS Audit Manager: time of a restore",
        _MEDIUM,
        "A restore takes no longer than its target",
        _NOT_RECORDED,
    ),
)

CONTROLS: Mapping[str, Control] = {
    name: Control(name, framework, citation, severity, asked, remedy)
    for framework, rows in (
        (Framework.GDPR, _GDPR),
        (Framework.CCPA, _CCPA),
        (Framework.HIPAA, _HIPAA),
        (Framework.SOX, _SOX),
        (Framework.BACKUP, _BACKUP),
    )
    for name, citation, severity, asked, remedy in rows
}
"""Every control by its id, which is never given to another one."""
