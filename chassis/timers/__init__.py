"""Durable timers: what is to happen at a moment happens once, whoever dies meanwhile."""
