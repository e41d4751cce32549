"""The TypeScript client's examples against the platform: what its README promises a frontend, in Node."""

from pathlib import Path

import pytest

from deploy.stack.locations import register, source_location
from tests.support import node
from tests.support.stack import Tenant

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def test_examples_do_what_the_readme_says(platform: Tenant, tmp_path: Path) -> None:
    """Sign in, create, execute, wait; progress and facts over a socket that drops; pages, 304, errors by code."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "IMG_4711.jpg").write_bytes(bytes(range(256)) * 8000)
    name = f"photos-{platform.organisation[-12:]}"
    register(platform.platform.layout, source_location(name, folder, organisation=platform.organisation))
    said = node.node(
        "--conditions=wedsync:source",
        "test/stack.mjs",
        API=platform.platform.layout.gateway_url,
        TOKEN=platform.platform.token("owner", organisation=platform.organisation),
        SOURCE=name,
    )
    assert '"runs"' in said
