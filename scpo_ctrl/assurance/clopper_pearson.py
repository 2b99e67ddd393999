"""How likely a violation is at most, from how many of some rollouts violate: exact (Clopper-Pearson)."""


def violation_bound(violations: int, rollouts: int, beta: float) -> float:
    """Return an upper bound of the probability of a violation that holds with confidence 1 - β.

    Parameters
    ----------
    violations, rollouts : int
        Of independent scenarios drawn from one distribution, their number fixed before.
    beta : float
        In (0, 1).

    Returns
    -------
    float
        ε, exact (Clopper-Pearson): 1 - β^(1/n) where nothing violates, about ln(1/β)/n.

    References
    ----------
    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934.
    """
    if violations >= rollouts:
        return 1.0
    from scipy.special import betainccinv

    return float(betainccinv(violations + 1, rollouts - violations, beta))
