"""What the locks pin: names, versions and hashes, of what is installed on Linux."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[2]
RUN, BUILD, DEVELOP = "requirements.lock", "requirements-build.lock", "requirements-dev.lock"
_PIN = re.compile(
    r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? \\\n(?P<hashes>(?:    --hash=.*\n?)+)",
    re.MULTILINE,
)


@dataclass(frozen=True, order=True)
class Pin:
    """One package at one version; `hashes`: SHA-256 of each file that may be installed, in hex."""

    name: str
    version: str
    hashes: tuple[str, ...]


def pins(*locks: str, root: Path = ROOT) -> list[Pin]:
    """All that these locks have installed on Linux, of whichever Python, by name and version."""
    found = set()
    for lock in locks:
        text = (root / lock).read_text("utf-8")
        matches = list(_PIN.finditer(text))
        if len(matches) != text.count("=="):
            # A marker may compare, too.
            compared = sum(each["marker"].count("==") for each in matches if each["marker"])
            assert len(matches) + compared == text.count("=="), f"{lock} has lines that are no pins"
        for each in matches:
            if each["marker"] is None or _is_for_linux(Marker(each["marker"])):
                hashes = re.findall(r"sha256:([0-9a-f]{64})", each["hashes"])
                found.add(Pin(each["name"], each["version"], tuple(sorted(hashes))))
    return sorted(found)


def _is_for_linux(marker: Marker) -> bool:
    of_python = [{"python_full_version": f"3.{minor}.0", "python_version": f"3.{minor}"} for minor in range(11, 15)]
    system = {
        "sys_platform": "linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return any(marker.evaluate(system | python) for python in of_python)
