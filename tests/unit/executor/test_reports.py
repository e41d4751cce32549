"""Reports are sealed beside the event loop, which keeps the claims of all runs."""

from pathlib import Path

import pytest

from chassis.sealing import Sealer, prepare_keys_folder
from contracts import errors
from contracts.errors import PlatformError
from services.executor.adapters.tables import SealedReports
from tests.support.hung_mount import hung_mount


async def test_keys_on_a_disk_that_hangs_hold_up_no_event_loop(tmp_path: Path) -> None:
    """The report is not kept, and that is told; heartbeats and other runs go on."""
    keys = tmp_path / "keys"
    prepare_keys_folder(keys)
    sealer = Sealer(keys)
    with hung_mount(keys), pytest.raises(PlatformError, match="does not answer") as refused:
        await SealedReports(sealer, seal_seconds=0.2).seal("org-1", b"{}")
    assert refused.value.code is errors.KEYS_UNREACHABLE
    assert "No key is missing" in refused.value.hint
