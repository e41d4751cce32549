"""The rendered NATS configuration, as the real server understands it."""

import subprocess
from pathlib import Path

import pytest

from deploy.nats.permissions import generate_keys, identities
from deploy.nats.server_config import ServerSettings, render
from tests.support.nats_server import BINARY, NatsServer

pytestmark = pytest.mark.stack


def test_server_accepts_the_configuration(tmp_path: Path) -> None:
    """The server's own check finds no fault, with every option set and a path that needs quoting."""
    users = {generate_keys().public: identity for identity in identities()}
    settings = ServerSettings(
        port=4222, store_dir=tmp_path / 'a "b" ü \\ c\td', monitor_port=8222, max_file_bytes=10**9, name="wedsync-test"
    )
    conf = tmp_path / "nats.conf"
    conf.write_text(render(settings, users), encoding="utf-8")
    checked = subprocess.run([BINARY, "-t", "-c", conf], capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
    conf.write_text(render(settings, users).replace("jetstream {", "jetstreem {"), encoding="utf-8")
    assert subprocess.run([BINARY, "-t", "-c", conf], capture_output=True, timeout=30, check=False).returncode != 0


async def test_server_keeps_its_store_in_a_folder_of_any_name(tmp_path: Path) -> None:
    """Quotes, backslashes, control codes and letters of any script arrive as they are."""
    folder = tmp_path / 'a "b" ü \\ c\td'
    server = NatsServer(folder).start()
    try:
        await server.apply()
        assert (folder / "store" / "jetstream").is_dir()
    finally:
        server.kill()


def test_configuration_syncs_always_and_holds_no_secret(tmp_path: Path) -> None:
    """What is acknowledged is on the disk unless a test says otherwise, and the file may be read by anybody."""
    keys = {identity.name: generate_keys() for identity in identities()}
    users = {keys[identity.name].public: identity for identity in identities()}
    text = render(ServerSettings(port=1, store_dir=tmp_path), users)
    assert "sync_interval: always" in text
    assert 'listen: "127.0.0.1:1"' in text
    assert "http:" not in text
    assert not [key.seed for key in keys.values() if key.seed in text]
    assert "sync_interval" not in render(ServerSettings(port=1, store_dir=tmp_path, sync_always=False), users)
