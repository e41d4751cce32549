"""The source of a run: what its configuration names, through the registry, and never what is a tier or our own."""

import os
from collections.abc import Callable
from pathlib import Path

from chassis.disk import Disk
from chassis.life.signs import Signs
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import EXCLUDE_FIELD, SOURCE_IDENTIFIER_FIELD, ConfigurationBody, SourceType
from contracts.errors import PlatformError
from repository.backup.source import Source
from repository.errors import PatternInvalid
from repository.tiers.places import lie_nested
from sources.directory import DirectorySource
from sources.patterns import Patterns
from sources.postgres.source import PostgresSource
from sources.s3.source import BucketSource
from vault.neighbours import NeighbourSilent, answering, tiers_beside
from vault.stores import source_bucket, source_database, source_folder
from vault.translation import translated

PROBE_SECONDS = 45.0
"""How long a server is waited for before a run begins; while it reads, as long as for a required tier."""


class RunSources:
    """Opens the sources of runs. `disk`: of a folder, one for all who ask it."""

    def __init__(
        self,
        locations: Locations,
        sealer: Sealer,
        keys_dir: Path,
        own: OwnFolders,
        disk: Callable[[bytes], Disk],
    ) -> None:
        self._locations = locations
        self._sealer = sealer
        self._keys_dir = keys_dir
        self._own = own
        self._disk = disk

    def open(
        self, organisation: str, body: ConfigurationBody, signs: Signs, *, probe_seconds: float = PROBE_SECONDS
    ) -> Source:
        """The source, tried: one that is not there, or must not be read, ends the run before anything is written.

        `probe_seconds`: how long a bucket is waited for.

        Raises as `source_folder`, `source_bucket` and `source_database`, and SOURCE_EXCLUDED.
        """
        relative = self._sealer.open(organisation, SOURCE_IDENTIFIER_FIELD, body.source_identifier)
        with translated():
            match body.source_type:
                case SourceType.DIRECTORY:
                    return self._directory(organisation, body, relative)
                case SourceType.S3:
                    return self._bucket(organisation, body.source_location, relative, signs, probe_seconds)
                case SourceType.POSTGRES:
                    return self._database(organisation, body.source_location, relative)
        raise PlatformError(
            errors.LOCATION_KIND_MISMATCH, "sources of this kind are not known to this build of the worker"
        )

    def _directory(self, organisation: str, body: ConfigurationBody, relative: str) -> Source:
        folder = source_folder(self._locations, organisation, body.source_location, relative)
        source = DirectorySource(
            folder,
            excluded=[*self._own.places(), *self._tier_folders(organisation, folder.path)],
            patterns=self._patterns(organisation, body),
        )
        source.require()
        return source

    def _patterns(self, organisation: str, body: ConfigurationBody) -> Patterns | None:
        """What the configuration leaves out. Raises INVALID_FIELD: nothing is saved by rules that mean nothing."""
        if body.exclude is None and not body.exclude_caches:
            return None
        text = "" if body.exclude is None else self._sealer.open(organisation, EXCLUDE_FIELD, body.exclude)
        try:
            return Patterns(map(os.fsencode, filter(None, text.split("\n"))), with_caches=body.exclude_caches)
        except PatternInvalid as error:
            raise PlatformError(errors.INVALID_FIELD, error.message, field="exclude", hint=error.hint) from error

    def _bucket(self, organisation: str, location: str, relative: str, signs: Signs, probe_seconds: float) -> Source:
        options = source_bucket(self._locations, self._keys_dir, organisation, location, relative)
        if any(lie_nested(options, tier) for tier in self._locations.tier_buckets()):
            raise PlatformError(errors.SOURCE_EXCLUDED, "the source holds a tier, or lies in one")
        source = BucketSource(options, check=signs.moved)
        try:
            source.require(probe_seconds)
        except BaseException:
            source.close()
            raise
        return source

    def _database(self, organisation: str, location: str, relative: str) -> Source:
        source = PostgresSource(source_database(self._locations, self._keys_dir, organisation, location, relative))
        source.require()
        return source

    def _tier_folders(self, organisation: str, source: bytes) -> list[bytes]:
        """The folders of all tiers, whoever may use them.

        One that does not answer is left out where no mount can lead from the source to it, and the run not held up by
        it. Raises SOURCE_UNREACHABLE where one may: it would be read as a source as soon as its disk answers; and
        LOCATIONS_UNREADABLE where it is not known where one lies.
        """
        tiers = tiers_beside(self._locations, organisation)
        try:
            return [each.folder for each, _ in answering(source, tiers, self._disk, os.stat)]
        except NeighbourSilent as error:
            name = error.neighbour.name
            raise PlatformError(
                errors.SOURCE_UNREACHABLE,
                f"whether the tier {name} lies within the source cannot be told: its disk does not answer",
                hint="Look at the tier's disk or mount, then retry the run.",
                location=name,
            ) from error
