"""The alert rules and the dashboard, as they are written: understood, explained, and blind to nothing they count."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.observability.dashboard import DASHBOARD_FILE, dashboard
from tests.support.promql import names_in

ROOT = Path(__file__).resolve().parents[3]
RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/observability/alerts.yml").read_text())["groups"][0][
    "rules"
]
_NAMES = [rule["alert"] for rule in RULES]


def _anchors(guide: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#{1,6} (.+)$", guide.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("rule", RULES, ids=_NAMES)
def test_rule_is_understood_and_explained(rule: dict[str, Any]) -> None:
    """A page has an expression that is evaluated in tests, a sentence, a severity and a section of the guide."""
    assert names_in(rule["expr"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    guide, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in _anchors(ROOT / guide)


def test_guide_explains_no_alert_that_is_not_there() -> None:
    """A section of the guide belongs to a rule."""
    sections = re.findall(r"^### (Wedsync\w+)$", (ROOT / "docs/operations.md").read_text(), flags=re.MULTILINE)
    assert sorted(sections) == sorted(_NAMES)


def test_dashboard_is_what_its_generator_says() -> None:
    """`python -m deploy.observability.dashboard` writes it anew."""
    assert json.loads((ROOT / DASHBOARD_FILE).read_text()) == dashboard()


def test_dashboard_shows_what_every_alert_looks_at() -> None:
    """Whoever is paged finds the figure on the dashboard."""
    shown = {
        name for panel in dashboard()["panels"] for target in panel["targets"] for name in _metrics(target["expr"])
    }
    asked = {name for rule in RULES for name in names_in(rule["expr"])}
    assert asked <= shown


def _metrics(expression: str) -> set[str]:
    return {"up", *re.findall(r"wedsync_\w+", expression)}
