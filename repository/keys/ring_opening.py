"""Opens what wraps a repository's keys, whatever of it is damaged, of a later version or another repository's."""

from repository.errors import Damaged, RepositoryError, UnknownKey, UnsupportedFormat, WrongKey
from repository.keys import crypto
from repository.keys.key_ring import DomainKeys, KeyProvider, KeyRecord, KeyRing, decode_wrapped_key, key_id_of, unwrap


def open_ring(records: list[KeyRecord], repository_id: bytes, provider: KeyProvider) -> KeyRing:
    """Unwrap what the provider's KEKs open.

    Raises `UnknownKey` where there are no records, `WrongKey` when the KEKs open none and none is
    damaged, `Damaged` when the right KEK met only damaged
    objects, `UnsupportedFormat` when there are only later versions' objects. A damaged object beside a whole
    one of the same master does no harm.
    """
    if not records:
        hint = "Put back what lay below keys/ on this tier, or give another tier of the repository as well."
        raise UnknownKey("no tier that answers has a key object of the repository", hint=hint)
    opened: list[DomainKeys] = []
    proven: set[tuple[str, str]] = set()
    faults: dict[str, RepositoryError] = {}
    shut: set[str] = set()
    for record in records:
        try:
            key = decode_wrapped_key(record)
        except (Damaged, UnsupportedFormat) as error:
            faults[record.object_key] = error
            continue
        try:
            opened.append(unwrap(key, repository_id, provider))
            proven.add((record.object_key, crypto.sha256(record.body).hex()))
        except WrongKey:
            shut.add(key_id_of(record.object_key))
            continue
        except Damaged as error:
            # One that says another repository's id was left by an interrupted `init`.
            if key.repository_id == repository_id.hex():
                faults[record.object_key] = error
    if not opened and faults:
        later = [error for error in faults.values() if isinstance(error, UnsupportedFormat)]
        if len(later) == len(faults):
            raise later[0]
        raise Damaged("no key object can be opened, and some are damaged", objects=list(faults))
    ring = KeyRing(opened)
    ring.damaged = list(faults)
    ring.proven = proven
    ring.shut = shut - {key.key_id.hex() for key in opened}
    return ring
