"""The parts list of a release: CycloneDX 1.6 as JSON, made from the locks.

Promise: each package that the platform runs with, its version, licence and the hashes of the files that may be
installed; the same commit makes the same bytes. It names no registry. What is inside of a wheel (the Postgres, NATS and
SeaweedFS programs, OpenSSL in `cryptography`) is listed as the wheel that has it: the wheels say no more.
"""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.supply.licences import listed
from deploy.supply.locks import ROOT, RUN, Pin, pins

SPECIFICATION = "1.6"


def sbom(*, made_at: datetime, root: Path = ROOT) -> bytes:
    """The document of the files in `root`. `made_at`: the time of their commit."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    licences = listed(root)
    components = [_component(pin, licences[pin.name]) for pin in pins(RUN, root=root)]
    own = f"pkg:generic/{project['name']}@{project['version']}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": {
            "timestamp": made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"license": {"id": project["license"]}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": [each["bom-ref"] for each in components]}],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _component(pin: Pin, licence: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{pin.name}@{pin.version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": pin.version,
        "purl": purl,
        "licenses": [{"expression": licence}],
        "externalReferences": [
            {
                "type": "distribution",
                "url": purl,
                "comment": "any of these files",
                "hashes": [{"alg": "SHA-256", "content": each} for each in pin.hashes],
            }
        ],
    }
