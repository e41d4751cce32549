"""What an owner may say no with is what its write declares: found by reading what it does, from its use case on."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any
from unittest.mock import Mock

import pytest

from chassis.locations import Locations
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from gateway.app import build
from gateway.openapi.document import document
from gateway.writes.declaration import API_PREFIX, Write, declared
from services.config.adapters.receivers import OpenedReceivers
from services.dr.adapters.places import RegisteredPlaces
from services.executor.adapters.trials import TrialTeller
from services.executor.trials import TrialPerformance
from vault.targets import target_folder

ROOT = Path(__file__).resolve().parents[2]
READ = (
    *(
        "services.",
        "contracts.configuration_rules",
        "contracts.disaster_rules",
        "contracts.retention",
        "contracts.notifications",
        "chassis.calendar",
        "chassis.deciding",
        "chassis.locations",
    ),
    *("gateway.groups.", "gateway.runs.", "vault.targets"),
)
"""Where it is decided why something is refused."""
BEHIND_PORTS: dict[str, tuple[Any, ...]] = {
    "known": (Locations.known,),
    "not_open": (Locations.not_open,),
    "examined": (target_folder,),
    "for_tests": (RegisteredPlaces.for_tests,),
    "trouble": (OpenedReceivers.trouble,),
    "record_asked": (TrialPerformance.perform, TrialTeller.end),
}
"""What stands behind a port, where it decides as well."""
ASKED_AGAIN = {
    errors.AUDIT_LOG_BEHIND,
    errors.BULK_NOT_SEEN_YET,
    errors.CONFIGURATION_NOT_SEEN_YET,
    errors.RECOVERY_POINT_NOT_SEEN_YET,
}
"""With these an owner refuses nothing: it puts the request off, and is asked again."""
OF_STEPS = {
    errors.DR_CHECK_FAILED.code,
    errors.DR_COMPENSATION_FAILED.code,
    errors.DR_NOTICE_NOT_SENT.code,
    errors.DR_STEP_TIMED_OUT.code,
    errors.DR_TEST_NOT_ISOLATED.code,
    errors.INTERNAL.code,
}
"""With these a step of an execution fails, whoever has asked for what let it begin."""
OBSTACLES = {
    errors.BACKUP_UNDER_WAY.code,
    errors.CONFIGURATION_IN_FORCE.code,
    errors.POINT_HELD.code,
    errors.RECOVERY_UNDER_WAY.code,
    errors.RETENTION_OBLIGED.code,
}
"""For these an erasure that was taken on waits; it is not refused."""


def _use_cases() -> dict[type[Event], Callable[..., Any]]:
    """Of every service, put together without what it would need to work."""
    found: dict[type[Event], Callable[..., Any]] = {}
    for path in sorted((ROOT / "services").glob("*/bootstrap.py")):
        made = importlib.import_module(f"services.{path.parent.name}.bootstrap").use_cases
        found |= made(*[Mock()] * len(inspect.signature(made).parameters))
    return found


class _Reader:
    """Follows a function into all that it names, as far as that is code of ours which decides."""

    def __init__(self) -> None:
        self.codes: set[ErrorCode] = set()
        self._read: set[Any] = set()

    def read(self, what: Any) -> None:
        function = what.__func__ if isinstance(what, MethodType) else what
        if function in self._read or not function.__module__.startswith(READ):
            return
        self._read.add(function)
        owner = what.__self__ if isinstance(what, MethodType) else _class_of(function)
        names = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        if "self" not in names or owner is not None:
            names["self"] = owner
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            for found in _named(node, names):
                self._take(found)

    def _take(self, found: Any) -> None:
        if isinstance(found, ErrorCode):
            self.codes.add(found)
        elif isinstance(found, FunctionType | MethodType):
            self.read(found)
        elif isinstance(found, type) and issubclass(found, PlatformError) and found is not PlatformError:
            self.read(found.__init__)


def _class_of(function: Any) -> Any:
    name, _, method = function.__qualname__.rpartition(".")
    return function.__globals__.get(name) if method and "<" not in name else None


def _named(node: ast.AST, names: dict[str, Any]) -> Iterator[Any]:
    if isinstance(node, ast.Name | ast.Attribute):
        yield _value(node, names)
    if isinstance(node, ast.Attribute) and node.attr in BEHIND_PORTS:
        yield from BEHIND_PORTS[node.attr]


def _value(node: ast.AST, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return None


def _codes(*roots: Any) -> set[str]:
    reader = _Reader()
    for root in roots:
        reader.read(root)
    return {code.code for code in reader.codes - ASKED_AGAIN}


def _documented(write: Write[Any]) -> set[str]:
    path = f"{API_PREFIX}{write.PATH}".replace(":str}", "}")
    responses = document(build(None))["paths"][path][write.METHOD.lower()]["responses"].values()
    contents = [each.get("content", {}).get("application/problem+json", {"examples": {}}) for each in responses]
    return {example["value"]["code"] for content in contents for example in content["examples"].values()}


@pytest.mark.parametrize("name", declared())
def test_owner_refuses_with_what_the_write_declares_and_with_all_of_it(name: str) -> None:
    """A client finds each code that it may get in the description, and none that nobody says."""
    write = declared()[name]
    by_owner = _codes(_use_cases()[write.REQUEST])
    assert by_owner, "the reader finds nothing: it has to be told where the owner decides"
    assert by_owner - OF_STEPS - OBSTACLES - _documented(write) == set()
    by_anybody = by_owner | _codes(write.draft)
    assert {code.code for code in write.REFUSALS} - by_anybody == set()
