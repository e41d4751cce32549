"""What of the audit log lies in the folder of the keys."""

KEY = "audit-log.key"
"""The key that signs it."""
ANEW = "audit-log.anew"
"""There where an operator has said that another key is to be made in the place of one that is gone."""
SEEN = "audit-log.seen"
"""What was signed last: it proves nothing, and by it a database that was put back to an earlier time is known."""
