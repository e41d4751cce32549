"""The groups of the API, a folder each. A group knows the rooms beside this folder, never another group."""
