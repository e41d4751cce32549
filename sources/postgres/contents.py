"""What `pg_restore` says: which definitions of a dump belong to some of its tables, and what a server has refused.

A line of its list is `ID; CATALOG OID KIND SCHEMA NAME OWNER`. By its oid an entry belongs to a table or is a part of
it; rights and comments have none, and name what they are about.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from sources.postgres.catalog import Table
from sources.postgres.programs import worded

_LINE: Final = re.compile(r"(\d+); (\d+) (\d+) (.*)")
_ALWAYS: Final = ("ENCODING ", "STDSTRINGS ", "SEARCHPATH ")
_COMMAND: Final = "Command was: "
_COMMAND_MAX: Final = 120
_ABOUT: Final = re.compile(r"(?:ACL|COMMENT|SECURITY LABEL) (\S+) (?:TABLE|COLUMN) (.*)")


def lines_for(
    listing: str, tables: Iterable[Table] | None, present: Collection[str], managed: Collection[str]
) -> Iterator[str]:
    """The lines of what is restored: of all, or of these tables with their schemas.

    Not of what is `present`, which is told as its line begins, nor of what lies in a schema that is `managed`.
    """
    wanted = None if tables is None else _Wanted(tables)
    own = re.compile(rf"(?:[A-Z]+ )+(?:- (?:SCHEMA )?)?(?:{'|'.join(map(re.escape, managed))}) ") if managed else None
    for line in listing.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        rest = found[4]
        if rest.rpartition(" ")[0] in present or (own is not None and own.match(rest)):
            continue
        if wanted is None or wanted.has(int(found[3]), rest):
            yield line


class _Wanted:
    """What belongs to some tables."""

    def __init__(self, tables: Iterable[Table]) -> None:
        chosen = list(tables)
        self._oids = {oid for table in chosen for oid in (table.oid, *table.parts)}
        self._schemas = tuple(f"SCHEMA - {table.schema} " for table in chosen)
        self._named = {(table.schema, table.name) for table in chosen}

    def has(self, oid: int, rest: str) -> bool:
        return rest.startswith((*_ALWAYS, *self._schemas)) or oid in self._oids or _is_about(rest, self._named)


def refusals(lines: Sequence[str]) -> Iterator[str]:
    """What the server has said of each statement that it refused, and how the statement begins."""
    said = ""
    for number, line in enumerate(lines):
        if "error: could not execute query: " in line:
            said = worded(line.partition("could not execute query: ")[2].removeprefix("ERROR:"))
        elif said and line.startswith(_COMMAND):
            command = " ".join(" ".join(lines[number : number + 2]).removeprefix(_COMMAND).split())
            yield f"{command[:_COMMAND_MAX]}: {said}"
            said = ""
        elif "error: " in line:
            yield worded(line.partition("error: ")[2])


def _is_about(rest: str, named: set[tuple[str, str]]) -> bool:
    found = _ABOUT.match(rest)
    if found is None:
        return False
    return any(found[1] == schema and (found[2].startswith((f"{name} ", f"{name}."))) for schema, name in named)
