"""A service does not start where a request has no use case, or nothing that refuses it: told before it is started."""

import importlib
import inspect
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from chassis.bus.use_cases import handlers_of
from chassis.domain import Aggregate
from chassis.record.unanswered import Unanswered
from contracts.streams import CONSUMERS

SERVICES = sorted(path.parent.name for path in (Path(__file__).parents[2] / "services").glob("*/bootstrap.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_every_request_of_a_service_is_dealt_with_and_refused(service: str) -> None:
    """By its own tables, as it puts them together."""
    bootstrap: Any = importlib.import_module(f"services.{service}.bootstrap")
    made = bootstrap.use_cases(*[Mock()] * len(inspect.signature(bootstrap.use_cases).parameters))
    store: Any = None
    found = list(handlers_of(bootstrap.SERVICE, made, Unanswered(store, service, Aggregate, bootstrap.REFUSED)))
    assert len(found) == sum(spec.service == service for spec in CONSUMERS)
