"""Errors of the repository: one base with a stable code, a retry class and a hint.

A code never changes its meaning. `retry` tells a machine what to do: `never` (the same call fails
again), `later` (the same call may succeed), `after-operator` (somebody has to act first, as `hint`
says). Messages are lower case, without a full stop, and carry no secret and no path of a source. What an error is
about (tier, object key, file of a key) is in its context; `str` tells both, for the log of an operator or for the
command line, `message` alone says nothing of an operator's places.
"""

from repository.errors.base import RepositoryError as RepositoryError
from repository.errors.base import Retry as Retry
from repository.errors.base import about as about
from repository.errors.keys import *  # noqa: F403  # every error of each subject, without naming it twice
from repository.errors.log import *  # noqa: F403
from repository.errors.stored import *  # noqa: F403
from repository.errors.tiers import *  # noqa: F403
from repository.errors.work import *  # noqa: F403
