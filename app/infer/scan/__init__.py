"""Predicting the label map of one scan, in the scan's own geometry."""
