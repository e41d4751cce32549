"""What decides each control: pure functions of what the audit log tells. A control without one has no evidence."""
