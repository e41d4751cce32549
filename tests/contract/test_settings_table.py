"""docs/settings.md says what the code reads."""

from pathlib import Path

from chassis.settings import variable_of
from chassis.settings_table import groups_in, main

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("chassis", "services", "gateway")


def _modules() -> list[str]:
    """Every module named `settings` of the processes, in the order of the document."""
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("settings.py"))]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]


def test_settings_document_is_what_the_code_says() -> None:
    """Whoever changes a setting changes its documentation, or fails here (`make golden` writes it)."""
    assert (ROOT / "docs" / "settings.md").read_text() == main(_modules())


def test_settings_variable_means_one_thing_in_all_processes() -> None:
    """Groups that name the same variable give it the same type and the same bounds."""
    meanings: dict[str, set[str]] = {}
    for module in _modules():
        for group in groups_in(module):
            own = group.__annotations__
            for name, hint in own.items():
                meanings.setdefault(variable_of(name), set()).add(repr(hint))
    assert {variable: hints for variable, hints in meanings.items() if len(hints) > 1} == {}
