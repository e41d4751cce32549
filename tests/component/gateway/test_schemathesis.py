"""The document against the gateway, by somebody else's eyes: Schemathesis, with a bounded budget and no finding."""

import asyncio
import sys
from pathlib import Path

import pytest

from gateway import bootstrap
from gateway.auth.rate_limit import Rate
from gateway.openapi.document import FILE
from tests.support.gateway import running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

OF_ANOTHER = "^/api/backup/security/"
"""What is read in the tables of a service that does not run here, and is 503 without it."""
SEED = 20261128
LEFT_OUT = (
    # What an owner, or the registry of locations, decides is in no schema.
    "positive_data_acceptance",
)
AS_MUCH_AS_IT_LIKES = {
    f"{whose}{what}": 1e6
    for whose, what in (
        *(("", "rate_per_second"), ("", "rate_burst"), ("", "writes_per_second"), ("", "writes_burst")),
        *(("organisation_", "writes_per_second"), ("organisation_", "writes_burst")),
    )
}


@pytest.mark.parametrize(
    ("phases", "examples"),
    [
        ("examples,fuzzing", 3),
        # Each constraint of each field, broken alone: some 3,500 requests.
        pytest.param("examples,coverage,fuzzing", 30, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
async def test_schemathesis_finds_nothing(
    tmp_path: Path,
    postgres: PostgresServer,
    own_nats: NatsServer,
    phases: str,
    examples: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Statuses, media types, headers and bodies are those of the document, whatever is sent; nothing is a 5xx."""
    monkeypatch.setattr(bootstrap, "FAILED_SIGN_INS", Rate(per_second=1e6, burst=1e6))  # no setting, else as the others
    async with running_gateway(tmp_path, postgres, own_nats, **AS_MUCH_AS_IT_LIKES) as gateway:
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("schemathesis")), "run", str(FILE), "--url", gateway.url),
            *("--header", f"Authorization: Bearer {gateway.token('owner', second_factor=True)}"),
            *("--phases", phases, "--max-examples", str(examples), "--seed", str(SEED)),
            *("--exclude-checks", ",".join(LEFT_OUT), "--no-shrink", "--continue-on-failure", "--warnings", "off"),
            *("--exclude-path-regex", OF_ANOTHER),
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-20_000:]
