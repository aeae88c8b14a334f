"""Prediction: trained networks applied to new scans."""
