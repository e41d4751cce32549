"""`wedsync-backup run-report`: what the sealed report of a run says, one JSON document.

It names files and places of the organisation, so that it is sealed under the organisation's key, and no one else's
process opens it: this is for the operator, who has the keys. Where the key was destroyed the report is erased with it.
"""

import argparse
from typing import TYPE_CHECKING

from cli.home import add_home, home_of
from cli.options import given, organisation
from cli.output import say

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

REPORT = "SELECT digest, body FROM executor.run_reports WHERE run_id = %(run)s AND organisation = %(organisation)s"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", metavar="ID", type=given, help="the run's id, as the API tells it")
    parser.add_argument("--organisation", metavar="ID", type=organisation, required=True, help="whose run it is")
    add_home(parser)


def run(arguments: argparse.Namespace) -> int:
    """Open the report. Raises NOT_FOUND, SEALING_KEY_MISSING, KEYS_UNUSABLE."""
    import asyncio

    from chassis.sealing import Sealer
    from cli.exit_codes import ExitCode
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state
    from services.executor.adapters.tables import SealedReports

    layout = Layout.find(home_of(arguments))
    running_state(layout.lock_file, layout.state_file)
    found = _find(layout, arguments.run, arguments.organisation)
    if found is None:
        raise PlatformError(
            errors.NOT_FOUND,
            f"the organisation {arguments.organisation} has no report of a run {arguments.run}",
            hint="Only runs that failed, or left something out, have one; `reportDigest` of the run says so.",
        )
    reports = SealedReports(Sealer(layout.platform_keys))
    say(asyncio.run(reports.open(arguments.organisation, *found)))
    return ExitCode.OK


def _find(layout: "Layout", run_id: str, owner: str) -> tuple[str, bytes] | None:
    import psycopg

    from chassis.postgres.database import translated
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets

    with translated(), psycopg.connect(admin_dsn(layout, read_secrets(layout)), connect_timeout=4) as connection:
        row = connection.execute(REPORT, {"run": run_id, "organisation": owner}).fetchone()
    return None if row is None else (str(row[0]), bytes(row[1]))
