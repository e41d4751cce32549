"""Alert rules on real scrapes: what fires, and for whom."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import yaml

from chassis.clock import SystemClock
from tests.support.promql import NAME, Scrapes
from tests.support.stack import Platform

ROOT = Path(__file__).resolve().parents[2]
RULES: dict[str, str] = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((ROOT / "deploy/observability/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
SCRAPE_SECONDS = 20.0


class Watch:
    """What a Prometheus that watches a platform would know."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.scrapes = Scrapes()

    async def scrape(self, *, without: str | None = None) -> None:
        """Scrape every target that the platform lists; `without`: one that hangs, which nobody waits for."""
        targets: list[dict[str, Any]] = json.loads(self._platform.layout.targets_file.read_text())
        places = {each["labels"]["instance"]: each["targets"][0] for each in targets}
        async with httpx.AsyncClient() as client:
            texts = await asyncio.gather(
                *(_scraped(client, place, 2.0 if name == without else SCRAPE_SECONDS) for name, place in places.items())
            )
        self.scrapes.add(SystemClock().now().timestamp(), dict(zip(places, texts, strict=True)))

    async def now(self, alert: str, **more: str | None) -> list[dict[str, str]]:
        """For whom an alert fires as of a new scrape."""
        await self.scrape(**more)
        return self.firing(alert)

    def firing(self, alert: str, *, in_seconds: float = 0.0) -> list[dict[str, str]]:
        """For whom an alert fires as of the last scrape; or would, so many seconds later, if nothing changed."""
        return firing(self.scrapes, alert, in_seconds=in_seconds)


def firing(scrapes: Scrapes, alert: str, *, in_seconds: float = 0.0) -> list[dict[str, str]]:
    """The labels of each that an alert fires for. An expression that is no vector fires for nobody, and never would."""
    value = scrapes.ask(RULES[alert], at=scrapes.taken[-1][0] + in_seconds)
    assert isinstance(value, dict)
    return [{label: text for label, text in labels if label != NAME} for labels in value]


async def _scraped(client: httpx.AsyncClient, place: str, seconds: float) -> str | None:
    try:
        answer = await client.get(f"http://{place}/metrics", timeout=seconds)
    except httpx.HTTPError:
        return None
    return answer.text if answer.status_code == 200 else None
