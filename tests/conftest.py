"""What holds for all tests."""

from hypothesis import settings

# Machines are busy: a slow example is no fault; each test has a time limit of its own.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")
