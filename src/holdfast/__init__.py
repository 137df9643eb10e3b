"""Keep scientific data: arrays, files, and the analyses made from them."""

__version__ = "0.1.0"
