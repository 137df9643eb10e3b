"""The user's side of a catalog: nodes that are read as far as they are looked at."""
