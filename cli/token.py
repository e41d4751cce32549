"""`wedsync-backup token`: a bearer token for the platform on this machine, signed by its embedded identity provider.

The token alone goes to standard output, so that it can be put into a header by the shell. It is for this home
only: a gateway that is pointed at a real identity provider does not know the key. An organisation is one that was added
(`organisation add`), the home's own, which needs no word, or one that has keys here already.
"""

import argparse

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import organisation, subject
from cli.organisation import require_known

ROLES = ("viewer", "operator", "owner", "auditor")
MINUTES_MAX = 24 * 60


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("--role", action="append", choices=ROLES, required=True, help="may be given more than once")
    parser.add_argument(
        "--organisation", metavar="ID", type=organisation, help="for whom (default: the home's own organisation)"
    )
    parser.add_argument("--subject", metavar="ID", type=subject, help="as whom (default: somebody new)")
    parser.add_argument("--minutes", type=_minutes, default=60, help="how long it is valid (default 60, at most 1440)")
    parser.add_argument("--second-factor", action="store_true", help="as signed in with two factors just now (aal2)")


def run(arguments: argparse.Namespace) -> int:
    """Sign and print."""
    from deploy.stack.identity_provider import IdentityProvider
    from deploy.stack.layout import Layout

    layout = Layout.find(home_of(arguments))
    if arguments.organisation:
        # A slip of the pen would be a tenant of its own, empty, and with keys from its first request on.
        require_known(layout, arguments.organisation)
    print(
        IdentityProvider.of(layout).token(
            organisation=arguments.organisation or layout.remembered.organisation,
            roles=arguments.role,
            subject=arguments.subject,
            lifetime_seconds=arguments.minutes * 60,
            second_factor=arguments.second_factor,
        )
    )
    return ExitCode.OK


def _minutes(text: str) -> int:
    minutes = int(text)
    if not 1 <= minutes <= MINUTES_MAX:
        raise argparse.ArgumentTypeError(f"between 1 and {MINUTES_MAX}")
    return minutes
