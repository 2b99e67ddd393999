"""What is proved: sets that hold for every state, parameter and disturbance in range."""
