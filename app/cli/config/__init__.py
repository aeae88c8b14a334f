"""Objects and settings built from the configuration."""
