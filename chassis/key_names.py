"""What a sealing key is called in what it sealed, and what of a name may stand in a path."""

import re

from contracts.errors import INVALID_FIELD, KEYS_UNUSABLE, PlatformError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def name_of(organisation: str, subject: str | None, generation: int) -> str:
    """The key's name in a box. `subject`: None of the organisation's own."""
    if subject is None:
        return f"organisation/{organisation}/{generation}"
    return f"subject/{organisation}/{subject}/{generation}"


def parts_of(name: str, organisation: str) -> tuple[str | None, int]:
    """Subject and generation of a key's name. Raises KEYS_UNUSABLE where it is not this organisation's."""
    match name.split("/"):
        case ["organisation", owner, generation] if owner == organisation and generation.isdecimal():
            return None, int(generation)
        case ["subject", owner, subject, generation] if owner == organisation and generation.isdecimal():
            return subject, int(generation)
    raise PlatformError(KEYS_UNUSABLE, "a sealed field names a key that is not its organisation's", key=name)


def bound_to(name: str, field: str) -> bytes:
    """The associated data of a box: it opens under this key and for this field alone."""
    return f"{name}\n{field}".encode()


def checked(identifier: str, field: str) -> str:
    """An id that is safe in a path. Raises INVALID_FIELD."""
    if not _ID.fullmatch(identifier):
        raise PlatformError(
            INVALID_FIELD,
            "an id has 1 to 128 letters, digits, '-' and '_', and begins with a letter or digit",
            field=field,
        )
    return identifier
