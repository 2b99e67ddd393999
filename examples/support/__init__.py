"""What the examples and benchmarks share."""
