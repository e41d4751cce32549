"""Which checksum is a pack's own: what lets a bucket say, without a read, that it holds the pack of a name.

A pack is named by the BLAKE3 of its bytes; a server checks an upload by its SHA-256 and states that ever after. Beside
it lies a proof under a key of the repository (`ObjectStore.prove_packs`): who has not the key can put other bytes
there, with their checksum, but no proof of it. The name alone counts: without a proof the bytes have to be read.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable
from typing import Any, Final

from repository.format import PACK_LENGTH_MAX, Buffer, is_named, pack_id_in
from repository.tiers.port import OBJECT_LENGTH_MAX, PackProof
from repository.tiers.s3.versions import checksum_of

PROOF: Final = "wedsync-pack-proof"
"""The name of the proof among an object's metadata."""
_JUDGED_MAX: Final = 16_384
"""Versions of which it is remembered whether they are the object's own, at most."""


class PackDigests:
    """Makes proofs and judges them, from when it is known how (`prove`). Thread-safe."""

    def __init__(self) -> None:
        self.prove: PackProof | None = None
        self._judged: dict[tuple[str, str, bytes | None], bool] = {}
        self._lock = threading.Lock()

    def judged(self, object_key: str, version_id: str | None, sha256: bytes | None, look: Callable[[], bool]) -> bool:
        """What `look`, which reads the version, says of its bytes: asked once, as a version never changes."""
        if not version_id or version_id == "null":  # written before the bucket kept versions: it may be replaced
            return look()
        version = object_key, version_id, sha256
        with self._lock:
            known = self._judged.get(version)
        if known is not None:
            return known
        is_own = look()  # it is read for that: others judge theirs meanwhile
        with self._lock:
            if len(self._judged) >= _JUDGED_MAX:
                del self._judged[next(iter(self._judged))]
            self._judged[version] = is_own
        return is_own

    def metadata(self, object_key: str, sha256: bytes) -> dict[str, str]:
        """What to put beside an object of this checksum; nothing where it is no pack."""
        pack_id = pack_id_in(object_key)
        return {} if pack_id is None or self.prove is None else {PROOF: self.prove(pack_id, sha256).hex()}

    def states(self, object_key: str, answer: Any, sha256: bytes | None = None) -> bool | None:
        """Whether an answer to HEAD says that these are the object's own bytes: a pack's, or those of the digest.

        None where it says nothing of that.
        """
        pack_id, stated = pack_id_in(object_key), checksum_of(answer)
        if pack_id is None or stated is None:
            return None if stated is None or sha256 is None else stated == sha256
        if stated == pack_id:  # named by SHA-256, as packs once were
            return True
        proof = (answer.get("Metadata") or {}).get(PROOF, "")
        if not proof or self.prove is None:
            return None
        return hmac.compare_digest(proof.encode(), self.prove(pack_id, stated).hex().encode())


def may_be_own(object_key: str, size: int) -> bool:
    """Whether an object of so many bytes may be what its key says: a longer one is somebody else's, and is not read."""
    return size <= (OBJECT_LENGTH_MAX if pack_id_in(object_key) is None else PACK_LENGTH_MAX)


def is_own(object_key: str, body: Buffer, sha256: bytes | None = None) -> bool:
    """Whether these are the object's own bytes, as `PackDigests.states`; False where nothing says which those are."""
    pack_id = pack_id_in(object_key)
    return is_named(pack_id, body) if pack_id is not None else hashlib.sha256(body).digest() == sha256
