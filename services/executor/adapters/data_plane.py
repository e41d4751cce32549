"""The data plane of a run: source, keys and tiers from the configuration, then the repository's backup.

An organisation has one repository, complete on each tier (`vault/`).
"""

import logging
import os
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

from chassis.claims.port import Claim
from chassis.disk import Disk
from chassis.life.signs import Signs
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from chassis.sealing import Sealer
from chassis.subject_keys import domain_of
from contracts import errors
from contracts.configuration import ConfigurationBody, Destination, Tier
from repository.backup.backup import BackupOptions
from repository.backup.source import Source
from repository.backup.workshop import Workshop
from repository.errors import RepositoryError, TierUnreachable
from repository.format import ContentClass
from repository.keys.key_ring import DEFAULT_DOMAIN
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.found_damage import FoundDamage, telling
from services.executor.adapters.required import require_tiers
from services.executor.adapters.run_backup import RepositoryBackup
from services.executor.adapters.run_sources import RunSources
from services.executor.kept import Replica
from services.executor.ports import OpenBackup
from vault.domains import require_domain
from vault.open_repositories import Lease, OpenRepositories
from vault.places import Place
from vault.repositories import Repositories
from vault.stores import patience_of, place_mark, tier_folder, tier_store
from vault.translation import facts, translated
from vault.unusable import LocationUnusable, UnusableStore

_log = logging.getLogger(__name__)

NO_COMPRESSION_LEVEL = 0


class RepositoryDataPlane:
    """`DataPlane` on `repository/` and `sources/`."""

    def __init__(
        self,
        *,
        locations: Locations,
        sealer: Sealer,
        keys_dir: Path,
        own: OwnFolders,
        memory_bytes: int,
        begun: BegunRepositories,
        tier_reserve_bytes: int = 0,
        cache: LocalCache | None = None,
    ) -> None:
        """`memory_bytes`: for all runs together. `cache`: as of `Repository.open`."""
        repositories = Repositories(
            begun, keys_dir, place_at=self._place_at, reserve_bytes=tier_reserve_bytes, cache=cache
        )
        self._repositories = OpenRepositories(repositories, Workshop(memory_bytes))
        self._begun = begun
        self._locations = locations
        self._keys_dir = keys_dir
        self._own = own
        self._disks: dict[bytes, Disk] = {}
        self._sources = RunSources(locations, sealer, keys_dir, own, self._disk)

    def open(
        self, claim: Claim, configuration: Replica, signs: Signs, on_leased: Callable[[], None] = lambda: None
    ) -> OpenBackup:
        """Try source, keys and tiers. See `DataPlane.open`."""
        organisation, body = claim.organisation, configuration.body
        source_place = f"the source at {body.source_location}"
        destinations = body.storage_destinations.by_tier()
        damage = {tier: FoundDamage(self._begun, organisation, each.location) for tier, each in destinations.items()}
        places: dict[str, Place] = {}
        source: Source | None = None
        lease: Lease | None = None
        try:
            self._at_tiers(signs, destinations)
            for each, destination in destinations.items():
                places[each.value] = self._place(organisation, each.value, destination)
            with telling(damage), translated(places):
                lease = self._repositories.kept(organisation, list(places.values()), signs)
            if lease is not None:
                # Nothing can be begun by it: whether there is a source is no matter of the organisation's other runs.
                on_leased()
            signs.at("opening", source_place, errors.SOURCE_UNREACHABLE)
            source = self._sources.open(organisation, body, signs)
            self._at_tiers(signs, destinations)
            with telling(damage), translated(places):
                if lease is None:
                    lease = self._repositories.lease(organisation, list(places.values()), signs)
                for tier in lease.repository.tiers:
                    if tier.error is not None:
                        _log.warning("a tier is not as it should be", extra={"tier": tier.name, **facts(tier.error)})
                require_tiers(lease.repository, destinations, places)
                domain = self._domain(organisation, body, lease, signs)
        except BaseException:
            if lease is not None:
                lease.release(is_doubtful=source is not None)
            else:
                for place in places.values():
                    place.store.close()
            if source is not None:
                source.close()
            raise
        return RepositoryBackup(
            lease,
            source,
            source_place,
            destinations,
            places,
            damage,
            signs,
            BackupOptions(
                run_token=claim.work_id,
                label=configuration.configuration_id,
                compression=None if body.compression_enabled else dict.fromkeys(ContentClass, NO_COMPRESSION_LEVEL),
                required=frozenset(tier.value for tier, each in destinations.items() if each.required),
                domain=domain,
                lock_days={tier.value: each.lock_days for tier, each in destinations.items() if each.lock_days},
            ),
        )

    def _domain(self, organisation: str, body: ConfigurationBody, lease: Lease, signs: Signs) -> str:
        """The key domain that the run writes in: of one data subject's data their own, with which it can be erased."""
        if body.data_subject_id is None:
            return DEFAULT_DOMAIN
        domain = domain_of(body.data_subject_id)
        with lease.upkeep(signs.moved):
            require_domain(lease.repository, self._keys_dir, organisation, domain)
        return domain

    @staticmethod
    def _at_tiers(signs: Signs, destinations: dict[Tier, Destination]) -> None:
        tiers = ", ".join(f"{tier} at {destination.location}" for tier, destination in destinations.items())
        signs.at("opening", f"the tiers {tiers}", errors.TIER_UNREACHABLE)

    def _disk(self, folder: bytes) -> Disk:
        return self._disks.setdefault(folder, Disk(Path(os.fsdecode(folder))))

    def _own_trouble(self, location: str, folder: bytes, tier: str) -> RepositoryError | None:
        """What keeps a folder from being a tier: it is the platform's own, or nobody knows whether it is."""
        try:
            is_own = self._disk(folder).answer(partial(self._own.hold_tier, folder))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            return TierUnreachable(
                f"whether the location {location} lies in a folder of the platform's own cannot be told: {reason}",
                tier=tier,
            )
        if is_own:
            return LocationUnusable(f"the location {location} lies in a folder of the platform's own", tier=tier)
        return None

    def _folder_mark(self, folder: bytes, mark: Hashable) -> Hashable | None:
        """With which folder it is: another disk may have been mounted there. None where its disk does not say."""
        try:
            found = self._disk(folder).answer(partial(os.stat, folder))
        except OSError:
            return None
        return (mark, found.st_dev, found.st_ino)

    def _place_at(self, organisation: str, location: str) -> Place:
        """Where the organisation's repository may be though its run does not name the location."""
        return self._place(organisation, f"the one at {location}", Destination(location=location))

    def _place(self, organisation: str, tier: str, destination: Destination) -> Place:
        folder = tier_folder(self._locations, organisation, destination.location)
        trouble = None if folder is None else self._own_trouble(destination.location, folder, tier)

        def store_of(organisation: str) -> ObjectStore:
            if trouble is not None:
                return UnusableStore(tier, trouble)
            return tier_store(self._locations, self._keys_dir, organisation, tier, destination)

        mark = place_mark(self._locations, self._keys_dir, organisation, tier, destination)
        if folder is not None and mark is not None:
            mark = None if trouble is not None else self._folder_mark(folder, mark)
        return Place(
            store=store_of(organisation),
            mark=mark,
            location=destination.location,
            folder=None if trouble is not None else folder,
            patience_seconds=patience_of(destination),
            store_of=store_of,
            is_required=destination.required,
        )
