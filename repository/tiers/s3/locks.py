"""Object lock of a bucket: whether there is any, and the locks of single versions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from repository.errors import HELD_HINT, AccessDenied, LocationInvalid, Locked, LockNotProven, ObjectMissing
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.versions import Version, Versions, lock_of


class Locks:
    """Looks up and extends locks."""

    def __init__(self, connection: S3Connection, versions: Versions) -> None:
        self._connection = connection
        self._versions = versions
        self._are_there: bool | None = None
        self._is_asked = False

    def are_there(self) -> bool | None:
        """Whether the bucket has object lock; asked once. None where these credentials must not know."""
        if not self._is_asked:
            bucket = self._connection.options.bucket
            try:
                answer = self._connection.call(lambda client: client.get_object_lock_configuration(Bucket=bucket))
                self._are_there = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
            except (ObjectMissing, LocationInvalid):
                self._are_there = False  # no configuration, or a server that knows no locks
            except AccessDenied:
                self._are_there = None
            self._is_asked = True
        return self._are_there

    def extend(self, key: str, full_key: str, found: Any, until: datetime) -> None:
        """Lock the version of an answer to HEAD for longer, unless it is; and as firmly as was asked for.

        Raises `LockNotProven` where a lock that can be lifted has to stay one; it is as long as was asked for then.
        """
        present, wanted, options = lock_of(found), whole_second(until), self._connection.options
        mode = found.get("ObjectLockMode", options.lock_mode)
        is_weak = present is not None and mode != options.lock_mode == "COMPLIANCE"
        if present is not None and present >= wanted and not is_weak:
            return
        wanted = max(present or wanted, wanted)
        which: Any = {"Bucket": options.bucket, "Key": full_key}
        which |= {"VersionId": found["VersionId"]} if "VersionId" in found else {}

        def lock(mode: str, **how: Any) -> None:
            retention: Any = {"Mode": mode, "RetainUntilDate": wanted}
            self._connection.call(lambda client: client.put_object_retention(Retention=retention, **which, **how), key)

        if not is_weak:
            lock(mode)
            return
        try:
            # Servers count another mode as a change of the lock, which only who may lift it may make.
            lock(options.lock_mode, BypassGovernanceRetention=True)
        except AccessDenied as error:
            if wanted != present:
                lock(mode)
            raise LockNotProven(
                "the lock stays one that can be lifted (GOVERNANCE)",
                hint="Give these credentials s3:BypassGovernanceRetention, or ask for lock-mode=governance.",
                tier=self._connection.name,
                key=key,
            ) from error

    def set_hold(self, key: str, full_key: str, found: Any, is_on: bool) -> None:
        """Put a legal hold on the version of an answer to HEAD, or take it away."""
        bucket, status = self._connection.options.bucket, "ON" if is_on else "OFF"
        which = {"VersionId": found["VersionId"]} if "VersionId" in found else {}
        hold: Any = {"Status": status}
        self._connection.call(
            lambda client: client.put_object_legal_hold(Bucket=bucket, Key=full_key, LegalHold=hold, **which), key
        )

    def is_held(self, key: str, full_key: str, version_id: str | None) -> bool | None:
        """Whether a legal hold is on a version; None where these credentials must not know.

        It is asked for by itself: not every server says it in an answer to HEAD.
        """
        bucket = self._connection.options.bucket
        which: Any = {"VersionId": version_id} if version_id else {}
        try:
            answer = self._connection.call(
                lambda client: client.get_object_legal_hold(Bucket=bucket, Key=full_key, **which), key
            )
        except ObjectMissing:
            return False  # a version that never had one
        except (AccessDenied, LocationInvalid):
            return None
        return answer.get("LegalHold", {}).get("Status") == "ON"

    def refuse_if_locked(self, key: str, full_key: str, version: Version | None) -> None:
        """Raise `Locked` when a lock is why the server refuses to delete."""
        if self.are_there() is False:
            return
        tier = self._connection.name
        found = self._versions.head(full_key, version.version_id if version else None)
        until = lock_of(found)
        if self.is_held(key, full_key, version.version_id if version else None):
            raise Locked("the object is under legal hold", hint=HELD_HINT, tier=tier, key=key)
        if until is not None and until > self._connection.now():
            raise Locked("the object is locked", tier=tier, key=key, until=until.isoformat())


def whole_second(moment: datetime) -> datetime:
    """The moment, rounded up to what every server keeps: a lock never ends earlier than was asked for."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=0) + timedelta(seconds=1 if moment.microsecond else 0)
