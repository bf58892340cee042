"""The parts of ``benchmarks/accuracy.py``."""
