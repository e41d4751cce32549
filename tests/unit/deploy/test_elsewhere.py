"""`python -m deploy.elsewhere` refuses what cannot be, before it reaches for a server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.nats.permissions import generate_keys
from tests.support.stack import ROOT


def _elsewhere(**settings: str) -> tuple[int, str]:
    """Its exit code, and what it says."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEDSYNC_")},
        **{f"WEDSYNC_{name.upper()}": value for name, value in settings.items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "deploy.elsewhere"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_connection_string_that_is_none_is_named() -> None:
    """Exit code 78 with the variable and how it is written; a password that stands in it is not repeated."""
    code, said = _elsewhere(
        postgres_admin_dsn="host=db.example pasword=hunter2", nats_url="nats://127.0.0.1:1", nats_seed_file="/nowhere"
    )
    assert (code, "hunter2" in said) == (78, False), said
    assert "WEDSYNC_POSTGRES_ADMIN_DSN is no connection string of libpq" in said
    assert "Write WEDSYNC_POSTGRES_ADMIN_DSN as" in said


@pytest.mark.parametrize(
    ("dsn", "nats_url", "variable"),
    [
        ("host=127.0.0.1 port=1 password=hunter2 sslmode=banana", "nats://127.0.0.1:1", "POSTGRES_ADMIN_DSN"),
        ("host=127.0.0.1 port=1", "nats://127.0.0.1:1?tls=true", "NATS_URL"),
        ("host=127.0.0.1 port=1", "wss://127.0.0.1:1", "NATS_URL"),
    ],
)
def test_value_that_can_never_be_right_is_refused_before_anything_is_made(
    tmp_path: Path, dsn: str, nats_url: str, variable: str
) -> None:
    """It is no server that does not answer: exit code 78 and the variable, also of NATS, which comes after Postgres."""
    seed = tmp_path / "topology.seed"
    seed.write_text(generate_keys().seed)
    code, said = _elsewhere(postgres_admin_dsn=dsn, nats_url=nats_url, nats_seed_file=str(seed))
    assert (code, "hunter2" in said) == (78, False), said
    assert f"WEDSYNC_{variable}" in said
