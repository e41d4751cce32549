"""What an S3 tier's client is made of: the address and its credentials, and nothing that lies around."""

import errno

import pytest
from botocore.exceptions import HTTPClientError

from repository.errors import AccessDenied, LocationInvalid, TierUnreachable, TooFewDescriptors
from repository.tiers.s3.connection import S3Connection
from repository.tiers.s3.errors import not_made, translated
from repository.tiers.s3.options import S3Credentials, S3Options, credentials_from_environment
from repository.tiers.s3.versions import expect_listing, next_page


def connection(**options: object) -> S3Connection:
    """A connection that nobody has used yet."""
    return S3Connection("cloud", S3Options(bucket="b", credentials=lambda: S3Credentials("key", "secret"), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "of-somebody"),
        ("AWS_DEFAULT_PROFILE", "of-somebody"),
        ("AWS_ENDPOINT_URL", "http://elsewhere.example"),
        ("AWS_ENDPOINT_URL_S3", "http://elsewhere.example"),
        ("AWS_DEFAULTS_MODE", "nonsense"),
        ("AWS_RETRY_MODE", "nonsense"),
        ("AWS_MAX_ATTEMPTS", "many"),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "few"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "nonsense"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
    ],
)
def test_variable_for_other_programs_changes_nothing(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """What is set for another program decides neither where backups go nor whether they do."""
    monkeypatch.setenv(name, value)
    assert connection().call(lambda client: client.meta.endpoint_url) == "https://s3.amazonaws.com"


def test_client_that_cannot_be_made_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server was asked: that is no failing connection, is not tried again, and the hint names what may be wrong."""
    monkeypatch.setenv("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "nonsense")
    with pytest.raises(LocationInvalid, match="client of S3 cannot be made") as info:
        connection().call(lambda _client: None)
    assert "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT" in info.value.hint
    assert "nonsense" not in str(info.value) + info.value.hint


def test_authorities_that_are_not_there_are_told_at_once() -> None:
    """A file that is missing is no failing connection either."""
    with pytest.raises(LocationInvalid) as info:
        connection(certificate_authorities="/nowhere/ca.pem").call(lambda _client: None)
    assert info.value.context["option"] == "ca"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIA42\n"),
        ("AWS_SECRET_ACCESS_KEY", "s3cr3t\r"),
        ("AWS_SECRET_ACCESS_KEY", " s3cr3t"),
        ("AWS_SESSION_TOKEN", "to\nken"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", "geheim\u00fc"),
    ],
)
def test_credential_that_cannot_be_sent_is_refused_by_name(name: str, value: str) -> None:
    """The end of a line that came along with a secret is named, and the secret is not."""
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"} | {name: value}
    with pytest.raises(AccessDenied) as info:
        credentials_from_environment(environment)()
    assert info.value.context == {"setting": name}
    assert not value or value.strip() not in str(info.value) + info.value.hint


def test_want_of_descriptors_is_no_failing_connection() -> None:
    """A process that may open nothing more is told so, however deep the client has wrapped it."""
    cause = OSError(errno.EMFILE, "too many")
    wrapped = HTTPClientError(error=cause)
    assert isinstance(translated(wrapped, tier="cloud", key=None), TooFewDescriptors)
    assert isinstance(not_made(cause, tier="cloud"), TooFewDescriptors)
    other = translated(HTTPClientError(error=OSError(errno.ECONNRESET, "reset")), tier="cloud", key=None)
    assert isinstance(getattr(other, "error", None), TierUnreachable)


def test_answer_without_a_listing_is_no_empty_bucket() -> None:
    """A proxy's or a broken server's: of no objects it says nothing."""
    expect_listing({"IsTruncated": False}, "cloud")
    with pytest.raises(TierUnreachable, match="without a listing"):
        expect_listing({"ResponseMetadata": {"HTTPStatusCode": 200}}, "cloud")


def test_listing_that_never_gets_on_is_no_listing() -> None:
    """A server that answers each page with the same place, or with none, would be asked for ever."""
    names = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
    first = next_page({"NextKeyMarker": "a", "NextVersionIdMarker": "1"}, {}, names, "cloud")
    assert first == {"KeyMarker": "a", "VersionIdMarker": "1"}
    # Another version of the same object is another place.
    assert next_page({"NextKeyMarker": "a", "NextVersionIdMarker": "2"}, first, names, "cloud") != first
    for answer in ({"NextKeyMarker": "a", "NextVersionIdMarker": "1"}, {"NextKeyMarker": ""}, {}):
        with pytest.raises(TierUnreachable, match="does not say from where"):
            next_page(answer, first, names, "cloud")
