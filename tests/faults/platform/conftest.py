"""Platform faults run against a platform of the test's own."""

from tests.support.stack import own_platform, unstarted_platform

__all__ = ["own_platform", "unstarted_platform"]
