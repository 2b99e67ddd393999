"""Rollouts of the loop: vectorised C on lanes, CasADi where that cannot be, and numpy around a black-box simulator."""
