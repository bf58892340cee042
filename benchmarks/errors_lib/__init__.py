"""The parts of ``benchmarks/errors.py``."""
