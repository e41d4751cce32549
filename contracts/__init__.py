"""The public language of WedSync Backup: events, subjects, streams and error codes.

Promise: needs msgspec alone, so that a subscriber can take this package by itself;
what is published is decoded by these definitions and by no others.
"""
