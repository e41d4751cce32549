"""The demo's disaster."""

import threading
from contextlib import suppress
from pathlib import Path

from cli.demo_restore import delete_local_tier, local_tier
from deploy.stack.layout import Layout


def test_tier_is_deleted_under_a_run_that_lets_go(tmp_path: Path) -> None:
    """What was cancelled a moment ago may write one object more, in a folder that is being deleted."""
    layout = Layout.create(tmp_path / "home")
    folder = local_tier(layout, "studio-a")
    for number in range(300):
        (folder / f"packs/{number}").mkdir(parents=True)
        (folder / f"packs/{number}/x").write_bytes(b"1")
    ended = threading.Event()

    def write() -> None:
        for number in range(600):
            with suppress(OSError):
                (folder / f"packs/{number}").mkdir(parents=True, exist_ok=True)
                (folder / f"packs/{number}/y").write_bytes(b"2")
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert delete_local_tier(layout, "studio-a") >= 300
    finally:
        ended.wait(60)
        writer.join()
