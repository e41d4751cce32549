"""What answers and failures of S3 mean."""

from email.utils import formatdate
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidRegionError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import ProtocolError

from repository.errors import (
    AccessDenied,
    ChecksumMismatch,
    ClockSkewed,
    LocationInvalid,
    RepositoryError,
    Retry,
    TierFull,
    TierUnreachable,
)
from repository.ports import SYSTEM_CLOCK
from repository.tiers.retry import TryAgain
from repository.tiers.s3.errors import CredentialsExpired, PreconditionFailed, translated


def answer(status: int, code: str, **headers: str) -> ClientError:
    response: Any = {
        "Error": {"Code": code},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(response, "PutObject")


def meaning(error: Exception) -> Exception:
    return translated(error, tier="vault", key="packs/x")


@pytest.mark.parametrize(
    ("ahead", "meant"), [(3600.0, ClockSkewed), (-3600.0, ClockSkewed), (60.0, AccessDenied), (None, AccessDenied)]
)
def test_refusal_without_a_reason_is_the_clock_s_where_the_clocks_differ(
    ahead: float | None, meant: type[RepositoryError]
) -> None:
    """An answer to HEAD has no body; its date is the server's."""
    headers = {} if ahead is None else {"date": formatdate(SYSTEM_CLOCK.now_ns() / 1e9 + ahead, usegmt=True)}
    assert type(meaning(answer(403, "403", **headers))) is meant


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://x"),
        ConnectTimeoutError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
        SSLError(endpoint_url="http://x", error="EOF occurred in violation of protocol"),
        ProtocolError("broken"),
        ConnectionResetError(),
        OSError("gone"),
        answer(500, "InternalError"),
        answer(502, ""),
        answer(503, "SlowDown"),
        answer(0, ""),
    ],
    ids=repr,
)
def test_failures_of_network_and_server_are_tried_again(error: Exception) -> None:
    """What may pass is tried again, and is an unreachable tier in the end."""
    found = meaning(error)
    assert isinstance(found, TryAgain)
    assert isinstance(found.error, TierUnreachable)
    assert found.error.retry == Retry.LATER
    assert found.error.context["tier"] == "vault"
    assert found.error.context["key"] == "packs/x"


def test_certificate_that_is_not_trusted_is_for_the_operator() -> None:
    """A wrong certificate does not get better by asking again."""
    found = meaning(SSLError(endpoint_url="https://x", error="[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))
    assert isinstance(found, TierUnreachable)
    assert found.retry == Retry.AFTER_OPERATOR


@pytest.mark.parametrize(
    "error",
    [
        ParamValidationError(report="Invalid bucket name"),
        InvalidRegionError(region_name="!"),
        ValueError("Invalid endpoint: x"),
        answer(400, "InvalidArgument"),
    ],
    ids=repr,
)
def test_what_the_client_refuses_is_a_wrong_address(error: Exception) -> None:
    """A request that the client or the server finds malformed is the address's fault."""
    assert isinstance(meaning(error), LocationInvalid)


def test_errors_name_no_secret_and_no_text_of_the_server() -> None:
    """Of an answer only code and status are kept: its text may hold keys and names."""
    error = answer(403, "SignatureDoesNotMatch")
    error.response["Error"]["Message"] = "secret things"
    found = meaning(error)
    assert isinstance(found, RepositoryError)
    assert "secret" not in f"{found} {found.context}"
    assert found.context == {"tier": "vault", "key": "packs/x", "answer": "SignatureDoesNotMatch", "status": 403}


@pytest.mark.parametrize(
    ("stated", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)]
)
def test_retry_after_is_read_where_it_is_a_number(stated: str, seconds: float) -> None:
    """Seconds count; a date does not, the random wait is as good."""
    for error in (answer(503, "SlowDown", **{"retry-after": stated}), answer(500, "X", **{"retry-after": stated})):
        found = meaning(error)
        assert isinstance(found, TryAgain)
        assert found.at_least_seconds == seconds


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (507, "", ""),
        (507, "InsufficientStorage", "no room"),
        (500, "InsufficientStorage", "no room"),
        (500, "InternalError", "failed to find writable volumes: No writable volumes and no free volumes left"),
        (500, "InternalError", "write /data/x: no space left on device"),
        (403, "AccessDenied", "Cannot upload files, storage cap exceeded."),
        (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."),
        (400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"),
    ],
)
def test_server_without_room_is_full(status: int, code: str, text: str) -> None:
    """Whatever a server calls it: the tier is full, at once, and its words are not kept."""
    error = answer(status, code)
    error.response["Error"]["Message"] = text
    found = meaning(error)
    assert isinstance(found, TierFull)
    assert found.retry == Retry.AFTER_OPERATOR
    assert not text or text not in f"{found} {found.context}"


def test_server_that_hides_that_it_has_no_room_is_full_in_the_end() -> None:
    """SeaweedFS answers a write without a free volume with InternalError; so it does while it makes one."""
    error = answer(500, "InternalError", server="SeaweedFS 8000GB 4.48")
    found = meaning(error)
    assert isinstance(found, TryAgain)
    assert isinstance(found.error, TierFull)
    error.operation_name = "GetObject"
    found = meaning(error)
    assert isinstance(found, TryAgain)
    assert isinstance(found.error, TierUnreachable)


def test_damage_on_the_way_is_tried_again_and_named() -> None:
    """A digest that the server finds wrong may be a bit that flipped on the way."""
    found = meaning(answer(400, "BadDigest"))
    assert isinstance(found, TryAgain)
    assert isinstance(found.error, ChecksumMismatch)


def test_conditions_and_expiry_have_answers_of_their_own() -> None:
    """These two are for the tier itself to handle."""
    assert isinstance(meaning(answer(412, "PreconditionFailed")), PreconditionFailed)
    assert isinstance(meaning(answer(400, "ExpiredToken")), CredentialsExpired)


def test_server_without_tls_is_told_at_once_and_one_that_is_off_by_its_name() -> None:
    """The first does not mend by itself; of the second people are told which server it is."""
    plain = SSLError(endpoint_url="https://s3.example:9000/b", error="[SSL: WRONG_VERSION_NUMBER] wrong version number")
    refused = meaning(plain)
    assert isinstance(refused, TierUnreachable)
    assert (refused.message, "http://" in refused.hint) == ("the server does not speak TLS", True)
    off = meaning(EndpointConnectionError(endpoint_url="https://s3.example:9000/b"))
    assert isinstance(off, TryAgain)
    assert off.error.context["server"] == "s3.example:9000"
