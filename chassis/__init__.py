"""What every service would otherwise copy: record, bus, settings, telemetry and the life of a process."""
