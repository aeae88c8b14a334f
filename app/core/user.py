"""A name for a user without one in the system, as in a container with an arbitrary user number."""

import os


def name_user() -> None:
    """Set USER to `uid<number>` if the user has no entry in the password database.

    Call it if the environment names no user. Some libraries look up the name when they are imported, and
    fail if there is none.
    """
    try:
        import pwd
    except ImportError:  # Windows, where USERNAME is always set
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"uid{os.getuid()}"
