"""The disaster recovery service: plans, their executions and their tests."""
