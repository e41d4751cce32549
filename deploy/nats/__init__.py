"""The NATS server as this platform runs it: who may do what there, and its configuration."""
