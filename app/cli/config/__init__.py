"""Objects and settings from the configuration."""
