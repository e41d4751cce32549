"""A lock that can be lifted, and credentials that must not make it firmer."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from repository.errors import AccessDenied, LockNotProven
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.locks import Locks
from repository.tiers.s3.options import S3Credentials, S3Options
from repository.tiers.s3.versions import Versions

UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


class _Server(S3Connection):
    """A server that lets nobody bypass a lock; `locked`: what it took."""

    def __init__(self) -> None:
        super().__init__("cloud", S3Options(bucket="b", credentials=lambda: S3Credentials("key", "secret")))
        self.locked: list[dict[str, Any]] = []

    def call(self, attempt: Callable[[Any], Any], key: str | None = None) -> Any:
        return attempt(self)

    def put_object_retention(self, *, Retention: dict[str, Any], **how: Any) -> None:  # noqa: N803  # the S3 client's own spelling
        if how.get("BypassGovernanceRetention"):
            raise AccessDenied("no", tier="cloud")
        self.locked.append(Retention)


@pytest.mark.parametrize(("days", "taken"), [(1, 1), (-1, 0)])
def test_lock_that_stays_one_that_can_be_lifted_is_told(days: int, taken: int) -> None:
    """It is as long as was asked for, and not called what it is not."""
    server, until = _Server(), UNTIL + timedelta(days=days)
    found = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": UNTIL}
    with pytest.raises(LockNotProven, match="GOVERNANCE") as refused:
        Locks(server, Versions(server)).extend("x", "tier/x", found, until)
    assert "s3:BypassGovernanceRetention" in refused.value.hint
    assert server.locked == [{"Mode": "GOVERNANCE", "RetainUntilDate": until}] * taken
