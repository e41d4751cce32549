"""Reading a stream in the order of its log, for whoever may pass over nothing: projections, the audit log."""
