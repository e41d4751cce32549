"""Runs as several groups show them: their read model, and the resource that is made of it."""
