"""Drawn people: solids and a canvas, bodies and their poses, what they do, and the scenes that show them."""
