"""Rollout engines: vectorised C on lanes, CasADi where that cannot be, and numpy around a black-box simulator.

Besides them, the kernels of a step, in C too.
"""
