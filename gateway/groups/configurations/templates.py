"""Built-in templates: configurations to begin from, with every field explained.

The names of locations are those that the embedded stack registers; `/api/backup/locations` lists what there is.
"""

from datetime import date

from contracts.configuration import BackupType, Destination, SourceType, StorageDestinations
from gateway.groups.configurations.resources import NewConfiguration
from gateway.http.resources import Resource


class FieldHelp(Resource, frozen=True, kw_only=True):
    """What a field means, and what to put there."""

    field: str
    meaning: str


class Template(Resource, frozen=True, kw_only=True):
    """A configuration to begin from. `configuration` can be sent as it is once the source fits."""

    id: str
    title: str
    description: str
    configuration: NewConfiguration
    fields: list[FieldHelp]


FIELDS = [
    FieldHelp(field=name, meaning=meaning)
    for name, meaning in (
        ("name", "How people call it; no other configuration of the organisation has the same name."),
        ("sourceType", "What is backed up: directory."),
        ("sourceLocation", "The registered location that holds the source; /api/backup/locations lists them."),
        ("sourceIdentifier", "A relative path below the source location; empty for all of it."),
        ("backupType", "incremental reads what has changed since the last run; full reads everything again."),
        ("storageDestinations.local", "The tier nearby: the fastest to restore from, lost with the building."),
        ("storageDestinations.cloudPrimary", "The tier in the cloud that restores come from when local is gone."),
        ("storageDestinations.cloudSecondary", "A second region or provider: outlives the first."),
        ("storageDestinations.offsite", "The tier of last resort, with object locks that nobody can shorten."),
        ("storageDestinations.*.location", "The registered location of the tier."),
        ("storageDestinations.*.required", "A run completes only when this tier has everything; others may follow."),
        ("storageDestinations.*.lockDays", "Days during which nobody can delete what a run has written; 0 for none."),
        (
            "storageDestinations.*.storageClass",
            "One of the location's `storageClasses`; empty for the provider's default.",
        ),
        ("compressionEnabled", "Compress what gets smaller by it; photos are stored as they are anyway."),
        ("isWeddingCritical", "Whether losing it would harm a wedding that is still to come."),
        ("weddingDate", "The day of the wedding; kept encrypted, shown to the organisation alone."),
        ("tags", "Words to find it by; no personal data, they are not encrypted."),
    )
]


def _everywhere(lock_days: int) -> StorageDestinations:
    return StorageDestinations(
        local=Destination(location="local", required=True),
        cloud_primary=Destination(location="cloud-primary", required=True),
        cloud_secondary=Destination(location="cloud-secondary"),
        offsite=Destination(location="offsite", lock_days=lock_days),
    )


TEMPLATES: tuple[Template, ...] = (
    Template(
        id="wedding-photos",
        title="Photos of one wedding",
        description="Four tiers, a year under object lock, no attempt to compress what is compressed already.",
        configuration=NewConfiguration(
            name="Photos of a wedding",
            source_type=SourceType.DIRECTORY,
            source_location="demo-photos",
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=_everywhere(365),
            compression_enabled=False,
            is_wedding_critical=True,
            wedding_date=date(2027, 6, 12),
            tags=("photos",),
        ),
        fields=FIELDS,
    ),
    Template(
        id="contracts-directory",
        title="Contracts",
        description="Documents that must be kept: four tiers, ten years under object lock, compressed.",
        configuration=NewConfiguration(
            name="Contracts",
            source_type=SourceType.DIRECTORY,
            source_location="demo-photos",
            source_identifier="contracts",
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=_everywhere(3650),
            tags=("contracts",),
        ),
        fields=FIELDS,
    ),
    Template(
        id="whole-supplier",
        title="Everything of a supplier",
        description="The whole source location on four tiers, three months under object lock.",
        configuration=NewConfiguration(
            name="Everything",
            source_type=SourceType.DIRECTORY,
            source_location="demo-photos",
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=_everywhere(90),
        ),
        fields=FIELDS,
    ),
    Template(
        id="archive-only",
        title="Archive",
        description="Seldom read, never changed: read in full, two tiers away from here, the offsite one locked.",
        configuration=NewConfiguration(
            name="Archive",
            source_type=SourceType.DIRECTORY,
            source_location="demo-photos",
            backup_type=BackupType.FULL,
            storage_destinations=StorageDestinations(
                cloud_secondary=Destination(location="cloud-secondary", required=True),
                offsite=Destination(location="offsite", required=True, lock_days=3650),
            ),
            tags=("archive",),
        ),
        fields=FIELDS,
    ),
)
