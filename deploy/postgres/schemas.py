"""Which services keep a record in Postgres: a schema and a runtime role each, and the tables of their own."""

import importlib
from collections.abc import Sequence
from typing import LiteralString, NamedTuple


class ServiceSchema(NamedTuple):
    """One service's share of the database. The schema is named as the service."""

    service: str
    role: str
    tables: str
    """The module whose `STATEMENTS` are the service's own tables."""

    def statements(self) -> Sequence[LiteralString]:
        """The service's own tables, in the order of their history."""
        statements: Sequence[LiteralString] = importlib.import_module(self.tables).STATEMENTS
        return statements


SCHEMAS = (
    ServiceSchema("gateway", "wedsync_gateway", "gateway.schema"),
    ServiceSchema("config", "wedsync_config", "services.config.adapters.schema"),
    ServiceSchema("executor", "wedsync_executor", "services.executor.adapters.schema"),
)

ROLES = {schema.service: schema.role for schema in SCHEMAS}
