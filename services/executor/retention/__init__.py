"""Cleanups: recovery points that go by their retention policies, as claimed work beside runs."""
