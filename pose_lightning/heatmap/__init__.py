"""Heatmap estimation: a person's joints as the peaks of one heatmap per joint."""
