"""Beside the steps of a training: checkpoints, averaged weights, warnings, pictures, and what it costs."""
