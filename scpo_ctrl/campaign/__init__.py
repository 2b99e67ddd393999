"""Which problems does a sweep have, and how are they all adapted: points, workers, what came out."""
