"""Parts of ``benchmarks/human_in_the_loop.py``."""
