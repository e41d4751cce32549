"""An S3 tier whose network and server fail: each fault is sat out, or ends in the right error."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.errors import (
    AccessDenied,
    AlreadyExists,
    ChecksumMismatch,
    ClockSkewed,
    LocationInvalid,
    ObjectArchived,
    RepositoryError,
    Retry,
    TierFull,
    TierUnreachable,
)
from tests.faults.repository.conftest import Tiers
from tests.support.fault_proxy import Action, Fault, FaultProxy

PACK = Random(1).randbytes(3 << 20)
DIGEST = hashlib.sha256(PACK).digest()
PARTS = [PACK[:96], PACK[96:128], PACK[128 : 1 << 20], PACK[1 << 20 :]]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("refuse", "PUT", times=3),
        Fault("status", "PUT", times=5, status=500),
        Fault("status", "PUT", times=5, status=503, code="SlowDown"),
        Fault("status", "PUT", times=2, status=429, code="TooManyRequests"),
        Fault("status", "PUT", times=2, status=409, code="ConditionalRequestConflict"),
        Fault("status", "PUT", times=2, status=400, code="RequestTimeout"),
        Fault("reset-upload", "PUT", times=3, after=1 << 20),
        Fault("reset-upload", "PUT", times=1, after=0),
        Fault("corrupt-upload", "PUT", times=2, after=2 << 20),
        Fault("lost-ack", "PUT", times=1),
        Fault("delay", "PUT", times=1, seconds=0.3),
        Fault("throttle", "PUT", times=1, bytes_per_second=12 << 20),
    ],
    ids=lambda fault: f"{fault.action}-{fault.status}-{fault.after}",
)
@pytest.mark.parametrize("if_absent", [False, True])
def test_s3_tier_puts_in_spite_of(tiers: Tiers, proxy: FaultProxy, fault: Fault, if_absent: bool) -> None:
    """A put goes through a fault that passes, and what is stored is what was sent."""
    store = tiers.open(f"put-{fault.action}-{fault.status}-{fault.after}-{if_absent}")
    proxy.add(Fault(**{**vars(fault), "path": store._options.prefix}))
    store.put("packs/x", PARTS, sha256=DIGEST, if_absent=if_absent)
    assert [one.action for one in proxy.seen("PUT") if one.action] == [fault.action] * len(
        [one for one in proxy.seen("PUT") if one.action]
    )
    assert any(one.action == fault.action for one in proxy.seen("PUT"))
    assert store.get("packs/x") == PACK
    assert [info.key for info in store.list("")] == ["packs/x"]


def test_s3_tier_tells_its_own_lost_acknowledgement_from_another_writer(tiers: Tiers, proxy: FaultProxy) -> None:
    """When the acknowledgement was lost, the same bytes count as ours; another's bytes do not."""
    store, other = tiers.open("lost"), tiers.open("lost")
    proxy.add(Fault("lost-ack", "PUT", times=2))
    store.put("log/1", b"ours", if_absent=True)
    assert len(proxy.seen("PUT", "log/1")) == 3
    proxy.clear()
    with pytest.raises(AlreadyExists):
        other.put("log/1", b"theirs", if_absent=True)
    proxy.add(Fault("lost-ack", "PUT"))
    with pytest.raises(AlreadyExists):
        other.put("log/1", b"again", if_absent=True)
    assert store.get("log/1") == b"ours"


def test_s3_tier_locks_what_a_lost_acknowledgement_stored(tiers: Tiers, proxy: FaultProxy) -> None:
    """A put whose acknowledgement was lost has its lock all the same."""
    store = tiers.open("lost-lock", locks=True)
    until = store.now().replace(microsecond=0) + timedelta(seconds=600)
    proxy.add(Fault("lost-ack", "PUT"))
    store.put("log/1", b"entry", if_absent=True, lock_until=until)
    found = store.head("log/1")
    assert found is not None
    assert found.lock_until == until


def test_s3_tier_says_when_uploads_arrive_damaged_again_and_again(tiers: Tiers, proxy: FaultProxy) -> None:
    """The server's check of the digest finds each damaged upload, and nothing damaged is stored."""
    store = tiers.open("damaged", budget_seconds=1)
    proxy.add(Fault("corrupt-upload", "PUT", times=None, after=1000))
    with pytest.raises(ChecksumMismatch) as caught:
        store.put("packs/x", PACK, sha256=DIGEST)
    assert caught.value.retry == Retry.LATER
    assert len(proxy.seen("PUT")) > 1
    assert store.head("packs/x") is None


READS: list[tuple[Action, int]] = [
    ("reset", 0),
    ("reset", 1_500_000),
    ("truncate", 0),
    ("truncate", 2_999_999),
    ("refuse", 0),
    ("status", 0),
    ("delay", 0),
    ("throttle", 0),
]


@pytest.mark.parametrize(("action", "after"), READS)
@pytest.mark.parametrize("read", ["get", "range", "end"])
def test_s3_tier_reads_in_spite_of(tiers: Tiers, proxy: FaultProxy, action: Action, after: int, read: str) -> None:
    """A read goes through a fault that passes, also in the middle of the body, and returns the right bytes."""
    store = tiers.open(f"read-{action}-{after}-{read}")
    store.put("packs/x", PACK)
    proxy.add(Fault(action, "GET", times=2, after=after, seconds=0.2, bytes_per_second=12 << 20))
    if read == "get":
        assert store.get("packs/x") == PACK
    elif read == "range":
        assert store.get_range("packs/x", 1000, len(PACK) - 2000) == PACK[1000:-1000]
    else:
        assert store.get_range("packs/x", -(len(PACK) - 7), len(PACK) - 7) == PACK[7:]
    assert any(one.action == action for one in proxy.seen("GET"))


def test_s3_tier_goes_on_where_a_read_broke_off(tiers: Tiers, proxy: FaultProxy) -> None:
    """A connection that breaks again and again after some MiB moves on each time, and outlasts the budget."""
    store = tiers.open("resume", budget_seconds=0.5)
    store.put("packs/x", PACK)
    proxy.add(Fault("truncate", "GET", times=None, after=(1 << 20) + 70_000))
    assert store.get("packs/x") == PACK
    # What arrived before the connection was closed is kept, and only the rest is asked for.
    assert len(proxy.seen("GET")) == 3


def test_s3_tier_does_not_mix_two_objects(tiers: Tiers, proxy: FaultProxy) -> None:
    """When an object is replaced between two parts of a read, the read begins anew."""
    store, other = tiers.open("mixed"), tiers.open("mixed")
    store.put("x", PACK)
    replaced = PACK[::-1]
    proxy.add(Fault("truncate", "GET", times=1, after=(1 << 20) + 70_000))
    proxy.add(Fault("delay", "GET", times=1, seconds=1.0))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(store.get, "x")
        while len(proxy.seen("GET")) < 2:
            time.sleep(0.005)
        other.put("x", replaced)
        assert reading.result(20) == replaced


def test_s3_tier_hands_out_a_corrupted_read(tiers: Tiers, proxy: FaultProxy) -> None:
    """A bit that flips on the way back is not noticed by the tier: the layers above must authenticate."""
    store = tiers.open("corrupt")
    store.put("x", PACK)
    proxy.add(Fault("corrupt", "GET", after=100))
    assert store.get("x") != PACK
    assert store.get("x") == PACK


def test_s3_tier_sits_out_an_outage(tiers: Tiers, proxy: FaultProxy) -> None:
    """While the server answers 500 to everything, all calls wait; when it is back, all of them succeed."""
    store = tiers.open("outage")
    store.put("packs/x", PACK)
    proxy.add(Fault("status", times=None, status=500))
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(store.put, f"packs/{number}", PACK[:1000]) for number in range(4)]
        calls += [pool.submit(store.get, "packs/x"), pool.submit(lambda: list(store.list("")))]
        while len(proxy.seen()) < 30:
            time.sleep(0.01)
        assert not any(call.done() for call in calls)
        proxy.clear()
        for call in calls:
            call.result(20)
    assert len(list(store.list("packs/"))) == 5


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", times=None, status=500),
        Fault("status", times=None, status=503, code="SlowDown"),
        Fault("refuse", times=None),
        Fault("reset", times=None),
        Fault("blackhole", times=None),
    ],
    ids=lambda fault: f"{fault.action}-{fault.status}",
)
def test_s3_tier_gives_up_when_the_budget_is_spent(tiers: Tiers, proxy: FaultProxy, fault: Fault) -> None:
    """A tier that stays down ends in an error that says to try later, in bounded time, and later calls fail fast."""
    store = tiers.open(f"down-{fault.action}-{fault.status}", budget_seconds=1.0, read_timeout=0.5)
    proxy.add(fault)
    began = time.monotonic()
    with pytest.raises(TierUnreachable) as caught:
        store.get("packs/x")
    assert caught.value.retry == Retry.LATER
    assert caught.value.context["tier"] == store.name
    assert time.monotonic() - began < 30  # The library's own patience would be minutes.
    if fault.action != "reset":
        with pytest.raises(TierUnreachable):
            store.put("packs/x", PACK)
    requests = []
    for _ in range(8):
        before = len(proxy.seen())
        with pytest.raises(TierUnreachable):
            store.get("packs/x")
        requests.append(len(proxy.seen()) - before)
    assert 1 in requests, "the budget is spent again and again"


def test_s3_tier_of_which_nobody_listens(tiers: Tiers, proxy: FaultProxy) -> None:
    """A server that is not there is an unreachable tier; when it is there again the tier works."""
    options = tiers.open("gone", budget_seconds=0.3)
    options.put("x", b"1")
    upstream = proxy._server
    assert upstream is not None
    proxy._loop.call_soon_threadsafe(upstream.close)
    proxy.clear()
    for connection in list(proxy._connections):
        proxy._loop.call_soon_threadsafe(connection.cancel)
    with pytest.raises(TierUnreachable):
        options.get("x")


@pytest.mark.parametrize(
    ("status", "code", "error", "retry"),
    [
        (403, "AccessDenied", AccessDenied, Retry.AFTER_OPERATOR),
        (403, "SignatureDoesNotMatch", AccessDenied, Retry.AFTER_OPERATOR),
        (401, "Whatever", AccessDenied, Retry.AFTER_OPERATOR),
        (403, "RequestTimeTooSkewed", ClockSkewed, Retry.AFTER_OPERATOR),
        (403, "InvalidObjectState", ObjectArchived, Retry.AFTER_OPERATOR),
        (404, "NoSuchBucket", LocationInvalid, Retry.AFTER_OPERATOR),
        (301, "PermanentRedirect", LocationInvalid, Retry.AFTER_OPERATOR),
        (400, "InvalidArgument", LocationInvalid, Retry.AFTER_OPERATOR),
        (507, "InsufficientStorage", TierFull, Retry.AFTER_OPERATOR),
        (403, "QuotaExceeded", TierFull, Retry.AFTER_OPERATOR),
    ],
)
def test_s3_tier_does_not_repeat_what_stays_refused(
    tiers: Tiers, proxy: FaultProxy, status: int, code: str, error: type[RepositoryError], retry: Retry
) -> None:
    """An answer that will not change is the error at once, with who has to do something about it."""
    store = tiers.open("refused")
    proxy.add(Fault("status", path="refused", times=None, status=status, code=code))
    for call in (lambda: store.get("x"), lambda: store.put("x", b"1", if_absent=True), lambda: list(store.list(""))):
        before = len(proxy.seen(path="refused"))
        with pytest.raises(error) as caught:
            call()
        assert caught.value.retry == retry
        assert caught.value.hint
        # After a redirect the client looks for the bucket's region, once.
        asked = proxy.seen(path="refused")[before:]
        assert len(asked) == len(set(asked)) or (status == 301 and len(asked) <= 2)


def test_s3_tier_waits_as_long_as_the_server_asks(tiers: Tiers, proxy: FaultProxy) -> None:
    """Retry-After is honoured."""
    store = tiers.open("retry-after")
    proxy.add(Fault("status", "PUT", status=503, code="SlowDown", retry_after=1))
    began = time.monotonic()
    store.put("x", b"1")
    assert time.monotonic() - began >= 1.0


def test_s3_tier_keeps_to_its_rates(tiers: Tiers) -> None:
    """The limits of the address hold for both ways, over all threads together."""
    store = tiers.open("rates", options="&upload-mib-s=4&download-mib-s=3")
    for transfer, rate in ((lambda n: store.put(f"x/{n}", PACK), 4), (lambda n: store.get(f"x/{n}"), 3)):
        began = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(transfer, range(2)):
                pass
        took = time.monotonic() - began
        assert took >= 6 / rate - 0.3, (took, rate)


def test_s3_tier_keeps_to_its_number_of_requests(tiers: Tiers, proxy: FaultProxy) -> None:
    """No more requests are under way than the address allows."""
    store = tiers.open("requests", options="&requests=2")
    proxy.add(Fault("delay", "PUT", times=None, seconds=0.3))
    with ThreadPoolExecutor(6) as pool:
        puts = [pool.submit(store.put, f"x/{number}", b"1") for number in range(6)]
        while not proxy.seen("PUT"):
            time.sleep(0.005)
        time.sleep(0.15)
        assert len(proxy.seen("PUT")) == 2
        for put in puts:
            put.result(20)


def test_s3_tier_tells_the_time_of_the_server(tiers: Tiers, proxy: FaultProxy) -> None:
    """`now` is the server's clock: known from any answer, and asked for when there was none."""
    store = tiers.open("clock", budget_seconds=0.2)
    proxy.add(Fault("refuse", times=None))
    with pytest.raises(TierUnreachable):
        store.now()
    proxy.clear()
    first = store.now()
    count = len(proxy.seen())
    assert timedelta(0) <= store.now() - first < timedelta(seconds=5)
    assert len(proxy.seen()) == count


def test_s3_tier_deletes_and_lists_in_spite_of(tiers: Tiers, proxy: FaultProxy) -> None:
    """Listing, asking, locking and deleting are repeated like everything else."""
    store = tiers.open("all-methods", locks=True)
    proxy.add(Fault("status", times=2, status=503))
    store.put("x", b"1")
    until = store.now() + timedelta(seconds=2)
    for call in (
        lambda: store.head("x"),
        lambda: store.extend_lock("x", until),
        lambda: list(store.list("")),
    ):
        proxy.add(Fault("status", times=2, status=500))
        proxy.add(Fault("refuse", times=1))
        call()
    other = tiers.open("all-methods")
    other.put("y", b"1")
    proxy.add(Fault("lost-ack", "DELETE"))
    other.delete("y")
    assert other.head("y") is None


def test_s3_tier_knows_without_asking_that_it_is_not_local(tiers: Tiers, proxy: FaultProxy) -> None:
    """A restore sorts its tiers by nearness: a dead one among them must not end it."""
    store = tiers.open("nearness", budget_seconds=0.2)
    proxy.add(Fault("refuse", times=None))
    assert store.capabilities.local is False
    assert proxy.seen() == []
    for ask in (lambda: store.capabilities.locks, lambda: store.capabilities.versions):
        with pytest.raises(TierUnreachable):
            ask()
    proxy.clear()
    assert (store.capabilities.locks, store.capabilities.versions) == (False, False)
