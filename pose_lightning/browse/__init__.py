"""A contact sheet of a data set: one HTML file with its samples and labels, statistics, and what looks wrong in it.

`splits` opens the stores, `scan` looks at every picture once, `persons`, `clips` and `pictures` know what a sample of
their kind shows and what makes it suspicious, `overview` counts, `augmented` shows what training sees, and `page`
writes the file.

    python -m pose_lightning.browse data/mpii/pose --out sheet.html
"""
