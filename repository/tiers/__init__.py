"""Tiers: the places that keep a repository. The port is in `port`, the adapters beside it."""
