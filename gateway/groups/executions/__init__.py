"""Executions: start a backup, see the runs and the state of everything."""
