"""The data doctor: it reads every case once, reports faults before training and writes a repaired copy."""
