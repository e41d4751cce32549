"""docs/settings.md and the list of all variables, from the code: `python -m tests.contract.settings_document`."""

from pathlib import Path

from chassis.settings import variable_of
from chassis.settings_table import groups_in, main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
VARIABLES = ROOT / "chassis" / "variables.txt"
PACKAGES = ("chassis", "services", "gateway")
BESIDE = (
    "home",
    "cache",
    "traceback",
    "key_file",
    "tiers",
    "profiles",
    "database_user",
    "test_tier_url",
    "passphrase",
    "new_passphrase",
    "kit_passphrase",
    "postgres_tools",
)
"""What the command line, the embedded stack and the tests read of the environment by themselves."""


def modules() -> list[str]:
    """Every module named `settings` of the processes, in the order of the document."""
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("settings.py"))]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]


def variables() -> str:
    """Every variable that one of the programs reads, a line each."""
    groups = [group for module in (*modules(), "deploy.elsewhere") for group in groups_in(module)]
    fields = {field for group in groups for field in group.__struct_fields__} | set(BESIDE)
    return "".join(f"{variable}\n" for variable in sorted(map(variable_of, fields)))


if __name__ == "__main__":
    DOCUMENT.write_text(main(modules()), encoding="utf-8")
    VARIABLES.write_text(variables(), encoding="utf-8")
