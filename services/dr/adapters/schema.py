"""The disaster recovery service's own tables, beside the event store's: none yet. Append only."""

from typing import LiteralString

STATEMENTS: tuple[LiteralString, ...] = ()
