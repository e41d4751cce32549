"""One S3 tier's client: made at the first call, with retries, limits, and the server's clock.

botocore is imported here and only when a call is made: it takes longer to load than the rest of the program.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from repository.errors import AccessDenied, LocationInvalid
from repository.tiers.limits import Throttle
from repository.tiers.retry import Retrier
from repository.tiers.s3.options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")


_making_clients = threading.Lock()
"""A session makes one client at a time."""


@cache
def _session() -> Any:
    """What all clients are made of, once: reading the description of S3's interface is most of what a client costs."""
    import os

    import botocore.session

    # Nor must a variable that was set for another program count: a profile, an endpoint, a way to try again.
    # (The bundle of authorities says nothing of where backups go, and is what machines are set up with.)
    variables = {
        name: (None, None, default, None)
        for name, (_, _, default, _) in botocore.session.Session.SESSION_VARIABLES.items()
        if name != "ca_bundle"
    }
    session = botocore.session.Session(session_vars=variables)
    # A file in somebody's home folder must not change where backups go.
    session.set_config_variable("config_file", os.devnull)
    session.set_config_variable("credentials_file", os.devnull)
    session.set_config_variable("ignore_configured_endpoint_urls", True)
    return session


class S3Connection:
    """Makes calls on behalf of one tier. Thread-safe."""

    def __init__(self, name: str, options: S3Options) -> None:
        self.name = name
        self.options = options
        self.throttle = Throttle(options.limits)
        self._retrier = Retrier(options.retry)
        self._making = threading.Lock()
        self._client: S3Client | None = None
        self._server_ahead_of_monotonic: timedelta | None = None

    def call(self, attempt: Callable[["S3Client"], T], key: str | None = None) -> T:
        """The result of `attempt(client)`, tried again within the tier's budget.

        Raises `RepositoryError`, or `s3_errors.PreconditionFailed` for an answer of 412.
        """
        return self._retrier.run(lambda: self._once(attempt, key))

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Calls within it are tried again for so long. For one thread, before others make calls."""
        before, self._retrier.budget_seconds = self._retrier.budget_seconds, seconds
        try:
            yield
        finally:
            self._retrier.budget_seconds = before

    def now(self) -> datetime:
        """The server's time: its last answer's `Date`, and what has passed since.

        Raises `TierUnreachable` and the like when it has to be asked and does not answer.
        """
        if self._server_ahead_of_monotonic is None:
            self.call(lambda client: client.list_objects_v2(Bucket=self.options.bucket, MaxKeys=1))
        ahead = self._server_ahead_of_monotonic
        if ahead is None:
            raise AccessDenied("the server's answers have no date", tier=self.name)
        return datetime.fromtimestamp(time.monotonic(), UTC) + ahead

    def close(self) -> None:
        """Close the connections; calls that wait to try again fail at once."""
        self._retrier.close()
        with self._making:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _once(self, attempt: Callable[["S3Client"], T], key: str | None) -> T:
        from repository.tiers.s3.errors import FAILURES, CredentialsExpired, not_made, translated

        with self.throttle.request():
            for is_renewed in (False, True):
                client = None
                try:
                    client = self._current_client()
                    return attempt(client)
                except FAILURES as failure:
                    if client is None:
                        raise not_made(failure, tier=self.name) from failure
                    error = translated(failure, tier=self.name, key=key)
                    if not isinstance(error, CredentialsExpired):
                        raise error from failure
                    if is_renewed or client is None:
                        raise AccessDenied("the credentials have expired", tier=self.name) from failure
                    self._forget(client)
        raise AssertionError("unreachable")

    def _current_client(self) -> "S3Client":
        with self._making:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def _forget(self, client: "S3Client") -> None:
        """Let the next call ask for credentials anew; other calls still use the old client."""
        with self._making:
            if self._client is client:
                self._client = None

    def _new_client(self) -> "S3Client":
        import os

        from botocore.config import Config

        options = self.options
        credentials = options.credentials()
        session = _session()
        authorities = options.certificate_authorities or session.get_config_variable("ca_bundle")
        if authorities and not os.path.exists(authorities):
            # The client would say of each request that the connection failed.
            raise LocationInvalid("the file of authorities to trust is not there", option="ca", tier=self.name)
        with _making_clients:
            client: S3Client = session.create_client(
                "s3",
                region_name=options.region or "us-east-1",
                endpoint_url=options.endpoint,
                aws_access_key_id=credentials.access_key_id,
                aws_secret_access_key=credentials.secret_access_key,
                aws_session_token=credentials.session_token,
                verify=options.certificate_authorities,
                config=Config(
                    signature_version="s3v4",
                    max_pool_connections=options.limits.requests,
                    tcp_keepalive=True,
                    # None: those of the environment.
                    proxies={} if options.is_on_this_machine else None,
                    connect_timeout=options.connect_timeout_seconds,
                    read_timeout=options.read_timeout_seconds,
                    # The retries are ours: the client's own do not cover the reading of a body, know no
                    # budget over calls, and would multiply with ours.
                    retries={"mode": "standard", "total_max_attempts": 1},
                    s3={"addressing_style": options.addressing, "payload_signing_enabled": False},
                    # Each PUT carries the SHA-256 that is known already; the defaults would compute a CRC on top.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        client.meta.events.register("needs-retry.s3", self._note_date)
        return client

    def _note_date(self, response: tuple[Any, Mapping[str, Any]] | None = None, **_: object) -> None:
        """Learn the server's clock from any of its answers."""
        if response is None:
            return
        date = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date is not None:
            try:
                told = parsedate_to_datetime(date)
            except ValueError:
                return
            self._server_ahead_of_monotonic = told - datetime.fromtimestamp(time.monotonic(), UTC)
