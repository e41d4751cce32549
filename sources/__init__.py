"""Reading what is backed up: directories first; buckets and databases behind the same port."""
