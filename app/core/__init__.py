"""Types and helpers that all other folders use; imports no other folder of `app/`."""
