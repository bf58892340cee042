"""The parts of ``benchmarks/failures.py``."""
