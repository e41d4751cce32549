"""Which services keep a record in Postgres: a schema and a runtime role each, and the tables of their own."""

import importlib
from collections.abc import Mapping, Sequence
from typing import LiteralString, NamedTuple

from contracts.subjects import SERVICES


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

    def readers(self) -> Mapping[str, Sequence[str]]:
        """Which of these tables roles of other services may read, by role."""
        read_by: Mapping[str, Sequence[str]] = getattr(importlib.import_module(self.tables), "READ_BY", {})
        return {_role_of(service): tables for service, tables in read_by.items()}


def _role_of(service: str) -> str:
    return f"wedsync_{service}"


def _schema_of(service: str) -> ServiceSchema:
    tables = "gateway.schema" if service == "gateway" else f"services.{service}.adapters.schema"
    return ServiceSchema(service, _role_of(service), tables)


SCHEMAS = tuple(_schema_of(service) for service in SERVICES)

ROLES = {schema.service: schema.role for schema in SCHEMAS}
