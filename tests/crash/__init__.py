"""The harness of the crash tests: kills, faults, full disks, power cuts. See the modules."""
