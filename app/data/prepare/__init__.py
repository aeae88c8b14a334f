"""Preparing cases: from the files of a scan to cached arrays on the network's grid."""
