"""`wedsync-backup`: what a person types. Every command is a module of its own, imported when it is asked for."""
