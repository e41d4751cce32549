"""The table of all settings, docs/settings.md, generated from the code.

python -m chassis.settings_table chassis.settings gateway.settings … > docs/settings.md
"""

import importlib
import inspect
import sys
import typing
from collections.abc import Sequence
from enum import Enum

import msgspec

from chassis.settings import Settings, form_of, split_hint, variable_of


def groups_in(module_name: str) -> list[type[Settings]]:
    """The groups of settings that a module defines, in its order."""
    module = importlib.import_module(module_name)
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, Settings)
        and item.__module__ == module_name
        and item.__struct_fields__
    ]


def table(groups: Sequence[type[Settings]]) -> str:
    """The contents of docs/settings.md: a table per group, in the order given, without what it inherits."""
    lines = [
        "# Settings",
        "",
        "Every process reads its settings from environment variables; `wedsync-backup up` sets them for the embedded",
        "stack. What cannot work, contradicts another setting or is misspelt ends a start with exit code 78. This file",
        "is written from the code by `python -m tests.contract.settings_document`, and a test compares the two.",
    ]
    for group in groups:
        hints = typing.get_type_hints(group, include_extras=True)
        inherited = {field.name for base in group.__bases__ if issubclass(base, Settings) for field in _fields(base)}
        own = [field for field in _fields(group) if field.name not in inherited]
        lines += ["", f"## {group.__name__}", "", inspect.cleandoc(group.__doc__ or "")]
        base = next((base for base in group.__bases__ if issubclass(base, Settings) and base is not Settings), None)
        if base is not None:
            lines += ["", f"{'Besides those of' if own else 'The same as'} {base.__name__}{':' if own else '.'}"]
        if own:
            lines += ["", "| variable | form | default | meaning |", "|---|---|---|---|"]
        for field in own:
            hint = hints[field.name]
            description = next((meta.description for meta in reversed(split_hint(hint)[1]) if meta.description), "")
            cells = (f"`{variable_of(field.name)}`", form_of(hint), _default(field), description)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _fields(group: type[Settings]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(group)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None or value == () or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def main(modules: Sequence[str]) -> str:
    """The table of what these modules define."""
    return table([group for module in modules for group in groups_in(module)])


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
