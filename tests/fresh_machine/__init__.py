"""The README's commands on machines that never saw us: `python3 -m tests.fresh_machine`, by root, as CI does.

Each kind of machine is a mount namespace in which `/var/cache`, `/tmp`, `/dev/shm` and all homes are empty and
compilers are hidden, with a fresh clone in it. Nothing of ours and nothing that has to be installed is imported
here: it runs with the Python that `make` would take.
"""
