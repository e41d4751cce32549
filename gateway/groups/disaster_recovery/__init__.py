"""The group of disaster recovery: plans, and their runbooks."""
