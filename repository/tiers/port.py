"""The port through which the repository reaches a tier: a store of immutable objects named by keys.

A key is a relative path of ASCII segments (`packs/ab/<64 hex>`), never empty, never with `.` or `..`.
Every adapter passes `tests/conformance/test_object_store.py`, and what that suite asserts is the
contract; in short:

- **Durability.** When `put` returns, the object survives a power cut of the machine that keeps it. With
  `durable=False` that holds from the return of the next `sync` on; after a power cut before that the
  object is whole or absent, never partial.
- **Atomicity.** A reader sees the whole object or none. Two puts of one key never mix.
- **Conditional creation.** With `if_absent`, exactly one of several concurrent puts of one key succeeds.
  A put that finds its *own identical bytes* there succeeds as well: this is how an acknowledgement that
  was lost on the way is recognised. Whoever must tell itself from a twin puts a token into the body.
- **Idempotence.** `put` without `if_absent`, `delete`, `extend_lock` and `sync` may be repeated.
- **Integrity.** `sha256` is checked against the bytes on receipt by a store that can (S3); a directory
  trusts the memory that it is given. Reads are not checked: the layers above authenticate every byte.
- **Retries** are the adapter's business, within its budget. An error with `retry = later` means that the
  budget is spent; the same call may succeed later. A failed `put` may nevertheless have been done.
- **Threads.** All methods may be called from any number of threads at once.

Every error is a `RepositoryError`; the ones of tiers are in `repository.errors`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

from repository.errors import Damaged, InvalidKey

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes. A memoryview must be of format `B` and is only read until the call returns."""

Body: TypeAlias = Buffer | Sequence[Buffer]
"""One object's bytes, in one buffer or in several that follow each other (written without joining them)."""

PackProof: TypeAlias = Callable[[bytes, bytes], bytes]
"""Of a pack's id and the SHA-256 of its bytes: what only who has the repository's keys can say of the two."""

KEY_LENGTH_MAX = 512
OBJECT_LENGTH_MAX = 1 << 30
"""Bytes of any object, at most: a longer one was put there by somebody else, and is never read into memory."""
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*", re.ASCII)
_PREFIX = re.compile(rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?", re.ASCII)


def checked_key(key: str) -> str:
    """The key itself, if it is well formed; raises `InvalidKey`.

    A segment begins with a letter, a digit or an underscore: `.`, `..` and the temporary names of the
    directory tier are no keys, so none leaves the tier's folder or meets an unfinished file.
    """
    if not is_key(key):
        raise InvalidKey("not an object key", key=key[:80])
    return key


def is_key(name: str) -> bool:
    """Whether something of this name can be an object of a tier; a listing leaves the rest out."""
    return len(name) <= KEY_LENGTH_MAX and _KEY.fullmatch(name) is not None


def checked_prefix(prefix: str) -> str:
    """The prefix itself, if it can begin a key (or is empty); raises `InvalidKey`."""
    if len(prefix) > KEY_LENGTH_MAX or not _PREFIX.fullmatch(prefix):
        raise InvalidKey("not the beginning of an object key", key=prefix[:80])
    return prefix


def buffers_of(body: Body) -> list[memoryview]:
    """The body's buffers as flat views of bytes, empty ones left out; nothing is copied."""
    parts = [body] if isinstance(body, bytes | bytearray | memoryview) else body
    views = (memoryview(part).cast("B") for part in parts)
    return [view for view in views if view.nbytes]


def check_length(length: int, length_max: int, *, tier: str, key: str) -> None:
    """Raises `Damaged` where an object is longer than its reader takes, before a byte of it is in memory."""
    if length > length_max:
        raise Damaged(
            "object is longer than one of its kind can be",
            tier=tier,
            object_key=key,
            length=length,
            length_max=length_max,
        )


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of one object without handing out its bytes.

    `size` is in bytes. `is_own`, of a pack: whether the store states that it has the bytes of its name; None where it
    does not. `is_unproven`: it states a checksum, and only reading shows whose that is. `lock_until` is None where
    there is no lock or where `list` would have to ask for each object.
    """

    key: str
    size: int
    is_own: bool | None = None
    lock_until: datetime | None = None
    is_unproven: bool = False


class Hidden(NamedTuple):
    """An object under a delete marker, and since when it is, by the store's clock."""

    key: str
    since: datetime


class Capabilities(Protocol):
    """What a store can do beyond the port's minimum. `local` is known at once; the others may ask the store
    the first time, and raise its errors.
    """

    @property
    def local(self) -> bool:
        """`local_path` gives paths."""
        ...

    @property
    def locks(self) -> bool | None:
        """`lock_until`, `extend_lock` and legal holds are enforced. Where it is False they are accepted without effect.

        None where that must not be known: then they are attempted, and `repository.locking` proves what became of it.
        """
        ...

    @property
    def versions(self) -> bool:
        """What was overwritten or deleted is still there: reads find the newest version that is no delete
        marker, and `originals` gives a view in which nothing was overwritten.
        """
        ...


@dataclass(frozen=True, slots=True)
class KnownCapabilities:
    """Capabilities that nobody has to be asked for."""

    local: bool = False
    locks: bool | None = False
    versions: bool = False


class ObjectStore(Protocol):
    """One tier's objects, below the tier's own prefix. See the module's docstring for the promises."""

    @property
    def name(self) -> str:
        """What people call the tier (`local`, `cloud-primary`); in progress, errors and metrics."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""
        ...

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,
        if_absent: bool = False,
        lock_until: datetime | None = None,
        durable: bool = True,
    ) -> None:
        """Store `body` under `key`, durably on return (with `durable=False`: after the next `sync`).

        `sha256`: digest of the whole body (32 bytes), computed here when it is not given and needed.
        `if_absent`: refuse to replace an object of other bytes. `lock_until`: aware, by the store's clock.

        Raises `AlreadyExists` (only with `if_absent`), `Locked` (replacing a locked object, where the
        store does not keep the old version), `ChecksumMismatch`, `TierFull`, `TierUnreachable`,
        `AccessDenied`, `InvalidKey`.
        """
        ...

    def sync(self) -> None:
        """Make all earlier puts with `durable=False` durable and visible. Free when there are none."""
        ...

    def settle(self, keys: Iterable[str]) -> None:
        """Make these objects durable, whoever put them; a key without an object is no error.

        For whoever relies on what it found: the one that put it may have died before its own `sync`.
        """
        ...

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """The whole object; one of more than `length_max` bytes is not read.

        Raises `ObjectMissing`, `Truncated`, `Damaged` (longer than that), `TierUnreachable`, `AccessDenied`,
        `InvalidKey`.
        """
        ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; a negative `offset` counts from the end of the object.

        Raises `Truncated` when the object ends before that (it says what there was), else as `get`.
        """
        ...

    def read_into(self, key: str, offset: int, room: memoryview) -> None:
        """Fill `room` from `offset` (at least 0) of the object. Raises as `get_range`.

        Where it has raised, what is in `room` may still change: it is not to be used again.
        """
        ...

    def while_reading(self, work: Callable[[], None]) -> None:
        """Do `work`, which reads much of this store, on one thread, perhaps another than this. Raises what it raises.

        Raises `TierUnreachable`, too, as soon as one of these reads is left without an answer. Should that come back
        after all, it raises in `work` what is no `RepositoryError` and no `OSError`: nobody waits for it any more.
        """
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What the store knows of the object, or None where there is none.

        Raises `TierUnreachable`, `AccessDenied`, `InvalidKey`.
        """
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects whose key starts with `prefix` and sorts after `after`, sorted by key (by code point).

        What somebody else put there under a name that is no key is no object, and is left out.
        `after` is the key of an object, there or not: servers disagree on the name of a folder.
        Objects put or deleted meanwhile may be missing or there; all others are listed exactly once.
        Raises as `head`, while iterating.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object, durably. An object that is not there is no error.

        Raises `Locked` where a lock holds, `TierUnreachable`, `AccessDenied`, `InvalidKey`.
        """
        ...

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:
        """Keep the object from deletion and replacement until `until` (aware, by the store's clock).

        A lock is never shortened: an earlier `until` than the present one changes nothing. With `sha256`, and of a
        pack, whose name says it, the version of these bytes is locked and no other, and `Damaged` is raised where it
        is not the one that is read.
        Without the capability `locks` nothing happens. Raises `ObjectMissing`, `TierUnreachable`, `AccessDenied`.
        """
        ...

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:
        """Keep the object from deletion and replacement, without an end, or do so no more; a lock's date stays.

        To hold, of other bytes as `extend_lock`; to let go, with `sha256` alone. Without the capability `locks` nothing
        happens. Raises as `extend_lock`.
        """
        ...

    def legal_hold(self, key: str) -> bool | None:
        """Whether a legal hold is on the object that is read; None where the store does not tell, or knows none.

        An object that is not there has none. Raises as `head`.
        """
        ...

    def now(self) -> datetime:
        """The time by the store's own clock, aware, in UTC: lock dates are judged by it.

        Raises `TierUnreachable`.
        """
        ...

    def local_path(self, key: str) -> str | None:
        """The object's path on this machine's disk, for mapping it into memory; None where there is none.

        Raises `InvalidKey`.
        """
        ...

    def blocked_by(self, key: str) -> str | None:
        """What has the key's name and is no object, in words that say where it is; None: nothing does.

        A folder can, say: nothing is read, listed or created under this key then. Also what has the name of a folder
        above it and is none. Raises as `head`.
        """
        ...

    def no_objects(self, folder: str) -> Iterator[str]:
        """The keys right below this one, without a slash at its end, of which `blocked_by` tells. Raises as `list`."""
        ...

    def sweep(self, folder: str) -> Sequence[str]:
        """Remove, durably, what writers that died have left right below this key, without a slash at its end, and that
        is no object; the names of what could not be removed, since its writer lives, say. Raises as `delete`.
        """
        ...

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        """All that was stored under the key and is still kept, the oldest first; longer ones are left out.

        Nothing where the store keeps nothing of what was overwritten. Raises as `get`, while iterating.
        """
        ...

    def hidden(self) -> "Iterator[Hidden]":
        """The objects over which somebody put a delete marker, by key: they are read and listed here all the same.

        None where the store keeps no versions, or does not tell of them. Raises as `list`.
        """
        ...

    def uncover(self, key: str) -> None:
        """Take the delete markers of an object away. Raises as `delete`."""
        ...

    def set_aside(self, key: str, aside: str) -> None:
        """Keep the object's bytes under a second key, durably, before something else is put under the first.

        The first key may be without an object afterwards. Nothing is read into memory, whatever its length.
        Raises `ObjectMissing`, `TierFull`, `TierUnreachable`, `AccessDenied`, `InvalidKey`.
        """
        ...

    def originals(self) -> "ObjectStore | None":
        """A read-only view of the tier as it was written, or None where the store keeps no old versions.

        In it an object named by its digest is the version that has it, and every other object is its oldest
        version. It is the last resort after somebody overwrote objects that a lock protects: the overwriting leaves
        the locked version beneath. Slower than the tier itself.
        """
        ...

    def prove_packs(self, prove: PackProof) -> None:
        """Put this proof beside each pack from now on, and believe a checksum that the store states with it.

        For a store that states checksums and does not read; others have no use for it.
        """
        ...

    def close(self) -> None:
        """Sync, then give back connections and threads. Afterwards only `close` may be called."""
        ...
