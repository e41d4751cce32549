"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from datetime import date

import msgspec

from contracts import errors
from contracts.configuration import (
    BackupType,
    BulkMode,
    ConfigurationState,
    Destination,
    SourceType,
    StorageDestinations,
    Tier,
)
from contracts.configuration_rules import KnownLocation
from gateway.groups.configurations.resources import (
    Configuration,
    ConfigurationContent,
    ConfigurationHealth,
    ConfigurationTest,
    ConfigurationVersion,
    LastRecoveryPoint,
    LastRun,
    NewConfiguration,
    NewConfigurations,
    SourceProtection,
    SourceRule,
    TestEstimate,
    TestFinding,
    TestVerdict,
)
from gateway.groups.configurations.templates import TEMPLATES, fitted
from gateway.http.problems import error_of_code, problem_of
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, BEGAN, CONFIGURATION_ID, EXECUTION_ID, REQUEST_ID, SNAPSHOT_ID, at
from gateway.writes.examples import PENDING
from gateway.writes.resources import ItemResult, RequestState

DESTINATIONS = StorageDestinations(
    local=Destination(location="local", required=True),
    cloud_primary=Destination(location="cloud-primary", required=True),
    cloud_secondary=Destination(location="cloud-secondary"),
    offsite=Destination(location="offsite", lock_days=365),
)


NEW_CONFIGURATION = NewConfiguration(
    name="Photos of the Meyer wedding",
    source_type=SourceType.DIRECTORY,
    source_location="demo-photos",
    source_identifier="2027/meyer",
    backup_type=BackupType.INCREMENTAL,
    storage_destinations=DESTINATIONS,
    compression_enabled=False,
    is_wedding_critical=True,
    wedding_date=date(2027, 6, 12),
    tags=("photos", "2027"),
    exclude=("*.tmp", "/previews/"),
    purpose="Delivery of the wedding album",
    data_categories=("photos",),
)


_ANOTHER = msgspec.structs.replace(NEW_CONFIGURATION, name="Contracts of the Meyer wedding", source_identifier="papers")
NEW_CONFIGURATIONS = NewConfigurations(mode=BulkMode.PARTIAL, items=[NEW_CONFIGURATION, _ANOTHER])
_CREATED = ItemResult(
    index=0,
    state=RequestState.ACCEPTED,
    id=CONFIGURATION_ID,
    resource=f"/api/backup/configurations/{CONFIGURATION_ID}",
)
ALL_CREATED = msgspec.structs.replace(
    PENDING,
    kind="bulk-create-configurations",
    state=RequestState.ACCEPTED,
    resource=f"/api/backup/requests/{PENDING.id}",
    answered_at=at(0.25),
    items=[_CREATED, msgspec.structs.replace(_CREATED, index=1)],
    refused_items=0,
)
SOME_CREATED = msgspec.structs.replace(
    ALL_CREATED,
    items=[
        _CREATED,
        ItemResult(
            index=1,
            state=RequestState.REFUSED,
            problem=problem_of(error_of_code(errors.CONFIGURATION_NAME_TAKEN.code, field="name")),
        ),
    ],
    refused_items=1,
)


CONFIGURATION = Configuration(
    id=CONFIGURATION_ID,
    version=1,
    state=ConfigurationState.ACTIVE,
    name=NEW_CONFIGURATION.name,
    source_type=NEW_CONFIGURATION.source_type,
    source_location=NEW_CONFIGURATION.source_location,
    source_identifier=NEW_CONFIGURATION.source_identifier,
    backup_type=NEW_CONFIGURATION.backup_type,
    storage_destinations=DESTINATIONS,
    compression_enabled=False,
    is_wedding_critical=True,
    wedding_date=NEW_CONFIGURATION.wedding_date,
    tags=["photos", "2027"],
    schedule=None,
    protection=SourceProtection(
        satisfied=True,
        rules=[
            SourceRule(rule="three-copies", satisfied=True, evidence=["source", "local", "cloudPrimary", "offsite"]),
            SourceRule(rule="two-media", satisfied=True, evidence=["directory", "s3"]),
            SourceRule(rule="one-offsite", satisfied=True, evidence=["cloudPrimary", "offsite"]),
            SourceRule(rule="one-immutable", satisfied=True, evidence=["offsite"]),
            SourceRule(rule="zero-errors", satisfied=True, evidence=["completed", "local", "cloudPrimary", "offsite"]),
        ],
    ),
    created_by=ACTOR,
    created_at=at(-3600),
    next_run=None,
    last_run=LastRun(
        execution_id=EXECUTION_ID,
        state="completed",
        degraded=False,
        started_at=BEGAN,
        finished_at=at(92.5),
        error_code=None,
    ),
    last_recovery_point=LastRecoveryPoint(
        execution_id=EXECUTION_ID,
        snapshot_id=SNAPSHOT_ID,
        completed_at=at(92.5),
        tiers=[Tier.LOCAL, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY, Tier.OFFSITE],
    ),
    health=ConfigurationHealth.HEALTHY,
    exclude=["*.tmp", "/previews/"],
    exclude_caches=False,
    retention_policy_id=None,
    purpose=NEW_CONFIGURATION.purpose,
    data_categories=["photos"],
)


CONFIGURATIONS = ListPage[Configuration](items=[CONFIGURATION])


_CONTENT = ConfigurationContent(
    **{name: getattr(CONFIGURATION, name) for name in ConfigurationContent.__struct_fields__}
)
CONFIGURATION_VERSIONS = ListPage[ConfigurationVersion](
    items=[
        ConfigurationVersion(
            version=2,
            change="updated",
            state=ConfigurationState.ACTIVE,
            changed_by=ACTOR,
            changed_at=at(-60),
            request_id=REQUEST_ID,
            changed=["tags"],
            before=_CONTENT,
            after=msgspec.structs.replace(_CONTENT, tags=["photos", "2027", "summer"]),
        )
    ]
)


UNTESTED = ConfigurationTest(configuration_id=CONFIGURATION_ID, verdict=TestVerdict.UNTESTED)
TESTED = ConfigurationTest(
    configuration_id=CONFIGURATION_ID,
    verdict=TestVerdict.FAIL,
    request_id=REQUEST_ID,
    configuration_version=1,
    tested_at=at(4),
    seconds=1.7,
    findings=[
        TestFinding(check="source-reachable", verdict=TestVerdict.PASS),
        TestFinding(check="tier-writable", verdict=TestVerdict.PASS, tier=Tier.OFFSITE),
        TestFinding(
            check="tier-lockable",
            verdict=TestVerdict.FAIL,
            tier=Tier.OFFSITE,
            code=errors.LOCK_NOT_SUPPORTED.code,
            hint=f"{errors.LOCK_NOT_SUPPORTED.hint} The location is offsite.",
        ),
    ],
    estimate=TestEstimate(source_bytes=42_131_456_000, files=48_211, seconds=2317.0, estimated_from="last-run"),
)


_LOCATIONS = {
    "demo-photos": KnownLocation(name="demo-photos", kind="directory", roles=("source",)),
    "demo-bucket": KnownLocation(name="demo-bucket", kind="s3", roles=("source",)),
    "demo-database": KnownLocation(name="demo-database", kind="postgres", roles=("source",)),
    "local": KnownLocation(name="local", kind="directory", roles=("tier",)),
    **{
        name: KnownLocation(name=name, kind="s3", roles=("tier",), lock=True)
        for name in ("cloud-primary", "cloud-secondary", "offsite")
    },
}
TEMPLATE_LIST = ListPage(items=[fitted(template, _LOCATIONS) for template in TEMPLATES])
