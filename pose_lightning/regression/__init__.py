"""3D regression: clips of a person to the joints of every frame."""
