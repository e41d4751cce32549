"""A Postgres and its warm standby: how they stand, and what makes the standby the primary, without two writers."""
