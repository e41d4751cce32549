"""Addresses of tiers."""

import pytest

from repository.errors import AccessDenied, LocationInvalid
from repository.tiers.folder.answering import AnsweringStore
from repository.tiers.limits import Limits
from repository.tiers.location import open_tier, s3_options
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.options import S3Options, credentials_from_environment


@pytest.mark.parametrize(
    ("url", "root", "name"),
    [
        ("file:///srv/backup", "/srv/backup", "backup"),
        ("file:///srv/a%20folder/%23%3f/", "/srv/a folder/#?", "#?"),
        ("file://localhost/srv/backup/", "/srv/backup", "backup"),
        ("file:///srv/x/../backup", "/srv/backup", "backup"),
        ("file:///", "/", "directory"),
        ("file:///s%C3%A9r", "/sér", "sér"),
    ],
)
def test_open_tier_opens_a_directory(url: str, root: str, name: str) -> None:
    """A file address is a directory tier at that path; its name is the folder's."""
    store = open_tier(url)
    assert isinstance(store, AnsweringStore)
    assert (store._store._root, store.name) == (root, name)
    assert open_tier(url, name="cellar").name == "cellar"


def test_s3_options_take_all_of_an_address() -> None:
    """Every option of an address has its effect."""
    options, originals = s3_options(
        "s3://some-bucket/a/pre%2Bfix/?endpoint=https%3A%2F%2Fs3.example.org%3A9000&region=eu-central-1"
        "&storage-class=STANDARD_IA&lock-mode=governance&addressing=virtual&ca=%2Fetc%2Fca.pem&requests=4"
        "&upload-mib-s=2.5&download-mib-s=10&retry-seconds=7.5&read-timeout=11&originals=1"
    )
    assert originals is True
    assert (options.bucket, options.prefix, options.endpoint) == (
        "some-bucket",
        "a/pre+fix/",
        "https://s3.example.org:9000",
    )
    assert (options.region, options.storage_class, options.lock_mode) == ("eu-central-1", "STANDARD_IA", "GOVERNANCE")
    assert (options.addressing, options.certificate_authorities) == ("virtual", "/etc/ca.pem")
    assert options.limits == Limits(4, 2_621_440, 10_485_760)
    assert (options.retry.budget_seconds, options.read_timeout_seconds) == (7.5, 11.0)


def test_s3_options_have_defaults() -> None:
    """A bucket alone is an address: of AWS, by path, with compliance locks and no limits of rate."""
    options, originals = s3_options("s3://bucket")
    assert originals is False
    assert (options.prefix, options.endpoint, options.region) == ("", None, None)
    assert (options.lock_mode, options.addressing, options.storage_class) == ("COMPLIANCE", "path", None)
    assert options.limits == Limits()
    assert options.retry == RetryPolicy()
    given = RetryPolicy(budget_seconds=1)
    assert s3_options("s3://bucket?retry-seconds=9", retry=given)[0].retry == given


@pytest.mark.parametrize(
    "url",
    [
        "", "/srv/backup", "srv/backup", "http://bucket/prefix", "S4://bucket",
        "file://host/srv", "file:srv", "file://", "file:///a?b=c", "file:///a#b", "file:///a%00b",
        "s3://", "s3:///prefix", "s3://b", "s3://-bucket", "s3://bucket#x", "s3://bucket/a//b", "s3://bucket/../x",
        "s3://bucket/a%20b", "s3://bucket/./a", "s3://bucket/a%3fb", "s3://key:secret@bucket/x",
        "s3://bucket?unknown=1", "s3://bucket?region=", "s3://bucket?region=a&region=b", "s3://bucket?secret=x",
        "s3://bucket?endpoint=ftp://x", "s3://bucket?endpoint=host:9000", "s3://bucket?endpoint=https://",
        "s3://bucket?endpoint=http://x:banana", "s3://bucket?endpoint=http://x:70000", "s3://bucket?endpoint=http://:9000",
        "s3://bucket?endpoint=http://key:secret@x", "s3://bucket?endpoint=http://x%3Fregion=eu",
        "s3://bucket?lock-mode=none", "s3://bucket?addressing=x", "s3://bucket?originals=yes",
        "s3://bucket?endpoint=http://x&ca=/etc/ca.pem", "s3://bucket?ca=/etc/ca.pem&endpoint=HTTP://x",
        "s3://bucket?requests=0", "s3://bucket?requests=1.5", "s3://bucket?requests=many", "s3://bucket?requests=-1",
        "s3://bucket?upload-mib-s=0", "s3://bucket?upload-mib-s=nan", "s3://bucket?retry-seconds=inf",
    ],
)  # fmt: skip
def test_open_tier_refuses_a_malformed_address(url: str) -> None:
    """What is no address is refused with a hint, and credentials in one are not repeated."""
    with pytest.raises(LocationInvalid) as caught:
        open_tier(url)
    assert caught.value.hint
    assert "key:secret" not in str(caught.value)


def test_credentials_come_from_the_environment_alone() -> None:
    """Key and secret are read when they are needed; a missing one is named; nothing shows them."""
    variables = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": "tok"}
    provider = credentials_from_environment(variables)
    found = provider()
    assert (found.access_key_id, found.secret_access_key, found.session_token) == ("AKIA", "hush", "tok")
    assert "hush" not in repr(found)
    assert "tok" not in repr(found)
    variables["AWS_SESSION_TOKEN"] = ""
    assert provider().session_token is None
    for missing in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        del variables[missing]
        with pytest.raises(AccessDenied, match=missing):
            provider()


def test_credentials_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an explicit mapping the process's own variables count, at the time of the call."""
    provider = credentials_from_environment()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-LATER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    assert provider().access_key_id == "AKIA-LATER"


@pytest.mark.parametrize(
    ("endpoint", "is_on_this_machine"),
    [
        ("http://127.0.0.1:8333", True),
        ("http://[::1]:8333", True),
        ("https://localhost", True),
        ("https://s3.example.org", False),
        ("https://127.0.0.1.example.org", False),
        (None, False),
    ],
)
def test_s3_options_know_a_server_on_this_machine(endpoint: str | None, is_on_this_machine: bool) -> None:
    """No proxy of the environment stands between two programs of one machine; all else may need one."""
    assert S3Options(bucket="bucket", endpoint=endpoint).is_on_this_machine is is_on_this_machine
