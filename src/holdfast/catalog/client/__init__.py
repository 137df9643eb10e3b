"""The user's side of a catalog: nodes that are read as far as they are looked at.

``remote`` opens a server, ``local`` a directory of this machine through the same routes, without a socket;
each loads only what it needs. Nothing here decides what a catalog holds; it asks.
"""
