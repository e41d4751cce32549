"""Built-in templates: configurations to begin from, with every field explained.

What is built in says what is wanted of the tiers; which of an organisation's locations take it is found by the rules
that a submitted configuration is held to (`fitted`). What no location takes is named, and nothing is made up for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import msgspec

from contracts.configuration import BackupType, Destination, SourceType, StorageDestinations, Tier
from contracts.configuration_rules import DIRECTORY, KIND_OF_SOURCE, SOURCE, TIER, KnownLocation, objections
from contracts.schedule import Schedule
from gateway.groups.configurations.resources import NewConfiguration
from gateway.http.resources import Resource


class FieldHelp(Resource, frozen=True, kw_only=True):
    """What a field means, and what to put there."""

    field: str
    meaning: str


class Template(Resource, frozen=True, kw_only=True):
    """A configuration to begin from. `configuration` can be sent as it is, once name and source are what is meant.

    It names locations that the organisation has; it is null where there is none for the source, or none for any tier.
    `unmet`: what is wanted, and no location of the organisation takes.
    """

    id: str
    title: str
    description: str
    configuration: NewConfiguration | None
    unmet: list[FieldHelp]
    fields: list[FieldHelp]


FIELDS = [
    FieldHelp(field=name, meaning=meaning)
    for name, meaning in (
        ("name", "How people call it; no other configuration of the organisation has the same name."),
        ("sourceType", "What is backed up: directory, s3 or postgres."),
        ("sourceLocation", "The registered location that holds the source; /api/backup/locations lists them."),
        ("sourceIdentifier", "A path below the source location; empty for all of it, as of a database always."),
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
        ("encryption", "How it is stored: always `aes-256-gcm`, so that it may be left out."),
        ("compressionEnabled", "Compress what gets smaller by it; photos are stored as they are anyway."),
        ("isWeddingCritical", "Whether losing it would harm a wedding that is still to come."),
        ("weddingDate", "The day of the wedding; kept encrypted, shown to the organisation alone."),
        ("tags", "Words to find it by; no personal data, they are not encrypted."),
        ("schedule", "When runs begin by themselves; without one they begin when somebody asks for them."),
        ("exclude", "What is left out of the source: patterns as in a .gitignore, `!` takes back; kept encrypted."),
        ("excludeCaches", "Leave out what is in folders that say that they are caches (CACHEDIR.TAG)."),
        ("retentionPolicyId", "How long what is saved is to be kept: a retention policy, by which a cleanup lets go."),
        ("purpose", "What it is saved for, in the record of processing; kept encrypted."),
        (
            "dataSubject",
            "The one person whose data it is; kept encrypted. What is saved is then under their own key, and can be "
            "erased by it.",
        ),
        ("dataCategories", "Which data it is, in the record of processing: words such as photos or contracts."),
    )
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a template wants of a tier."""

    tier: Tier
    required: bool = False
    lock_days: int = 0


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A template before it is fitted. What `configuration` says of locations says nothing."""

    id: str
    title: str
    description: str
    configuration: NewConfiguration
    tiers: tuple[Wanted, ...]


_NOWHERE = "nowhere"
_CHOSEN_FIRST = (Tier.LOCAL, Tier.OFFSITE, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY)
"""Who has least choice: the local tier takes directories alone, the one offsite wants a lock."""
_NAME_OF = {tier: tier.name.lower().replace("_", "-") for tier in Tier}
"""What the location of a tier is called where somebody has named it after the tier."""


def _everywhere(lock_days: int) -> tuple[Wanted, ...]:
    return (
        Wanted(Tier.LOCAL, required=True),
        Wanted(Tier.CLOUD_PRIMARY, required=True),
        Wanted(Tier.CLOUD_SECONDARY),
        Wanted(Tier.OFFSITE, lock_days=lock_days),
    )


TEMPLATES = (
    BuiltIn(
        id="wedding-photos",
        title="Photos of one wedding",
        description="Four tiers, a year under object lock, no attempt to compress what is compressed already.",
        configuration=NewConfiguration(
            name="Photos of a wedding",
            source_type=SourceType.DIRECTORY,
            source_location=_NOWHERE,
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=StorageDestinations(),
            compression_enabled=False,
            is_wedding_critical=True,
            wedding_date=date(2027, 6, 12),
            tags=("photos",),
        ),
        tiers=_everywhere(365),
    ),
    BuiltIn(
        id="wedding-photo-bucket",
        title="A bucket of wedding photos",
        description="All objects of a bucket, or below a prefix of it, with their tags: four tiers, a year under lock.",
        configuration=NewConfiguration(
            name="Photos in a bucket",
            source_type=SourceType.S3,
            source_location=_NOWHERE,
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=StorageDestinations(),
            compression_enabled=False,
            tags=("photos",),
        ),
        tiers=_everywhere(365),
    ),
    BuiltIn(
        id="supabase-project",
        title="The database of a Supabase project",
        description="The whole Postgres database each night, four tiers, three months under lock. The files of its "
        "storage lie in buckets: each is a configuration of its own.",
        configuration=NewConfiguration(
            name="Supabase project",
            source_type=SourceType.POSTGRES,
            source_location=_NOWHERE,
            backup_type=BackupType.FULL,
            storage_destinations=StorageDestinations(),
            schedule=Schedule(cron="30 2 * * *", time_zone="Europe/Berlin"),
            tags=("database",),
        ),
        tiers=_everywhere(90),
    ),
    BuiltIn(
        id="contracts-directory",
        title="Contracts",
        description="Documents that must be kept: four tiers, ten years under object lock, compressed.",
        configuration=NewConfiguration(
            name="Contracts",
            source_type=SourceType.DIRECTORY,
            source_location=_NOWHERE,
            source_identifier="contracts",
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=StorageDestinations(),
            tags=("contracts",),
        ),
        tiers=_everywhere(3650),
    ),
    BuiltIn(
        id="whole-supplier",
        title="Everything of a supplier",
        description="The whole source location on four tiers, three months under object lock.",
        configuration=NewConfiguration(
            name="Everything",
            source_type=SourceType.DIRECTORY,
            source_location=_NOWHERE,
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=StorageDestinations(),
        ),
        tiers=_everywhere(90),
    ),
    BuiltIn(
        id="archive-only",
        title="Archive",
        description="Seldom read, never changed: read in full, two tiers away from here, the offsite one locked.",
        configuration=NewConfiguration(
            name="Archive",
            source_type=SourceType.DIRECTORY,
            source_location=_NOWHERE,
            backup_type=BackupType.FULL,
            storage_destinations=StorageDestinations(),
            tags=("archive",),
        ),
        tiers=(Wanted(Tier.CLOUD_SECONDARY, required=True), Wanted(Tier.OFFSITE, required=True, lock_days=3650)),
    ),
)


def fitted(template: BuiltIn, known: Mapping[str, KnownLocation]) -> Template:
    """A template with an organisation's locations, as they are `known` by name."""
    unmet: list[FieldHelp] = []
    source = next((name for name in sorted(known) if _takes_source(template, known, name)), None)
    if source is None:
        kind = KIND_OF_SOURCE[template.configuration.source_type]
        unmet.append(_unmet("sourceLocation", f"a location of the kind {kind} with the role {SOURCE}"))
    chosen: dict[Tier, Destination] = {}
    for wanted in sorted(template.tiers, key=lambda each: _CHOSEN_FIRST.index(each.tier)):
        place = f"storageDestinations.{wanted.tier.value}"
        destination = next(_destinations(template, wanted, known, source, chosen), None)
        if destination is None:
            unmet.append(_unmet(place, f"one more location with the role {TIER}, in a place of its own"))
            continue
        chosen[wanted.tier] = destination
        if destination.lock_days < wanted.lock_days:
            unmet.append(_unmet(f"{place}.lockDays", "a location that can lock objects"))
    configuration = None
    if source is not None and chosen:
        configuration = msgspec.structs.replace(
            template.configuration, source_location=source, storage_destinations=_all(chosen)
        )
    return Template(
        id=template.id,
        title=template.title,
        description=template.description,
        configuration=configuration,
        unmet=unmet,
        fields=FIELDS,
    )


def _takes_source(template: BuiltIn, known: Mapping[str, KnownLocation], name: str) -> bool:
    against = objections(
        source_type=template.configuration.source_type,
        source_location=name,
        storage_destinations=StorageDestinations(),
        find=known.get,
    )
    return not any(each.field and each.field.startswith("source") for each in against)


def _destinations(
    template: BuiltIn,
    wanted: Wanted,
    known: Mapping[str, KnownLocation],
    source: str | None,
    chosen: Mapping[Tier, Destination],
) -> Iterator[Destination]:
    """What a tier may be, the best first: the location that is called as the tier is, then one that locks."""
    own = _NAME_OF[wanted.tier]
    others = {*_NAME_OF.values()} - {own}
    candidates = [location for name, location in sorted(known.items()) if name not in others]
    lock, far = bool(wanted.lock_days), wanted.tier is not Tier.LOCAL
    candidates.sort(key=lambda each: (each.name != own, lock and not each.lock, far and each.kind == DIRECTORY))
    for location in candidates:
        lock_days = wanted.lock_days if location.lock else 0
        destination = Destination(location=location.name, required=wanted.required, lock_days=lock_days)
        against = objections(
            source_type=template.configuration.source_type,
            source_location=source or "",
            storage_destinations=_all({**chosen, wanted.tier: destination}),
            find=known.get,
        )
        if not any(each.field and each.field.startswith("storage") for each in against):
            yield destination


def _all(chosen: Mapping[Tier, Destination]) -> StorageDestinations:
    """All of them; where none of those that a run has to complete is there, every one is such a one."""
    is_any = any(each.required for each in chosen.values())
    return StorageDestinations(
        **{
            tier.name.lower(): each if is_any else msgspec.structs.replace(each, required=True)
            for tier, each in chosen.items()
        }
    )


def _unmet(field: str, what: str) -> FieldHelp:
    return FieldHelp(field=field, meaning=f"The organisation has not what this takes: {what}. Ask the operator for it.")
