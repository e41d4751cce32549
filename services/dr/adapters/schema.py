"""The disaster recovery service's own tables, beside the event store's. Append only."""

from typing import LiteralString

from chassis.timers.table import STATEMENTS as TIMERS
from services.dr.adapters.executions import SCHEMA
from services.dr.adapters.turns import LATER_SCHEMA

STATEMENTS: tuple[LiteralString, ...] = (*TIMERS, *SCHEMA, *LATER_SCHEMA)
