"""Controls of health records, of books, and of backups themselves (`contracts.controls`)."""

from contracts.control_kinds import Severity

ATTEST = "POST /api/backup/compliance/attestations, `kind`: "
_CRITICAL, _HIGH, _MEDIUM, _LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW
OPENED = "Validate what was not read back (POST /api/backup/recovery/validate), and keep the keys that open it."

HIPAA = (
    (
        "HIPAA-7A",
        "164.308(a)(7)(ii)(A)",
        _CRITICAL,
        "The latest restore was an exact copy of what was backed up",
        "Look at why the latest restore failed (its `error`), mend that, and restore again.",
    ),
    (
        "HIPAA-7B",
        "164.308(a)(7)(ii)(B)",
        _HIGH,
        "A plan for disasters is approved",
        ATTEST + "`plan-approved` with the ids of the plans, after each change.",
    ),
    (
        "HIPAA-7C",
        "164.308(a)(7)(ii)(C)",
        _HIGH,
        "There is a procedure for emergencies",
        ATTEST + "`emergency-procedure`, each year: that it is written down, and where.",
    ),
    (
        "HIPAA-7D",
        "164.308(a)(7)(ii)(D)",
        _MEDIUM,
        "The plan is tested and revised",
        "Test each plan (POST /api/backup/disaster-recovery/test); where nothing has to be changed: "
        + ATTEST
        + "`plan-reviewed`.",
    ),
    (
        "HIPAA-7E",
        "164.308(a)(7)(ii)(E)",
        _MEDIUM,
        "It is said how critical each asset is",
        "Put each configuration into a disaster recovery plan, which says how fast it has to be back.",
    ),
    (
        "HIPAA-1D",
        "164.308(a)(1)(ii)(D)",
        _MEDIUM,
        "The logs are reviewed regularly",
        ATTEST + "`audit-log-review`, each quarter.",
    ),
    (
        "HIPAA-310d",
        "164.310(d)(2)(i), (iii), (iv)",
        _MEDIUM,
        "Media are disposed of provably",
        ATTEST + "`media-disposed` with the locations that are not in use any more: what became of their media.",
    ),
    (
        "HIPAA-312a-i",
        "164.312(a)(2)(i)",
        _HIGH,
        "Everybody who asked for something is told apart by an id of their own",
        "See which identity has no subject of its own, and give each person an account.",
    ),
    (
        "HIPAA-312a-ii",
        "164.312(a)(2)(ii)",
        _MEDIUM,
        "Access in an emergency is tested",
        ATTEST + "`emergency-access-tested`, each year, after a rehearsal with the recovery kit.",
    ),
    (
        "HIPAA-312a-iv",
        "164.312(a)(2)(iv)",
        _CRITICAL,
        "What is stored is encrypted",
        OPENED,
    ),
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
    (
        "HIPAA-312e",
        "164.312(e)",
        _HIGH,
        "What is transmitted is encrypted",
        ATTEST + "`encrypted-transmission` with the locations in use, each year: reached by TLS or by no network.",
    ),
    (
        "HIPAA-316",
        "164.316(b)(2)(i)",
        _MEDIUM,
        "Documentation is kept for six years",
        ATTEST + "`documentation-kept`, each year: that what is required is kept for six years, and where.",
    ),
    (
        "HIPAA-72h",
        "2025 NPRM, proposed 164.308(a)(13), no law yet",
        _LOW,
        "A plan that was executed or tested took 72 hours at most",
        "Find the slow step (the execution of the plan). It is a proposal alone, as of the middle of 2026.",
    ),
)
SOX = (
    (
        "SOX-302",
        "302(a)(4)",
        _HIGH,
        "Within the last quarter a certification was given, bound to a checkpoint of the log",
        ATTEST + "`certification`, each quarter: it has the log's size and root.",
    ),
    (
        "SOX-404-AC-1",
        "404 (access)",
        _HIGH,
        "Nobody approves what they asked for",
        "Find out how an approval by the same person came to be: the platform refuses it.",
    ),
    (
        "SOX-404-AC-2",
        "404 (access)",
        _HIGH,
        "Who has access is reviewed each quarter",
        ATTEST + "`access-review`: that everybody who has a role still needs it, and leavers have none.",
    ),
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
        ATTEST + "`change-approved` with the ids of the requests, by somebody else than who had asked.",
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
    (
        "SOX-802",
        "802; 17 CFR 210.2-06",
        _HIGH,
        "What has the category or tag `financial` or `sox` is locked for seven years",
        "Give such configurations `lockDays` of 2557 at a location that promises object locks.",
    ),
)
BACKUP = (
    (
        "BK-1",
        "AWS Audit Manager: in a plan",
        _HIGH,
        "Every configuration in force has a schedule",
        "Give the configuration a `schedule`.",
    ),
    (
        "BK-2",
        "AWS Audit Manager: frequency, retention",
        _MEDIUM,
        "Every configuration in force runs each day, and keeps 35 days",
        "Give it a schedule of once a day at least, and a policy that keeps 35 days (`keepDaily` or `minimumDays`).",
    ),
    (
        "BK-3",
        "AWS Audit Manager: manual delete",
        _HIGH,
        "No recovery point has gone but by its retention policy",
        "Find out who has the keys and runs `repo forget` by hand, and lock what is stored (`lockDays`).",
    ),
    (
        "BK-4",
        "AWS Audit Manager: encrypted",
        _CRITICAL,
        "Recovery points are encrypted",
        OPENED,
    ),
    (
        "BK-5",
        "AWS Audit Manager: minimum retention",
        _MEDIUM,
        "Whatever a policy says, nothing goes before 35 days",
        "Give its policy `minimumDays` of 35 at least.",
    ),
    (
        "BK-6",
        "AWS Audit Manager: cross-region",
        _MEDIUM,
        "A copy is in another region",
        ATTEST + "`copy-in-another-region` with the locations that are in another region, each year.",
    ),
    (
        "BK-7",
        "AWS Audit Manager: cross-account",
        _MEDIUM,
        "A copy is in another account",
        ATTEST + "`copy-in-another-account` with the locations that belong to another account, each year.",
    ),
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
        "As GDPR-32c.",
    ),
)
