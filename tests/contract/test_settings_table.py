"""docs/settings.md says what the code reads; what is set beside it is refused, and so is what is unbounded."""

import re
import typing
from pathlib import Path

import pytest

from chassis.settings import split_hint, variable_of
from chassis.settings_table import groups_in, main
from tests.contract.service_tables import documents
from tests.contract.settings_document import DOCUMENT, ROOT, VARIABLES, modules, variables

_NAMED = re.compile(r"""["']WEDSYNC_[A-Z_]+["']""")


def test_tables_of_services_are_what_the_contracts_say() -> None:
    """Whoever adds an event adds it there (`python -m tests.contract.service_tables`)."""
    for path, said in documents():
        assert path.read_text(encoding="utf-8") == said, path


def test_settings_document_is_what_the_code_says() -> None:
    """Whoever changes a setting changes its documentation (`python -m tests.contract.settings_document`)."""
    assert DOCUMENT.read_text(encoding="utf-8") == main(modules())


def test_settings_variable_means_one_thing_in_all_processes() -> None:
    """Groups that name the same variable give it the same type and the same bounds."""
    meanings: dict[str, set[str]] = {}
    for module in modules():
        for group in groups_in(module):
            own = group.__annotations__
            for name, hint in own.items():
                meanings.setdefault(variable_of(name), set()).add(repr(hint))
    assert {variable: hints for variable, hints in meanings.items() if len(hints) > 1} == {}


def test_list_of_variables_is_what_the_code_reads() -> None:
    """A process refuses what is not in it."""
    assert VARIABLES.read_text(encoding="utf-8") == variables()


@pytest.mark.parametrize(
    "folder", ["chassis", "cli", "deploy", "gateway", "repository", "services", "sources", "vault"]
)
def test_variables_that_code_names_are_on_the_list(folder: str) -> None:
    """What is read of the environment beside the groups of settings is known to them."""
    known = set(variables().split())
    found = {name.strip("\"'") for path in (ROOT / folder).rglob("*.py") for name in _NAMED.findall(_text(path))}
    assert found <= known


def test_every_number_has_two_bounds() -> None:
    """One without is accepted and fails later, in sums that somebody else makes with it."""
    unbounded = set()
    for module in (*modules(), "deploy.elsewhere"):
        for group in groups_in(module):
            for name, hint in typing.get_type_hints(group, include_extras=True).items():
                kind, metas = split_hint(hint)
                least = any(meta.ge is not None or meta.gt is not None for meta in metas)
                most = any(meta.le is not None or meta.lt is not None for meta in metas)
                if kind in (int, float) and not (least and most):
                    unbounded.add(variable_of(name))
    assert unbounded == set()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
