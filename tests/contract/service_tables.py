"""What each service accepts and announces, as its README tells: `python -m tests.contract.service_tables` writes it."""

import re
from collections.abc import Iterator
from pathlib import Path

from contracts import streams  # noqa: F401  # it knows every event
from contracts.event import pinned_events
from contracts.subjects import SERVICES

ROOT = Path(__file__).resolve().parents[2]


def documents() -> Iterator[tuple[Path, str]]:
    """Every README with such rows, and what it has to say."""
    for service in SERVICES:
        path = ROOT / ("gateway" if service == "gateway" else f"services/{service}") / "README.md"
        text = path.read_text(encoding="utf-8")
        for row, names in _rows(service):
            if names:
                text = re.sub(rf"(?m)^\| \*\*{row}\*\* \|.*$", f"| **{row}** | {', '.join(names)} |", text)
        yield path, text


def _rows(service: str) -> Iterator[tuple[str, list[str]]]:
    events = pinned_events()
    takes = [name for name, event in events.items() if any(each.startswith(f"{service}--") for each in event.TAKEN_BY)]
    yield "accepts", [f"`{name}`" for name in takes]
    yield "announces", [f"`{name.split('.')[1]}`" for name in events if name.startswith(f"{service}.")]


if __name__ == "__main__":
    for place, said in documents():
        place.write_text(said, encoding="utf-8")
