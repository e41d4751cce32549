"""docs/settings.md, written anew from the code: `python -m tests.contract.settings_document`."""

from pathlib import Path

from chassis.settings_table import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
PACKAGES = ("chassis", "services", "gateway")


def modules() -> list[str]:
    """Every module named `settings` of the processes, in the order of the document."""
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("settings.py"))]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in found]


if __name__ == "__main__":
    DOCUMENT.write_text(main(modules()), encoding="utf-8")
