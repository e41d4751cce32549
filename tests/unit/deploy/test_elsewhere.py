"""`python -m deploy.elsewhere` refuses what cannot be, before it reaches for a server."""

import os
import subprocess
import sys

from tests.support.stack import ROOT


def test_connection_string_that_is_none_is_named() -> None:
    """Exit code 78 with the variable and how it is written; a password that stands in it is not repeated."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEDSYNC_")},
        "WEDSYNC_POSTGRES_ADMIN_DSN": "host=db.example pasword=hunter2",
        "WEDSYNC_NATS_URL": "nats://127.0.0.1:1",
        "WEDSYNC_NATS_SEED_FILE": "/nowhere",
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
    said = done.stdout + done.stderr
    assert (done.returncode, "hunter2" in said) == (78, False), said
    assert "WEDSYNC_POSTGRES_ADMIN_DSN is no connection string of libpq" in said
    assert "Write WEDSYNC_POSTGRES_ADMIN_DSN as" in said
