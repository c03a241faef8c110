"""What `codec` and the networks agree on, for those who must not import PyTorch."""

from typing import Final, Literal

STRIDE: Final = 4
"""Input px per heatmap px, of every network."""

Grid = Literal["cells", "udp"]
"""Where a heatmap px stands in the input: `cells` lays edges on edges, `udp` the centres of the outer px."""
