"""Erasure of data subjects: their keys destroyed, in the record and on all tiers."""
