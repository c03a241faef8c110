"""Metrics as sums and counts: `points` compares 2-D joints in images, `poses` 3-D joints in mm."""
