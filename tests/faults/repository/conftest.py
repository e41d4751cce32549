"""What the fault tests of the repository share."""

from collections.abc import Iterator

import pytest

from repository.tiers.location import s3_options
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.options import credentials_from_environment
from repository.tiers.s3.store import S3ObjectStore
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import REGION, S3Server, s3_server

__all__ = ["s3_server"]


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy without faults in front of the S3 server."""
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


class Tiers:
    """Makes S3 tiers behind the proxy, each below a prefix of its own."""

    def __init__(self, server: S3Server, proxy: FaultProxy) -> None:
        self._server, self._proxy = server, proxy
        self._opened: list[S3ObjectStore] = []

    def open(
        self,
        prefix: str,
        *,
        budget_seconds: float = 20.0,
        read_timeout: float = 20.0,
        locks: bool = False,
        versions: bool = False,
        options: str = "",
    ) -> S3ObjectStore:
        """A tier that tries again quickly, for at most so many seconds."""
        bucket = self._server.shared_bucket(versions=versions, locks=locks)
        found, _ = s3_options(
            f"s3://{bucket}/{prefix}?endpoint={self._proxy.endpoint}&region={REGION}"
            f"&read-timeout={read_timeout}{options}",
            credentials=credentials_from_environment(self._server.environment),
            retry=RetryPolicy(budget_seconds=budget_seconds, first_wait_seconds=0.02, longest_wait_seconds=0.2),
        )
        store = S3ObjectStore(found, f"s3-{prefix}")
        self._opened.append(store)
        return store

    def close(self) -> None:
        """Close all."""
        for store in self._opened:
            store.close()


@pytest.fixture
def tiers(s3_server: S3Server, proxy: FaultProxy) -> Iterator[Tiers]:
    """Makes S3 tiers behind the proxy."""
    tiers = Tiers(s3_server, proxy)
    yield tiers
    tiers.close()
