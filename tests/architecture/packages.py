"""The packages that the rules of the house are about."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "benchmarks",
    "chassis",
    "cli",
    "contracts",
    "deploy",
    "gateway",
    "repository",
    "services",
    "sources",
    "vault",
)
