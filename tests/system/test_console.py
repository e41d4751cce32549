"""The console in a browser, on the running platform: the main way walked by hand, every page opened."""

import json
import os
from pathlib import Path

import pytest

from deploy.stack.locations import register, source_location, target_location
from tests.support import node
from tests.support.browser import HOW, browser
from tests.support.stack import Tenant

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

TRANSFERRED_BYTES_MAX = 300_000


def test_console_shows_every_page_and_walks_the_main_way(platform: Tenant, tmp_path: Path) -> None:
    """A backup, one file back, and every page: no error in the browser, no request outside, nothing serious for axe."""
    found = browser()
    if found is None:
        pytest.skip(f"this machine has no browser: {HOW}")
    photos, restored = tmp_path / "photos", tmp_path / "restored"
    photos.mkdir()
    restored.mkdir()
    content = bytes(range(256)) * 8000
    (photos / "IMG_4711.jpg").write_bytes(content)
    (photos / "contract.txt").write_text("as agreed\n" * 500)
    names = {kind: f"{kind}-{platform.organisation[-12:]}" for kind in ("photos", "restored")}
    layout, organisation = platform.platform.layout, platform.organisation
    register(layout, source_location(names["photos"], photos, organisation=organisation))
    register(layout, target_location(names["restored"], restored, organisation=organisation))

    def token(*roles: str, second_factor: bool = False) -> str:
        return platform.platform.token(*roles, organisation=organisation, second_factor=second_factor)

    said = node.node(
        "test/walk.mjs",
        folder=node.CONSOLE,
        within=420,
        API=layout.gateway_url,
        BROWSER=found,
        TOKEN=token("owner", "auditor"),
        FACTOR=token("owner", "auditor", second_factor=True),
        VIEWER=token("viewer"),
        SOURCE=names["photos"],
        TARGET=names["restored"],
        SHOTS=os.environ.get("WEDSYNC_SHOTS", ""),
    )
    assert json.loads(said)["transferredBytes"] <= TRANSFERRED_BYTES_MAX
    assert [path.read_bytes() for path in restored.rglob("IMG_4711.jpg")] == [content]
