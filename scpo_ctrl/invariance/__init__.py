"""Sets that a loop does not leave: enclosures of its Jacobian, their proof, and their design."""
