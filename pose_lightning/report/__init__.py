"""Runs and sweeps as one HTML page that needs nothing else."""
