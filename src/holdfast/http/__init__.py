"""Own the wire, both ends: routes, replies, transfer, keys and clients.

It does not know what any face keeps: faces give it routes, and it gives them requests.
"""
