"""Values of a backup configuration that requests and facts share."""

from typing import Annotated

from msgspec import Meta

from contracts.event import Value
from contracts.reading import Growing
from contracts.schedule import Schedule
from contracts.sealed import Sealed

Name = Annotated[str, Meta(min_length=1, max_length=200)]
# Frozen with the events: the `$` also lets a line feed through at the end. No location is registered under such a name.
LocationName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

# The names under which fields are sealed and digested (`chassis.sealing`). Pinned: every box is bound to its field's.
NAME_FIELD = "configuration.name"
SOURCE_IDENTIFIER_FIELD = "configuration.source-identifier"
WEDDING_DATE_FIELD = "configuration.wedding-date"
EXCLUDE_FIELD = "configuration.exclude"
PURPOSE_FIELD = "configuration.purpose"
NAME_DIGEST = "configuration.name"
DATA_SUBJECT_FIELD = "data-subject"
DATA_SUBJECT_DIGEST = "data-subject"


class SourceType(Growing):
    """What is backed up."""

    DIRECTORY = "directory"
    S3 = "s3"
    POSTGRES = "postgres"


class BackupType(Growing):
    """How much of the source a run reads."""

    FULL = "full"
    INCREMENTAL = "incremental"


class Tier(Growing):
    """The four places a backup is kept in."""

    LOCAL = "local"
    CLOUD_PRIMARY = "cloudPrimary"
    CLOUD_SECONDARY = "cloudSecondary"
    OFFSITE = "offsite"


class ConfigurationState(Growing):
    """Whether a configuration has runs: of a paused one none begins until it is resumed, of a retired one never."""

    ACTIVE = "active"
    PAUSED = "paused"
    RETIRED = "retired"


class BulkMode(Growing):
    """What becomes of several that are asked for at once, where one is refused: none is created, or the others are."""

    ATOMIC = "atomic"
    PARTIAL = "partial"


class Destination(Value, frozen=True, kw_only=True):
    """Where one tier keeps its copy, and what is asked of it.

    `required`: the run does not complete before this tier has everything. `lock_days`: the object
    lock that every object of a run gets, counted from the commit; 0 for none.
    """

    location: LocationName
    required: bool = False
    lock_days: Annotated[int, Meta(ge=0, le=36500)] = 0
    storage_class: Annotated[str, Meta(max_length=64)] = ""


class StorageDestinations(Value, frozen=True, kw_only=True):
    """The tiers of a configuration; at least one is there."""

    local: Destination | None = None
    cloud_primary: Destination | None = None
    cloud_secondary: Destination | None = None
    offsite: Destination | None = None

    def by_tier(self) -> dict[Tier, Destination]:
        """The destinations that are there, fastest first."""
        all_four = {
            Tier.LOCAL: self.local,
            Tier.CLOUD_PRIMARY: self.cloud_primary,
            Tier.CLOUD_SECONDARY: self.cloud_secondary,
            Tier.OFFSITE: self.offsite,
        }
        return {tier: destination for tier, destination in all_four.items() if destination is not None}


class ConfigurationBody(Value, frozen=True, kw_only=True):
    """What a configuration says. Names and paths may carry personal data, so they are sealed.

    `exclude`: what is left out of the source, patterns as in a `.gitignore`, one a line. `exclude_caches`: so is what
    is in folders that say that they are caches (CACHEDIR.TAG).
    `retention_policy_id`: how long what it saves is to be kept; None for all of it, for ever. `purpose`,
    `data_categories`: what for, and which data it is; for the record of processing.

    `data_subject`: the person whose data it is, if it is of one alone; `data_subject_id`, a keyed digest (hex) of that,
    is the name of the key that all sealed fields are under then, and of the key domain of its recovery points.

    `name_digest` is a keyed digest (hex) of the normalised name under the organisation's key: it
    lets the record keep names unique without knowing them.
    """

    name: Sealed
    name_digest: str
    source_type: SourceType
    source_location: LocationName
    source_identifier: Sealed
    backup_type: BackupType
    storage_destinations: StorageDestinations
    compression_enabled: bool = True
    is_wedding_critical: bool = False
    wedding_date: Sealed | None = None
    tags: tuple[Annotated[str, Meta(max_length=64)], ...] = ()
    schedule: Schedule | None = None
    exclude: Sealed | None = None
    exclude_caches: bool = False
    retention_policy_id: str | None = None
    purpose: Sealed | None = None
    data_categories: tuple[Annotated[str, Meta(max_length=63)], ...] = ()
    data_subject: Sealed | None = None
    data_subject_id: str | None = None
