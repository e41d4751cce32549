"""Buckets of S3 as a source, and as what a snapshot of one is restored to."""
