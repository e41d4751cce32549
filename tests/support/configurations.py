"""Configurations for tests, with every field at a value that fits."""

from typing import Any

import msgspec

from contracts.configuration import (
    BackupType,
    ConfigurationBody,
    Destination,
    SourceType,
    StorageDestinations,
)
from contracts.sealed import Sealed


def body(name: str = "smith", **changes: Any) -> ConfigurationBody:
    """A configuration that nothing speaks against, where its locations are registered."""
    whole = ConfigurationBody(
        name=Sealed(key="organisation/studio-a/1", box=f"sealed {name}".encode()),
        name_digest=f"digest of {name}",
        source_type=SourceType.DIRECTORY,
        source_location="photos",
        source_identifier=Sealed(key="organisation/studio-a/1", box=b"sealed path"),
        backup_type=BackupType.INCREMENTAL,
        storage_destinations=destinations(),
    )
    return msgspec.structs.replace(whole, **changes)


def destinations(**changes: Destination | None) -> StorageDestinations:
    """A local tier and one far away under object lock."""
    four = {
        "local": Destination(location="local", required=True),
        "offsite": Destination(location="offsite", lock_days=30),
    }
    return StorageDestinations(**{**four, **changes})
