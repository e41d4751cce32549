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


def lines_for(listing: str, tables: Iterable[Table], present: Collection[str]) -> Iterator[str]:
    """The lines of what belongs to these tables, with their schemas but for those that are `present`."""
    wanted = list(tables)
    oids = {oid for table in wanted for oid in (table.oid, *table.parts)}
    schemas = {table.schema for table in wanted}.difference(present)
    named = {(table.schema, table.name) for table in wanted}
    for line in listing.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        oid, rest = int(found[3]), found[4]
        if rest.startswith(_ALWAYS) or oid in oids or _is_schema(rest, schemas) or _is_about(rest, named):
            yield line


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


def _is_schema(rest: str, schemas: set[str]) -> bool:
    return any(rest.startswith(f"SCHEMA - {schema} ") for schema in schemas)


def _is_about(rest: str, named: set[tuple[str, str]]) -> bool:
    found = _ABOUT.match(rest)
    if found is None:
        return False
    return any(found[1] == schema and (found[2].startswith((f"{name} ", f"{name}."))) for schema, name in named)
