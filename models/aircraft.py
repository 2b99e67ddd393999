"""The AFTI/F-16 aircraft: unstable longitudinal dynamics under an elevator and a flaperon."""

import casadi as ca
import numpy as np

from scpo_ctrl.models.integrator import discretise
from scpo_ctrl.models.plant import Plant
from scpo_ctrl.validate import as_scalar

# Of speed [ft/s] and angles in radians: speed, angle of attack, pitch rate, pitch; elevator, flaperon.
A = (
    (-0.0151, -60.5651, 0.0, -32.174),
    (-0.0001, -1.3411, 0.9929, 0.0),
    (0.00018, 43.2541, -0.86939, 0.0),
    (0.0, 0.0, 1.0, 0.0),
)
B = ((-2.516, -13.136), (-0.1689, -0.2514), (-17.251, -1.5766), (0.0, 0.0))


def afti_16(
    *,
    dt: float = 0.05,
    speed_max: float = 35.0,
    attack_max: float = 0.5,
    rate_max: float = 25.0,
    pitch_max: float = 100.0,
    surface_max: float = 25.0,
) -> Plant:
    """Make the discrete aircraft: `afti_16_ode` sampled with the surfaces held.

    Parameters
    ----------
    dt : float
        Sampling time [s]; that of the source.
    speed_max, attack_max, rate_max, pitch_max, surface_max : float
        As in `afti_16_ode`.

    Returns
    -------
    Plant
        Linear, unstable, two inputs.

    Raises
    ------
    DomainError
        If a number is not positive.
    """
    return discretise(afti_16_ode(speed_max, attack_max, rate_max, pitch_max, surface_max), dt)


def afti_16_ode(
    speed_max: float = 35.0,
    attack_max: float = 0.5,
    rate_max: float = 25.0,
    pitch_max: float = 100.0,
    surface_max: float = 25.0,
) -> Plant:
    """Make the continuous aircraft around level flight at 3000 ft and Mach 0.6.

    Parameters
    ----------
    speed_max, attack_max, rate_max, pitch_max : float
        Symmetric bounds of the deviations [ft/s], [deg], [deg/s], [deg]; those of the angle of attack and of pitch
        are the source's, speed's and pitch rate's this package's.
    surface_max : float
        Symmetric bound of elevator and flaperon [deg].

    Returns
    -------
    Plant
        States speed, angle of attack, pitch rate and pitch; inputs elevator and flaperon; the whole state is measured.

    Raises
    ------
    DomainError
        If a bound is not positive.

    References
    ----------
    P. Kapasouris, M. Athans, G. Stein, "Design of feedback control systems for unstable plants with saturating
    actuators", IFAC Symposium on Nonlinear Control System Design, 1990, 302-307: the matrices. Sampling time and bounds
    of A. Bemporad, A. Casavola, E. Mosca, "Nonlinear control of constrained linear systems via predictive reference
    management", IEEE Transactions on Automatic Control 42(3), 1997, 340-349.
    """
    given = {"speed_max": speed_max, "attack_max": attack_max, "rate_max": rate_max, "pitch_max": pitch_max}
    bounds = np.array([as_scalar(name, value, above=0.0) for name, value in given.items()])
    surfaces = np.full(2, as_scalar("surface_max", surface_max, above=0.0))
    x, u, degrees = ca.SX.sym("x", 4), ca.SX.sym("u", 2), 180 / np.pi
    unit = np.array([1.0, degrees, degrees, degrees])
    of_x = np.array(A) * unit[:, None] / unit
    of_u = np.array(B) * unit[:, None] / degrees
    return Plant(
        name="afti_16",
        x=x,
        u=u,
        f=ca.mtimes(ca.DM(of_x), x) + ca.mtimes(ca.DM(of_u), u),
        x_min=-bounds,
        x_max=bounds,
        u_min=-surfaces,
        u_max=surfaces,
        x_labels=("speed", "angle of attack", "pitch rate", "pitch"),
        x_units=("ft/s", "deg", "deg/s", "deg"),
        u_labels=("elevator", "flaperon"),
        u_units=("deg", "deg"),
        source="Kapasouris, Athans and Stein, IFAC Symposium on Nonlinear Control System Design, 1990, 302-307",
    )
