"""What a release is made of: the parts list, their licences, what is known against them, the signed files."""
