"""What can be drawn: MPII's twenty categories and their activities.

Names of categories and activities are MPII's (Pishchulin et al., GCPR 2014), commas included.
"""

from typing import Final

import numpy as np

from pose_lightning.convert.drawn import chores, journeys, pastimes, sports

_WEIGHTS: Final = {
    "sports": 19.9,
    "occupation": 13.4,
    "conditioning exercise": 9.7,
    "home activities": 7.9,
    "lawn and garden": 6.3,
    "home repair": 6.1,
    "water activities": 5.8,
    "miscellaneous": 4.3,
    "winter activities": 4.3,
    "fishing and hunting": 4.1,
    "dancing": 4.0,
    "walking": 3.3,
    "music playing": 3.1,
    "bicycling": 3.0,
    "running": 1.7,
    "inactivity quiet/light": 1.1,
    "religious activities": 0.7,
    "self care": 0.5,
    "transportation": 0.5,
    "volunteer activities": 0.3,
}
"""Per cent of MPII's training images with a label, by category."""

CATEGORIES: Final = tuple(_WEIGHTS)
"""MPII's twenty categories, the most frequent first."""


def category_shares() -> np.ndarray:
    """How likely a new video is of each category; they sum to 1."""
    weights = np.array([_WEIGHTS[category] for category in CATEGORIES])
    return weights / weights.sum()


ACTIVITIES: Final = (*sports.ACTIVITIES, *journeys.ACTIVITIES, *pastimes.ACTIVITIES, *chores.ACTIVITIES)
"""Several activities to a category, with a long tail of frequencies."""
