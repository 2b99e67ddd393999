"""Ways to other tools and back: python-control, Gymnasium, FMUs; black boxes in processes of their own."""

from scpo_ctrl.interfaces.environments import environment, simulator_from_environment
from scpo_ctrl.interfaces.fmu import simulator_from_fmu
from scpo_ctrl.interfaces.simulator_pool import LostStep, SimulatorPool
from scpo_ctrl.interfaces.systems import closed_loop, controller_system

__all__ = [
    "LostStep",
    "SimulatorPool",
    "closed_loop",
    "controller_system",
    "environment",
    "simulator_from_environment",
    "simulator_from_fmu",
]
