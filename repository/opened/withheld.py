"""What a tier does not give: whether it is whole nobody knows, and nothing is concluded from its absence."""

from repository.errors import AccessDenied, RepositoryError, UnknownKey
from repository.opened.open_tier import OpenTier


def withheld_by(tier: OpenTier) -> AccessDenied | None:
    """Why log or index are not known as a whole, where an object of them may not be read."""
    wrong = [*(fault.error for fault in tier.log.state.faults), *tier.damaged_segments.values()]
    return next((each for each in wrong if isinstance(each, AccessDenied)), None)


def explained(tier: OpenTier, error: RepositoryError) -> RepositoryError:
    """The error, or that a key object of the tier may not be read where that is why a key is not known."""
    why = tier.config_error
    return why if isinstance(error, UnknownKey) and isinstance(why, AccessDenied) else error
