"""Error codes: stable names for what can go wrong, who may try again, and what a person can do.

A code never changes its meaning and is never reused. `retry` tells a machine what to do: `never`
(the same request fails again), `later` (the same request may succeed), `after-operator` (somebody
has to act first, as `hint` says). Each subject has a module; whoever uses a code takes it from here.
"""

from contracts.errors.catalogue import ErrorCode as ErrorCode
from contracts.errors.catalogue import PlatformError as PlatformError
from contracts.errors.catalogue import Retry as Retry
from contracts.errors.catalogue import catalogue as catalogue
from contracts.errors.compliance import *  # noqa: F403  # every code of each subject, without naming it twice
from contracts.errors.configurations import *  # noqa: F403
from contracts.errors.disasters import *  # noqa: F403  # as above
from contracts.errors.erasures import *  # noqa: F403  # as above
from contracts.errors.executions import *  # noqa: F403
from contracts.errors.holds import *  # noqa: F403  # as above
from contracts.errors.notifications import *  # noqa: F403
from contracts.errors.operators import *  # noqa: F403
from contracts.errors.platform import *  # noqa: F403
from contracts.errors.recoveries import *  # noqa: F403
from contracts.errors.requests import *  # noqa: F403
from contracts.errors.retention import *  # noqa: F403
from contracts.errors.stack import *  # noqa: F403
from contracts.errors.storage import *  # noqa: F403
