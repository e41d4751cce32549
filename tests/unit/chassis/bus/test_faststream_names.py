"""FastStream brings no server along."""

import subprocess
import sys

from tests.support.stack import ROOT


def test_service_that_serves_nothing_by_uvicorn_does_not_load_it() -> None:
    """And who imports it afterwards gets it."""
    program = """
import sys
import services.config.bootstrap
assert "faststream.nats" in sys.modules
assert "uvicorn" not in sys.modules
import uvicorn
assert uvicorn.Server
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
