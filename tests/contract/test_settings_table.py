"""docs/settings.md says what the code reads."""

from chassis.settings import variable_of
from chassis.settings_table import groups_in, main
from tests.contract.settings_document import DOCUMENT, modules


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
