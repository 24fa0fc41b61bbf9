"""Apart from what knows it, so that a command that needs no database loads nothing of one."""


class DatabaseUnfit(Exception):
    """The database cannot be used by this code; the message says why and what to do."""
