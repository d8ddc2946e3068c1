"""Benchmarks: what a claim about speed or size rests on. `make bench` runs them all."""
