"""The licence of each package that the locks pin, as SPDX writes it, and which of them may be taken.

Promise: `licences.json` has each of them; a test compares it with what the installed package says of itself, so that a
licence which changes with a version is seen by a person. What is not on the list of allowed ones is refused by name.
"""

import json
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.licenses import canonicalize_license_expression

from deploy.supply.locks import BUILD, DEVELOP, ROOT, RUN, Pin, pins

FILE = "deploy/supply/licences.json"
PERMISSIVE = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU"),
        *("PSF-2.0", "Zlib"),
    }
)
BY_DECISION = {
    "certifi": "MPL-2.0",
    "hypothesis": "MPL-2.0",
    "pathspec": "MPL-2.0",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
    "psycopg-pool": "LGPL-3.0-only",
}
"""Copyleft of its own files, used unchanged and replaceable (ADR 0018, 0124): of these packages, and of no other."""
_WORDS = {
    "Apache 2 License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_READ = {
    "contourpy": "BSD-3-Clause",
    "cronsim": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "uvloop": "Apache-2.0 OR MIT",
}
"""What the text of the licence says, where the package's own words for it are no name of one."""


def declared(name: str) -> str | None:
    """What an installed package says of its licence, as SPDX; None where it is not installed. Raises ValueError."""
    if name in _READ:
        return _READ[name]
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return None
    classes = [each.split("::")[-1].strip() for each in told.get_all("Classifier", []) if each.startswith("License ::")]
    fields = [words for field in ("License-Expression", "License") for words in told.get_all(field, [])]
    for words in (*fields, *classes):
        if words:
            try:
                first = words.strip().splitlines()[0]
                return str(canonicalize_license_expression(_WORDS.get(first, first)))
            except ValueError:
                continue
    raise ValueError(f"{name} names no licence that can be understood: read its text, and say it in _READ")


def listed(root: Path = ROOT) -> dict[str, str]:
    """The licences that are listed, by package."""
    return dict(json.loads((root / FILE).read_text("utf-8")))


def write() -> None:
    """List the licences of all that is pinned and installed here; what is not installed keeps its line."""
    before = listed()
    names = sorted({pin.name for pin in pins(RUN, BUILD, DEVELOP)})
    now = {name: declared(name) or before.get(name, "") for name in names}
    (ROOT / FILE).write_text(json.dumps(now, indent=1) + "\n", "utf-8")


def refused(wanted: Iterable[Pin], licences: dict[str, str]) -> list[str]:
    """Why a package may not be taken, of each that may not."""
    found = []
    for name in sorted({pin.name for pin in wanted}):
        expression = licences.get(name)
        if not expression:
            found.append(f"{name}: its licence is not listed")
        elif not _is_allowed(name, expression):
            found.append(f"{name}: {expression} is not on the list of allowed licences")
    return found


def _is_allowed(name: str, expression: str) -> bool:
    """Of alternatives one is enough, of what is joined each is needed; nothing listed here has brackets in it."""
    if BY_DECISION.get(name) == expression:
        return True
    choices = re.split(r" OR ", expression)
    return any(all(part in PERMISSIVE for part in re.split(r" AND ", choice)) for choice in choices)
