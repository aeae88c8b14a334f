"""The entry of a command: help, errors and exit codes."""
