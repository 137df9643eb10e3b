"""Formats: a file and the arrays, tables and trees in it, both ways.

Owns reading and writing of file contents; knows nothing of catalogs, databases or HTTP.

>>> from holdfast.formats.registry import get_format
>>> get_format("text/csv").suffixes
('.csv', '.tsv')
"""
