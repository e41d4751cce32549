"""Erasures in the record, over repositories, and applied again."""
