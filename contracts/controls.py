"""The controls that audits look at, declared once: article by article, what is asked, and what to do where it fails.

A starting list with citations, split so that one verdict is about one thing. It is no legal advice. Who evaluates a
control is the compliance service; of one that nobody evaluates yet the verdict is *no evidence*, which never counts as
a pass.
"""

from collections.abc import Mapping

from contracts.control_kinds import Control as Control
from contracts.control_kinds import ControlVerdict as ControlVerdict
from contracts.control_kinds import Framework as Framework
from contracts.control_kinds import Severity as Severity
from contracts.controls_of_records import ATTEST, BACKUP, HIPAA, OPENED, SOX

_NOT_RECORDED = "The platform records nothing yet that decides this: keep the evidence yourself, beside these reports."
_CRITICAL, _HIGH, _MEDIUM = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM

_GDPR = (
    (
        "GDPR-5e",
        "5(1)(e)",
        _HIGH,
        "No recovery point is kept past its retention without a hold",
        "See why they stay (GET /api/backup/retention/cleanups): a lock, or a tier that is away.",
    ),
    (
        "GDPR-5f",
        "5(1)(f), 32(1)(a)",
        _CRITICAL,
        "Every recovery point is encrypted under a live key",
        OPENED,
    ),
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
    (
        "GDPR-19-2",
        "19",
        _HIGH,
        "Every other recipient was told of an erasure",
        ATTEST + "`recipients-told` with the ids of the erasures, once everybody else who had the data was told.",
    ),
    (
        "GDPR-20",
        "20",
        _MEDIUM,
        "What was taken out for a person was read back, and delivered within a month",
        ATTEST
        + "`portability-delivered` with the recoveries by which they were taken out, and when they were asked for.",
    ),
    (
        "GDPR-25",
        "25",
        _HIGH,
        "Personal fields are encrypted for each subject, by default",
        "Give new configurations `dataSubject` where what they save is one person's, and retire those without.",
    ),
    (
        "GDPR-30",
        "30(1)",
        _MEDIUM,
        "Every configuration in force says its purpose, its data categories, its recipients and its retention",
        "Give each configuration `purpose`, `dataCategories` and `retentionPolicyId`; its recipients are its tiers.",
    ),
    (
        "GDPR-32c",
        "32(1)(c)",
        _HIGH,
        "The measured time of a restore is within its target",
        "Find the slow step (the execution of the plan), make it faster, or set another target (`rtoMinutes`).",
    ),
    (
        "GDPR-32d",
        "32(1)(d)",
        _HIGH,
        "A disaster recovery plan was tested within the last 90 days, and all came back whole and in time",
        "Test a plan (POST /api/backup/disaster-recovery/test), or give it a `testingSchedule`; mend what it finds.",
    ),
    (
        "GDPR-33",
        "33",
        _CRITICAL,
        "Each breach and damage that was found is decided on within 72 hours",
        ATTEST + "`breach-decided` with what was decided about each breach or damage, within 72 hours.",
    ),
    (
        "GDPR-44",
        "44-46",
        _HIGH,
        "Every tier is in an allowed region, or has a basis of transfer",
        ATTEST + "`transfer-allowed` with the locations, each year: that the region is allowed, or by which basis.",
    ),
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
    (
        "CCPA-110",
        "1798.110, 1798.130(a)(2)",
        _HIGH,
        "Requests are acknowledged and answered in time",
        "Take requests on at once (POST /api/backup/compliance/erasures), and end what stands against them.",
    ),
    ("CCPA-120", "1798.120", _HIGH, "An opt-out survives a restore", _NOT_RECORDED),
    (
        "CCPA-REC",
        "11 CCR 7101",
        _MEDIUM,
        "The log of requests is kept for 24 months",
        "The audit log was changed (HIPAA-312b): keep the database as it is, and compare with an exported copy.",
    ),
    (
        "CCPA-AUD",
        "11 CCR 7123",
        _MEDIUM,
        "A cybersecurity audit is made each year, of factors, encryption and backups",
        ATTEST + "`cybersecurity-audit`, each year, with where its report lies.",
    ),
)
CONTROLS: Mapping[str, Control] = {
    name: Control(name, framework, citation, severity, asked, remedy)
    for framework, rows in (
        (Framework.GDPR, _GDPR),
        (Framework.CCPA, _CCPA),
        (Framework.HIPAA, HIPAA),
        (Framework.SOX, SOX),
        (Framework.BACKUP, BACKUP),
    )
    for name, citation, severity, asked, remedy in rows
}
"""Every control by its id, which is never given to another one."""
