"""Fixtures that every test can ask for: one real server of each kind for the whole session, started when asked for."""

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = (
    "tests.support.postgres_server",
    "tests.support.nats_server",
    "tests.support.s3_server",
    "tests.support.measured",
    "tests.support.order",
    "tests.support.stack",
)

# All servers of the tests are on loopback, and clients of the tests would go through a proxy of the environment. That
# our own do not, `tests/system/test_demo.py` shows, which sets one.
for _name in list(os.environ):
    if _name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
        del os.environ[_name]

# In the background of a shell Ctrl-C is ignored, here and in all that is started from here; a handler is not handed on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine is slow now and then, so no example has a deadline. In CI the same examples are tried each time;
# at a desk every run looks further.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("desk"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
