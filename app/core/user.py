"""The user's name where the system knows none, as in a container that runs under any number."""

import os


def name_user() -> None:
    """Set USER to the number of a user without an entry in the system's list, unless a name is set.

    Libraries ask for the name as they are imported, and fail without one.
    """
    if any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        return
    try:
        import pwd
    except ImportError:  # Windows, where USERNAME is always set
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"uid{os.getuid()}"
