"""Each kind of tier, empty, for the suites that hold all of them to one contract.

Any provider can be put under the same suite: WEDSYNC_TEST_TIER_URL is the address of a tier (a folder of
its own is made below it for each test), with credentials in the usual AWS variables. Objects under lock
stay there until their locks have run out.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from repository.tiers.location import open_tier
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.options import credentials_from_environment
from tests.support.s3_server import S3Server, s3_server

__all__ = ["s3_server"]

PROVIDER_URL = "WEDSYNC_TEST_TIER_URL"
IMPATIENT = RetryPolicy(budget_seconds=2.0, first_wait_seconds=0.02, longest_wait_seconds=0.2)

KINDS = ["memory", "memory-locks", "directory", "s3", "s3-versions", "s3-locks"]
KINDS += ["provider"] if PROVIDER_URL in os.environ else []


@dataclass(frozen=True)
class Place:
    """Where one test's objects are; `open` gives a new store over them, as another process would have."""

    kind: str
    open: Callable[[], ObjectStore]

    @property
    def checks_digests(self) -> bool:
        """Whether the store looks at the SHA-256 that comes with an object."""
        return self.kind != "directory"


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    kind: str = request.param
    if kind.startswith("memory"):
        store = MemoryObjectStore(locks=kind == "memory-locks")
        return Place(kind, lambda: store)
    if kind == "directory":
        return Place(kind, lambda: open_tier(f"file://{tmp_path}/a%20tier/below"))
    if kind == "provider":
        parts = urlsplit(os.environ[PROVIDER_URL])
        url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/conformance-{secrets.token_hex(8)}"))
        return Place(kind, lambda: open_tier(url, retry=IMPATIENT))
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = server.shared_bucket(versions=kind == "s3-versions", locks=kind == "s3-locks")
    credentials = credentials_from_environment(server.environment)
    url = server.url(bucket, f"some/prefix-{secrets.token_hex(8)}")
    return Place(kind, lambda: open_tier(url, credentials=credentials, retry=IMPATIENT))


@pytest.fixture
def store(place: Place) -> Iterator[ObjectStore]:
    """A store over an empty place of each kind."""
    store = place.open()
    yield store
    store.close()
