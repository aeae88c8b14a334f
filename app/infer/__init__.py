"""Trained networks on new scans.

from app.infer import Segmenter
"""

from app.infer.segmenter import Segmenter

__all__ = ["Segmenter"]
