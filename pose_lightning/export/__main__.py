"""The door."""

import sys

from pose_lightning.export import main

main(sys.argv[1:])
