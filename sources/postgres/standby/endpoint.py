"""Where applications find the primary: a service file of libpq (`PGSERVICEFILE`, `service=NAME`), replaced as a whole.

Promise: whoever opens it reads the old place or the new one, never a half; a file that somebody else wrote stays.
"""

import os
from pathlib import Path
from typing import Final

from repository.errors import Retry
from sources.postgres.standby.server import Server, StandbyRefused

NAME: Final = "pg_service.conf"
SERVICE: Final = "primary"
_HEAD: Final = "# Written by WedSync Backup; do not edit."


def switch(folder: Path, to: Server) -> None:
    """Have applications that connect anew find this server. May be called again. Raises `OSError`, `StandbyRefused`."""
    file = folder / NAME
    if file.exists() and not file.read_text(encoding="utf-8", errors="replace").startswith(_HEAD):
        raise StandbyRefused(
            "the file of the endpoint is somebody else's",
            reason="endpoint-foreign",
            hint=f"Give a folder in which {NAME} is absent.",
            retry=Retry.AFTER_OPERATOR,
        )
    host, port = to.place
    text = f"{_HEAD}\n[{SERVICE}]\nhost={host}\nport={port}\ndbname={to.database.name}\n"
    new = folder / f".{NAME}.new"
    with new.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.chmod(0o644)
    new.replace(file)
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(at)
    finally:
        os.close(at)
