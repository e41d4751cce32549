"""The disaster recovery service: plans."""
