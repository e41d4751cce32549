"""What has to happen before a tier that did not get something can be caught up."""

from cli.exit_codes import ExitCode, exit_code_of
from repository.errors import AccessDenied, Replayed, RepositoryError, TierVanished


def way_to_catch_up(error: RepositoryError | None) -> str:
    """What brings a tier up to the others, by what is wrong with it."""
    match error:
        case Replayed():
            return "`repo repair`, which says how its history is settled, then `repo catch-up`"
        case AccessDenied():
            return "give the rights that are lacking, then `repo catch-up`"
        case TierVanished():
            return "bring it back, then `repo catch-up`"
    is_damaged = error is not None and exit_code_of(error) is ExitCode.DAMAGED
    return "`repo repair`, then `repo catch-up`" if is_damaged else "`repo catch-up`"
