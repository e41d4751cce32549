"""Whose a home is: what somebody else writes into it, the services could not read."""

import os

from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.layout import Layout


def require_owner(layout: Layout) -> None:
    """Raise HOME_UNUSABLE unless this process is the home's owner: root's files would be root's alone."""
    owner = layout.home.stat().st_uid
    if owner != os.geteuid():
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"the home {layout.home} is another user's (id {owner})",
            hint=f"Be that user: sudo -u '#{owner}' wedsync-backup …",
        )
