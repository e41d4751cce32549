"""A connection string that is none ends each process at its start, with the setting's name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.packages import ROOT


@pytest.mark.parametrize("module", ["services.config", "services.executor", "services.executor.worker", "gateway"])
def test_connection_string_that_is_none_is_refused_by_name(tmp_path: Path, module: str) -> None:
    """Whoever looks at it first: nothing of it is shown."""
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "locations.json").write_text('{"locations": []}')
    settings = {
        "POSTGRES_DSN": "postgresql://u:SECRETPASSWORD@[::1/x",
        "POSTGRES_SCHEMA": "any",
        "NATS_URL": "nats://127.0.0.1:4",
        "NATS_SEED_FILE": str(tmp_path / "seed"),
        "KEYS_DIR": str(tmp_path / "keys"),
        "LOCATIONS_FILE": str(tmp_path / "locations.json"),
    }
    if module == "gateway":
        settings |= {"JWKS_URL": "https://id.example/keys", "JWT_ISSUER": "https://id.example"}
    environment = {name: os.environ[name] for name in ("PATH",)} | {f"WEDSYNC_{k}": v for k, v in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    assert "WEDSYNC_POSTGRES_DSN" in said
    assert "SECRETPASSWORD" not in said
