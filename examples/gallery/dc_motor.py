"""A motor's position servo: a cascade, P for the position around PI for the speed.

θ₀ by lambda tuning (Åström and Hägglund, Advanced PID Control, 2006) from the inside out: the PI cancels the motor's
time constant and leaves one of 10 ms, the P around it one of 40 ms. Leonhard, Control of Electrical Drives, 2001.
"""

import casadi as ca

import scpo_ctrl as sc
from scpo_ctrl.models import Plant, dc_motor
from scpo_ctrl.models.dcmotor import CONSTANT, FRICTION, INERTIA, RESISTANCE

INNER, OUTER = 0.010, 0.040  # s
GAIN = CONSTANT / (CONSTANT**2 + FRICTION * RESISTANCE)  # rad/(s V), of the motor
LAG = INERTIA * RESISTANCE / (CONSTANT**2 + FRICTION * RESISTANCE)  # s


def cascade(plant: Plant) -> sc.Controller:
    """Return the cascade, which measures position and speed."""
    y, r, u, integral, theta = (ca.SX.sym(n, k) for n, k in (("y", 2), ("r", 1), ("u", 1), ("I", 1), ("theta", 3)))
    error = theta[0] * (r - y[0]) - y[1]  # of the speed
    command = theta[1] * error + integral
    return sc.Controller(
        name="cascade", theta=theta, y=y, r=r, u=u, xi=integral, command=command,
        theta_initial=[1 / OUTER, LAG / (GAIN * INNER), 1 / (GAIN * INNER)],
        theta_labels=("kp", "ks", "ki"), theta_units=("1/s", "V s/rad", "V/rad"),
        memory=integral + plant.dt * theta[2] * error + (u - command) / 10, memory_min=[-24.0], memory_max=[24.0],
    )  # fmt: skip


def make_problem() -> sc.ControlProblem:
    """Return the loop, from 80 % of the set that it holds."""
    plant = dc_motor().replace(y=ca.SX(0, 1), y_labels=(), y_units=())  # a speed too is measured
    loop = sc.controlled(plant, cascade(plant))
    starts = sc.scenarios(loop.plant, loop.backup, horizon=250, count=24, level=0.8)
    return sc.ControlProblem(loop, starts, sc.Quadratic([1.0, 0.0], [0.02]), sc.MetricOptions(contraction=0.6))
