"""`python -m deploy.production`: writes the units and manifests; `--check` compares them with what is there.

`python -m deploy.production passwords FOLDER` gives the services' roles their passwords,
with `WEDSYNC_POSTGRES_ADMIN_DSN`, once `python -m deploy.elsewhere` has made the roles.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from chassis.life import runtime
from chassis.settings import load
from chassis.telemetry import logging
from deploy.elsewhere import RecordSettings
from deploy.production import compose, kubernetes, systemd
from deploy.production.passwords import set_passwords

FOLDER = Path(__file__).resolve().parents[1]
_HEAD = "# Written by `python -m deploy.production` from deploy/production/, where it says why; yours go beside it.\n"


def files() -> dict[str, str]:
    """Every file that is written, below this folder's parent, and its text."""
    return {
        **{f"systemd/{name}": text for name, text in systemd.units().items()},
        "compose/compose.yaml": _yaml([compose.compose()]),
        "compose/nats.conf": compose.nats_conf(),
        **{f"kubernetes/base/{name}": _yaml(documents) for name, documents in kubernetes.manifests().items()},
        **{
            f"kubernetes/external-secrets/{name}": _yaml(documents)
            for name, documents in kubernetes.external_secrets().items()
        },
    }


def _yaml(documents: list[dict[str, Any]]) -> str:
    import yaml

    class Plain(yaml.SafeDumper):
        """Without references from one place to another, which nobody can read."""

        def ignore_aliases(self, _data: Any) -> bool:
            """Always: what is the same stands twice."""
            return True

    return _HEAD + yaml.dump_all(documents, Dumper=Plain, sort_keys=False, width=120, allow_unicode=True)


def stale() -> list[str]:
    """The files that are not what is written, or that nobody writes any more."""
    wanted = files()
    folders = {str(Path(name).parent) for name in wanted}
    there = {
        str(path.relative_to(FOLDER)) for folder in folders for path in (FOLDER / folder).glob("*") if path.is_file()
    }
    changed = [name for name, text in wanted.items() if name not in there or (FOLDER / name).read_text() != text]
    return sorted([*changed, *(there - wanted.keys())])


def write() -> None:
    """Write them all; what nobody writes any more goes."""
    wanted = files()
    for name in stale():
        path = FOLDER / name
        if name not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[name], encoding="utf-8")


async def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser("python -m deploy.production", description="Units and manifests for production.")
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 where something differs")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    passwords = verbs.add_parser("passwords", help="give the services' roles the passwords of a folder's files")
    passwords.add_argument("folder", type=Path, metavar="FOLDER", help="where each lies under its role's name")
    arguments = parser.parse_args()
    if arguments.verb == "passwords":
        logging.configure("production", level="warning")
        dsn = load(RecordSettings, os.environ).postgres_admin_dsn
        made = await asyncio.to_thread(set_passwords, dsn, arguments.folder)
        told = f", of which {len(made)} were made now" if made else ""
        sys.stdout.write(f"postgres: the roles have the passwords in {arguments.folder}{told}\n")
        return 0
    if arguments.check:
        different = stale()
        sys.stdout.write("".join(f"deploy/{name} is not what deploy/production makes\n" for name in different))
        return 1 if different else 0
    write()
    return 0


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
