"""What a tier in an S3 bucket promises beyond the common contract, against a real server."""

import hashlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from repository.errors import (
    AccessDenied,
    ChecksumMismatch,
    Damaged,
    LocationInvalid,
    Locked,
    ObjectMissing,
    RepositoryError,
    Retry,
    TierUnreachable,
)
from repository.format import pack_id_of, pack_object_key
from repository.tiers.location import open_tier, s3_options
from repository.tiers.port import ObjectStore
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.options import S3Credentials, credentials_from_environment
from repository.tiers.s3.reading import S3Reading
from repository.tiers.s3.store import S3ObjectStore
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import S3Server

IMPATIENT = RetryPolicy(budget_seconds=2.0, first_wait_seconds=0.02, longest_wait_seconds=0.2)
BODY = bytes(range(256)) * 300


@pytest.fixture
def open_bucket(s3_server: S3Server) -> Iterator[Callable[..., ObjectStore]]:
    """Opens a tier in a bucket, with the credentials that may do everything."""
    opened: list[ObjectStore] = []

    def open_bucket(bucket: str, prefix: str = "tier", *, environment: str = "all", **options: str) -> ObjectStore:
        variables = s3_server.environment if environment == "all" else s3_server.reader_environment
        credentials = credentials_from_environment(variables)
        store = open_tier(s3_server.url(bucket, prefix, **options), credentials=credentials, retry=IMPATIENT)
        opened.append(store)
        return store

    yield open_bucket
    for store in opened:
        store.close()


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def test_s3_tier_says_what_its_bucket_can_do(s3_server: S3Server, open_bucket: Callable[..., ObjectStore]) -> None:
    """Locks and versions are found by asking the bucket."""
    for versions, locks in ((False, False), (True, False), (True, True)):
        bucket = s3_server.shared_bucket(versions=versions and not locks, locks=locks)
        found = open_bucket(bucket).capabilities
        assert (found.versions, found.locks, found.local) == (versions, locks, False)


def test_s3_tier_keeps_to_its_prefix(s3_server: S3Server, open_bucket: Callable[..., ObjectStore]) -> None:
    """Tiers with other prefixes in one bucket do not see each other, also where one prefix begins like the other."""
    bucket = s3_server.shared_bucket()
    one, other, whole = open_bucket(bucket, "keep/a"), open_bucket(bucket, "keep/ab"), open_bucket(bucket, "")
    one.put("x", b"one")
    other.put("y", b"other")
    assert [info.key for info in one.list("")] == ["x"]
    assert [info.key for info in other.list("")] == ["y"]
    assert whole.get("keep/a/x") == b"one"
    assert one.head("y") is None


@pytest.mark.parametrize("locks", [False, True])
def test_s3_tier_looks_through_delete_markers(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore], locks: bool
) -> None:
    """An object that somebody else deleted from a bucket with versions is still read, found and listed."""
    bucket = s3_server.shared_bucket(versions=not locks, locks=locks)
    store = open_bucket(bucket, f"markers-{locks}")
    store.put("packs/aa/x", BODY, sha256=digest(BODY))
    store.put("packs/aa/y", BODY)
    store.put("packs/ab/z", BODY)
    client = s3_server.client()
    for key in ("packs/aa/x", "packs/ab/z"):
        for _ in range(2):
            client.delete_object(Bucket=bucket, Key=f"markers-{locks}/{key}")
    assert store.get("packs/aa/x") == BODY
    assert store.get_range("packs/aa/x", -10, 10) == BODY[-10:]
    found = store.head("packs/aa/x")
    assert found is not None
    assert found.size == len(BODY)
    assert [info.key for info in store.list("packs/")] == ["packs/aa/x", "packs/aa/y", "packs/ab/z"]
    assert [info.key for info in store.list("packs/", after="packs/aa/x")] == ["packs/aa/y", "packs/ab/z"]
    assert [info.size for info in store.list("packs/ab/")] == [len(BODY)]
    store.delete("packs/aa/x")
    assert store.head("packs/aa/x") is None
    with pytest.raises(ObjectMissing):
        store.get("packs/aa/x")
    left = client.list_object_versions(Bucket=bucket, Prefix=f"markers-{locks}/packs/aa/x")
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


@pytest.mark.parametrize("versions", [False, True])
def test_s3_tier_lists_nothing_that_is_no_key(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore], versions: bool
) -> None:
    """Names that no object can have are left out: whoever asked for them would only be told so."""
    bucket = s3_server.shared_bucket(versions=versions)
    store = open_bucket(bucket, f"strange-{versions}")
    store.put("packs/aa/x", BODY)
    for name in ("packs/aa/no key", "packs/\u00fc"):
        s3_server.client().put_object(Bucket=bucket, Key=f"strange-{versions}/{name}", Body=BODY)
    assert [info.key for info in store.list("packs/")] == ["packs/aa/x"]
    assert [info.key for info in store.list("")] == ["packs/aa/x"]


def test_s3_tier_extends_the_lock_of_a_hidden_object(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore]
) -> None:
    """The lock of an object below a delete marker is extended like any other."""
    bucket = s3_server.shared_bucket(locks=True)
    store = open_bucket(bucket, "hidden-lock")
    start = store.now().replace(microsecond=0)
    store.put("x", BODY, lock_until=start + timedelta(seconds=500))
    s3_server.client().delete_object(Bucket=bucket, Key="hidden-lock/x")
    store.extend_lock("x", start + timedelta(seconds=900))
    found = store.head("x")
    assert found is not None
    assert found.lock_until == start + timedelta(seconds=900)


def test_s3_tier_extends_a_lock_that_can_be_lifted_into_one_that_cannot(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore]
) -> None:
    """As firmly as is asked for now, also where it is long enough, and no shorter than it was; never the other way."""
    bucket, client = s3_server.shared_bucket(locks=True), s3_server.client()
    weak = open_bucket(bucket, "weak-lock", **{"lock-mode": "governance"})
    firm = open_bucket(bucket, "weak-lock")
    start = firm.now().replace(microsecond=0)
    for key, seconds in (("longer", 900), ("shorter", 300)):
        weak.put(key, BODY, lock_until=start + timedelta(seconds=500))
        firm.extend_lock(key, start + timedelta(seconds=seconds))
        weak.extend_lock(key, start + timedelta(seconds=seconds + 60))
        found = client.head_object(Bucket=bucket, Key=f"weak-lock/{key}")
        assert found["ObjectLockMode"] == "COMPLIANCE"
        assert found["ObjectLockRetainUntilDate"] == start + timedelta(seconds=max(seconds + 60, 500))


def test_s3_tier_locks_the_version_that_has_the_bytes(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore]
) -> None:
    """Of what lies over each other, that of the given digest is locked for longer; the rest gains no lock."""
    bucket, client = s3_server.shared_bucket(locks=True), s3_server.client()
    store = open_bucket(bucket, "covered")
    start = store.now().replace(microsecond=0)
    store.put("x", BODY, lock_until=start + timedelta(seconds=500))
    for body in (b"garbage", b"more"):
        client.put_object(Bucket=bucket, Key="covered/x", Body=body)
    with pytest.raises(Damaged) as caught:
        store.extend_lock("x", start + timedelta(seconds=900), sha256=digest(BODY))
    assert caught.value.context["is_beneath"]
    with pytest.raises(Damaged) as caught:
        store.extend_lock("x", start + timedelta(seconds=900), sha256=digest(b"never there"))
    assert not caught.value.context["is_beneath"]
    versions = client.list_object_versions(Bucket=bucket, Prefix="covered/x")["Versions"]
    heads = [client.head_object(Bucket=bucket, Key="covered/x", VersionId=each["VersionId"]) for each in versions]
    locks = {head["ContentLength"]: head.get("ObjectLockRetainUntilDate") for head in heads}
    assert locks == {len(BODY): start + timedelta(seconds=900), 7: None, 4: None}
    store.extend_lock("x", start + timedelta(seconds=700), sha256=digest(b"more"))
    found = store.head("x")
    assert found is not None
    assert found.lock_until == start + timedelta(seconds=700)


def _prove(pack_id: bytes, sha256: bytes) -> bytes:
    return blake3(pack_id + sha256, key=b"k" * 32).digest()


@pytest.mark.parametrize(
    ("kind", "is_read"),
    [("proven", False), ("named by SHA-256", False), ("without proof", True), ("key not known", True)],
)
def test_s3_tier_locks_the_version_of_a_packs_name(
    s3_server: S3Server,
    open_bucket: Callable[..., ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    is_read: bool,
) -> None:
    """What the server states of a pack is believed with the proof alone; without it the bytes are read."""
    bucket, client = s3_server.shared_bucket(locks=True), s3_server.client()
    prefix = kind.replace(" ", "-")
    store = open_bucket(bucket, prefix)
    key = pack_object_key(digest(BODY) if kind == "named by SHA-256" else pack_id_of(BODY))
    if kind != "without proof":
        store.prove_packs(_prove)
    start = store.now().replace(microsecond=0)
    store.put(key, BODY)
    store.prove_packs(_prove)
    if kind == "key not known":
        store = open_bucket(bucket, prefix)
    reads: list[str] = []
    read = S3Reading._read_version
    monkeypatch.setattr(
        S3Reading, "_read_version", lambda self, key, *rest: reads.append(key) or read(self, key, *rest)
    )
    found = store.head(key)
    assert found is not None
    assert found.is_own is (None if is_read else True)
    store.extend_lock(key, start + timedelta(seconds=900))
    assert bool(reads) is is_read
    # Garbage over it with whatever lies beside the pack, and without.
    beside = client.head_object(Bucket=bucket, Key=f"{prefix}/{key}")["Metadata"]
    for metadata in (beside, {}):
        client.put_object(
            Bucket=bucket, Key=f"{prefix}/{key}", Body=b"garbage", Metadata=metadata, ChecksumAlgorithm="SHA256"
        )
        found = store.head(key)
        assert found is not None
        assert not found.is_own
        with pytest.raises(Damaged) as caught:
            store.extend_lock(key, start + timedelta(seconds=1000))
        assert caught.value.context["is_beneath"]
        with pytest.raises(Damaged):
            store.set_legal_hold(key, True)
    versions = client.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/{key}")["Versions"]
    heads = [client.head_object(Bucket=bucket, Key=f"{prefix}/{key}", VersionId=each["VersionId"]) for each in versions]
    locks = [(head["ContentLength"], head.get("ObjectLockRetainUntilDate")) for head in heads]
    assert sorted(locks, key=lambda lock: lock[0]) == [
        (7, None),
        (7, None),
        (len(BODY), start + timedelta(seconds=1000)),
    ]
    originals = store.originals()
    assert originals is not None
    assert originals.get(key) == BODY
    store.set_legal_hold(key, False)


def test_s3_tier_proves_no_other_bytes_than_a_packs_own(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore]
) -> None:
    """A bit that flipped in memory since a pack was sealed is found before anything says that all is well."""
    store = open_bucket(s3_server.shared_bucket(), "flipped")
    store.prove_packs(_prove)
    key = pack_object_key(pack_id_of(BODY))
    for body in (BODY[:-1] + b"?", [BODY[:10], BODY[11:]]):
        with pytest.raises(ChecksumMismatch):
            store.put(key, body)
    assert store.head(key) is None
    store.put(key, [BODY[:10], BODY[10:]])
    found = store.head(key)
    assert found is not None
    assert (found.is_own, found.is_unproven) == (True, False)
    client = s3_server.client()
    client.put_object(
        Bucket=s3_server.shared_bucket(), Key=f"flipped/{key}", Body=b"?" * len(BODY), ChecksumAlgorithm="SHA256"
    )
    found = store.head(key)
    assert found is not None
    assert (found.is_own, found.is_unproven) == (None, True)


def test_s3_tier_reads_no_version_that_is_too_long_to_be_a_pack(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may put an object of any length under or over one: it is not the pack's, whatever it holds."""
    monkeypatch.setattr("repository.tiers.s3.pack_digests.PACK_LENGTH_MAX", len(BODY))
    bucket, client = s3_server.shared_bucket(locks=True), s3_server.client()
    store = open_bucket(bucket, "long")
    key = pack_object_key(pack_id_of(BODY))
    for body in (BODY + b"?", BODY, BODY + b"!"):
        client.put_object(Bucket=bucket, Key=f"long/{key}", Body=body)
    read: list[int] = []
    version = S3Reading._read_version
    monkeypatch.setattr(
        S3Reading, "_read_version", lambda self, key, of, *rest: read.append(of.size) or version(self, key, of, *rest)
    )
    with pytest.raises(Damaged) as caught:
        store.extend_lock(key, store.now() + timedelta(seconds=900))
    assert caught.value.context["is_beneath"]
    originals = store.originals()
    assert originals is not None
    assert originals.get(key) == BODY
    assert set(read) == {len(BODY)}
    # A version never changes: whose bytes it has is looked at once, however often that is asked.
    read.clear()
    with pytest.raises(Damaged):
        store.extend_lock(key, store.now() + timedelta(seconds=900))
    assert read == []


def test_s3_originals_show_what_was_written(s3_server: S3Server, open_bucket: Callable[..., ObjectStore]) -> None:
    """After somebody overwrote and deleted everything, `originals` reads what was there before, and only reads."""
    bucket = s3_server.shared_bucket(versions=True)
    store = open_bucket(bucket, "originals")
    named = pack_object_key(pack_id_of(BODY))
    # The pack was damaged when it was first written, and repaired: not the oldest version is the right one.
    client = s3_server.client()
    client.put_object(Bucket=bucket, Key=f"originals/{named}", Body=BODY[:-1] + b"?")
    store.put(named, BODY, sha256=digest(BODY))
    store.put("config", b"the config")
    store.put("log/1", b"once")
    for key in (named, "config"):
        client.put_object(Bucket=bucket, Key=f"originals/{key}", Body=b"pay us")
        client.delete_object(Bucket=bucket, Key=f"originals/{key}")
        client.put_object(Bucket=bucket, Key=f"originals/{key}", Body=b"pay us more")
    client.put_object(Bucket=bucket, Key="originals/later", Body=b"x")
    client.delete_object(Bucket=bucket, Key="originals/later")
    assert store.get(named) == b"pay us more"

    found = store.originals()
    by_address = open_bucket(bucket, "originals", originals="1")
    assert found is not None
    for view in (found, by_address):
        assert view.get(named) == BODY
        assert view.get_range(named, 5, 20) == BODY[5:25]
        assert view.get_range(named, -5, 5) == BODY[-5:]
        assert view.get("config") == b"the config"
        assert view.get("log/1") == b"once"
        assert view.get("later") == b"x"
        assert {info.key: info.size for info in view.list("")} == {
            named: len(BODY),
            "config": 10,
            "log/1": 4,
            "later": 1,
        }
        looked_at = view.head(named)
        assert looked_at is not None
        assert looked_at.size == len(BODY)
        assert view.head("missing") is None
        with pytest.raises(ObjectMissing):
            view.get("missing")
        for change in (
            lambda view=view: view.put("x", b"x"),
            lambda view=view: view.delete("config"),
            lambda view=view: view.extend_lock("config", view.now()),
        ):
            with pytest.raises(AccessDenied):
                change()
        view.close()
    assert store.get("log/1") == b"once"


def test_s3_originals_are_not_to_be_had_without_versions(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore]
) -> None:
    """A bucket that keeps no versions has no originals, and an address that asks for them says so."""
    bucket = s3_server.shared_bucket()
    assert open_bucket(bucket).originals() is None
    with pytest.raises(LocationInvalid):
        open_bucket(bucket, originals="1")


def test_s3_tier_finds_versions_beyond_a_page(s3_server: S3Server, open_bucket: Callable[..., ObjectStore]) -> None:
    """An object with more versions than a page holds is deleted whole, and listed once."""
    bucket = s3_server.shared_bucket(versions=True)
    store = open_bucket(bucket, "many-versions")
    assert isinstance(store, S3ObjectStore)
    for number in range(7):
        store.put("x", b"%d" % number)
        store.put(f"y/{number}", b"1")
    pages = store._versions.pages

    def small_pages(prefix: str, *, after: str = "") -> Iterator[object]:
        store._connection.call(
            lambda client: client.meta.events.register(
                "before-parameter-build.s3.ListObjectVersions",
                lambda params, **_: params.update(MaxKeys=3),
                unique_id="p",
            )
        )
        return pages(prefix, after=after)

    store._versions.pages = small_pages  # type: ignore[method-assign]
    assert [(info.key, info.size) for info in store.list("")] == [("x", 1), *((f"y/{n}", 1) for n in range(7))]
    originals = store.originals()
    assert originals is not None
    assert originals.get("x") == b"0"
    assert len(store._versions.of("many-versions/x")) == 7
    store.delete("x")
    assert [info.key for info in store.list("x")] == []


def test_s3_tier_with_a_legal_hold_is_locked(s3_server: S3Server, open_bucket: Callable[..., ObjectStore]) -> None:
    """An object under legal hold is not deleted, and the error says that it is locked."""
    bucket = s3_server.shared_bucket(locks=True)
    store = open_bucket(bucket, "hold")
    store.put("x", BODY)
    client = s3_server.client()
    client.put_object_legal_hold(Bucket=bucket, Key="hold/x", LegalHold={"Status": "ON"})
    with pytest.raises(Locked):
        store.delete("x")
    client.put_object_legal_hold(Bucket=bucket, Key="hold/x", LegalHold={"Status": "OFF"})
    store.delete("x")
    assert store.head("x") is None


def test_s3_tier_reads_with_credentials_that_may_only_read(
    s3_server: S3Server, open_bucket: Callable[..., ObjectStore]
) -> None:
    """Everything that a restore needs works with a reader's credentials; writing is refused with a hint."""
    for locks in (False, True):
        bucket = s3_server.shared_bucket(locks=locks)
        open_bucket(bucket, "reader").put("packs/x", BODY)
        reader = open_bucket(bucket, "reader", environment="reader")
        assert reader.get("packs/x") == BODY
        assert reader.get_range("packs/x", 3, 4) == BODY[3:7]
        assert [info.key for info in reader.list("")] == ["packs/x"]
        assert reader.head("missing") is None
        assert reader.capabilities is not None
        for refused in (
            lambda reader=reader: reader.put("y", b"1"),
            lambda reader=reader: reader.put("y", b"1", if_absent=True, lock_until=reader.now()),
            lambda reader=reader: reader.delete("packs/x"),
        ):
            with pytest.raises(AccessDenied) as caught:
                refused()
            assert caught.value.hint


def test_s3_tier_passes_the_storage_class(s3_server: S3Server, open_bucket: Callable[..., ObjectStore]) -> None:
    """New objects get the storage class of the address."""
    bucket = s3_server.shared_bucket()
    store = open_bucket(bucket, "class", **{"storage-class": "STANDARD_IA"})
    assert isinstance(store, S3ObjectStore)
    sent = []
    store._connection.call(
        lambda client: client.meta.events.register("before-call.s3.PutObject", lambda params, **_: sent.append(params))
    )
    store.put("x", BODY, sha256=digest(BODY))
    headers = {str(name).lower(): value for name, value in sent[0]["headers"].items()}
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-checksum-sha256"]
    assert "x-amz-checksum-crc32" not in headers


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"bucket": "no-such-bucket"}, LocationInvalid),
        ({"credentials": lambda: S3Credentials("NOBODY00000000000000", "wrong")}, AccessDenied),
        ({"credentials": credentials_from_environment({})}, AccessDenied),
        ({"region": "not a region!"}, LocationInvalid),
    ],
    ids=["bucket", "key", "no-key", "region"],
)
def test_s3_tier_says_what_is_wrong_with_its_address(
    s3_server: S3Server, wrong: dict[str, object], error: type[RepositoryError]
) -> None:
    """A wrong bucket, key or region is an error for the operator at once, without waiting for it to pass."""
    options, _ = s3_options(
        s3_server.url(s3_server.shared_bucket(), "wrong"),
        credentials=credentials_from_environment(s3_server.environment),
        retry=RetryPolicy(budget_seconds=1000, first_wait_seconds=100, longest_wait_seconds=100),
    )
    store = S3ObjectStore(replace(options, **wrong))  # type: ignore[arg-type]
    calls: list[Callable[[], object]] = [
        lambda: store.get("x"),
        lambda: store.put("x", b"1", if_absent=True),
        lambda: list(store.list("")),
        lambda: store.delete("x"),
    ]
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert "wrong" not in str(caught.value.context)
    store.close()


def test_s3_tier_asks_for_new_credentials_when_they_have_expired(s3_server: S3Server) -> None:
    """A provider is asked again when the server says that a session has expired."""
    from botocore.exceptions import ClientError

    asked = []

    def provide() -> S3Credentials:
        asked.append(1)
        return credentials_from_environment(s3_server.environment)()

    options, _ = s3_options(s3_server.url(s3_server.shared_bucket(), "expiry"), credentials=provide, retry=IMPATIENT)
    store = S3ObjectStore(options)
    expired = ClientError({"Error": {"Code": "ExpiredToken"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "PutObject")
    failures = [expired]

    def attempt(client: object) -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert store._connection.call(attempt) == "done"
    assert len(asked) == 2
    failures += [expired, expired]
    with pytest.raises(AccessDenied):
        store._connection.call(attempt)
    store.close()


def test_s3_tier_is_loaded_without_its_library() -> None:
    """Nothing loads boto3 before the first call: the command line has to start fast."""
    program = (
        "import sys; from repository.tiers.location import open_tier; open_tier('s3://bucket/p');"
        "sys.exit(any(name.startswith(('boto', 'urllib3')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# HTTPS


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody signed, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wedsync tests")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + built.public_bytes(Encoding.PEM)
    )
    return path


def test_s3_tier_over_https_trusts_the_given_authority_alone(s3_server: S3Server, tmp_path: Path) -> None:
    """With the address's own authority everything works; without it the server is refused, with a hint, at once."""
    path = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    with FaultProxy(s3_server.endpoint, tls=tls) as proxy:
        address = f"s3://{s3_server.shared_bucket()}/https?endpoint={proxy.endpoint}&region=x"
        credentials = credentials_from_environment(s3_server.environment)
        store = open_tier(f"{address}&ca={path}", credentials=credentials, retry=IMPATIENT)
        parts = [BODY[:96], BODY, BODY[:32], BODY * 20]
        whole = b"".join(parts)
        store.put("x", parts, sha256=digest(whole), if_absent=True)
        assert store.get("x") == whole
        assert store.get_range("x", -1000, 1000) == whole[-1000:]
        with pytest.raises(ChecksumMismatch):
            store.put("y", parts, sha256=digest(BODY))
        assert store.head("y") is None
        store.close()
        stranger = open_tier(address, credentials=credentials, retry=RetryPolicy(budget_seconds=1000))
        for call in (lambda: stranger.get("x"), lambda: stranger.put("z", b"1")):
            with pytest.raises(TierUnreachable) as caught:
                call()
            assert caught.value.retry == Retry.AFTER_OPERATOR
            assert "ca" in caught.value.hint
        stranger.close()
