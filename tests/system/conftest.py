"""System tests run against the whole platform."""

from tests.support.stack import own_platform, platform, shared_platform, unstarted_platform

__all__ = ["own_platform", "platform", "shared_platform", "unstarted_platform"]
