"""A case shown in the browser: volumes in memory, a server on this machine only, and its page."""
