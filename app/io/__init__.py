"""Reading and writing of scans and label maps, in all supported formats."""
