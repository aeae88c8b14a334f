"""Trained networks on new scans."""
