"""The door."""

import sys

from pose_lightning.predict import main

main(sys.argv[1:])
