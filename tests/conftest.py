"""Fixtures that every test can ask for: one real server of each kind for the whole session, started when asked for."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.support.postgres_server", "tests.support.nats_server", "tests.support.s3_server")

# A shared machine is slow now and then, so no example has a deadline. In CI the same examples are tried each time;
# at a desk every run looks further.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("desk"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
