"""The embedded stack: every part of the platform on one machine, started and kept by one supervisor."""
