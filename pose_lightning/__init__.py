"""Human pose experiments on PyTorch Lightning: heatmap estimation on chunked HDF5 stores, with honest comparisons."""

from importlib.metadata import version

__version__ = version("pose_lightning")
