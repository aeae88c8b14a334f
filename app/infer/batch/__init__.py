"""Many scans: files in, files out, with a manifest and an evaluation."""
