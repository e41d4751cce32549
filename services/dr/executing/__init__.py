"""Executions and tests of plans: a process that goes from step to step by facts, each recorded before and after."""
