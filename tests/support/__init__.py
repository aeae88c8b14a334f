"""What tests share: small data, settings, networks, run folders and the command line."""
