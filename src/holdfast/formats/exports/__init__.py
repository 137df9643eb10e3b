"""Exports: what arrays, tables and trees of them are turned into on their way out, one target in a module.

Owns the writing of other people's formats piece by piece; it neither opens the data nor sends it.
"""
