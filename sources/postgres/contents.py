"""What `pg_restore` says: which definitions of a dump belong to some of its tables, and what a server has refused.

A line of its list is `ID; CATALOG OID KIND SCHEMA NAME OWNER`. By its oid an entry belongs to a table or is a part of
it; rights and comments have none, and name what they are about.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sources.postgres.catalog import Table, quoted
from sources.postgres.programs import worded

_LINE: Final = re.compile(r"(\d+); (\d+) (\d+) (.*)")
_ALWAYS: Final = ("ENCODING ", "STDSTRINGS ", "SEARCHPATH ")
_COMMAND: Final = "Command was: "
_COMMAND_MAX: Final = 120
_ABOUT: Final = re.compile(r"(?:ACL|COMMENT|SECURITY LABEL) (\S+) (?:TABLE|COLUMN) (.*)")


class Wanted:
    """What belongs to some tables, and all that lies in some schemas."""

    def __init__(self, tables: Sequence[Table], schemas: Collection[str] = ()) -> None:
        self.schemas = frozenset(schemas)
        self._oids = {oid for table in tables for oid in (table.oid, *table.parts)}
        self._begins = (*_ALWAYS, *(f"SCHEMA - {table.schema} " for table in tables))
        self._named = {(table.schema, table.name) for table in tables}
        self._in_schema = _lying_in(schemas)
        self._sequences = tuple(
            f"SELECT pg_catalog.setval({literal}," for table in tables for literal in table.sequence_literals
        ) + tuple(f"SELECT pg_catalog.setval('{name}." for each in schemas for name in (each, quoted(each)))

    def has(self, oid: int, rest: str) -> bool:
        """Whether a line of the list is restored."""
        if rest.startswith(self._begins) or oid in self._oids or _is_about(rest, self._named):
            return True
        return self._in_schema is not None and bool(self._in_schema.match(rest))

    def has_sequence(self, statement: str) -> bool:
        """Whether a statement of `sequences.sql` is about one of them."""
        return statement.startswith(self._sequences)


def lines_for(listing: str, wanted: Wanted | None, present: Collection[str], managed: Collection[str]) -> Iterator[str]:
    """The lines of what is restored: of all, or of what is wanted.

    Not of what is `present`, which is told as its line begins, nor of what lies in a schema that is `managed`.
    """
    of_others = _lying_in(managed)
    for line in listing.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        rest = found[4]
        if rest.rpartition(" ")[0] in present or (of_others is not None and of_others.match(rest)):
            continue
        if wanted is None or wanted.has(int(found[3]), rest):
            yield line


def _lying_in(schemas: Collection[str]) -> re.Pattern[str] | None:
    """What matches the lines of what lies in some schemas, and of these themselves."""
    return re.compile(rf"(?:[A-Z]+ )+(?:- (?:SCHEMA )?)?(?:{'|'.join(map(re.escape, schemas))}) ") if schemas else None


def refusals(lines: Sequence[str]) -> Iterator[str]:
    """What the server has said of each statement that it refused, and how the statement begins."""
    said = ""
    for number, line in enumerate(lines):
        if "error: could not execute query: " in line:
            said = worded(line.partition("could not execute query: ")[2].removeprefix("ERROR:"))
        elif said and line.startswith(_COMMAND):
            more = [each for each in lines[number + 1 : number + 2] if not each.startswith("pg_restore: ")]
            command = " ".join(" ".join([line.removeprefix(_COMMAND), *more]).split())
            yield f"{command[:_COMMAND_MAX]}: {said}"
            said = ""
        elif "error: " in line:
            yield worded(line.partition("error: ")[2])


def _is_about(rest: str, named: set[tuple[str, str]]) -> bool:
    found = _ABOUT.match(rest)
    if found is None:
        return False
    return any(found[1] == schema and (found[2].startswith((f"{name} ", f"{name}."))) for schema, name in named)
