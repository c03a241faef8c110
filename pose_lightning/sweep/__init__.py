"""Sweeps: what varies over one experiment, run on many slots and machines, and compared."""
