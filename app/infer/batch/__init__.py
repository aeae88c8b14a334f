"""Prediction of many scans, from files to files, with a manifest and scores of labelled cases."""
