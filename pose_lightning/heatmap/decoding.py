"""Names of what `codec` knows, for those who must not import PyTorch."""

from typing import Literal

DecodeMethod = Literal["argmax", "quarter", "dark", "soft_argmax"]

Grid = Literal["cells", "udp"]
"""Where a heatmap px stands in the input: `cells` lays edges on edges, `udp` the centres of the outer px."""
