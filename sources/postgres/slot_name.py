"""How a replication slot may be called."""

import re
from typing import Final

from repository.errors import TextInvalid

_NAME: Final = re.compile(r"[a-z0-9_]{1,63}")


def slot_name(name: str) -> str:
    """The name, as a server takes it. Raises `TextInvalid`."""
    if not _NAME.fullmatch(name):
        hint = "Write at most 63 lower-case letters, digits and underscores."
        raise TextInvalid("a slot cannot have this name", field="slot", hint=hint)
    return name
