"""Plants of the zoo with arguments that are right, for `fuzz_tables`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scpo_ctrl import models

Call = tuple[Callable[..., Any], dict[str, Any]]


def of_zoo() -> dict[str, Call]:
    """Return them, by name."""
    return {
        "afti_16": (models.afti_16, {"dt": 0.05}),
        "afti_16_ode": (models.afti_16_ode, {}),
        "balancing_robot": (models.balancing_robot, {"pitch_max": 0.3}),
        "balancing_robot_ode": (models.balancing_robot_ode, {"voltage_max": 7.0}),
        "ball_and_beam": (models.ball_and_beam, {"dt": 5e-3, "angle_max": 0.2}),
        "ball_and_beam_ode": (models.ball_and_beam_ode, {"rate_max": 2.0}),
        "cstr": (models.cstr, {"dt": 1.0, "temperature_margin": 5.0}),
        "cstr_ode": (models.cstr_ode, {"coolant_min": 290.0}),
        "heater": (models.heater, {"dt": 5.0, "dead_time": 10.0}),
        "heater_ode": (models.heater_ode, {"temperature": 50.0}),
        "buck_converter": (models.buck_converter, {"dt": 1e-5, "output": 12.0}),
        "buck_converter_ode": (models.buck_converter_ode, {"current_max": 9.0}),
        "cart_pole": (models.cart_pole, {"dt": 0.1, "angle_max": 0.2}),
        "cart_pole_ode": (models.cart_pole_ode, {"force_max": 1.0}),
        "dc_motor": (models.dc_motor, {"dt": 1e-3, "speed_max": 100.0}),
        "dc_motor_ode": (models.dc_motor_ode, {"voltage_max": 24.0}),
        "double_integrator": (models.double_integrator, {"dt": 0.1, "velocity_max": 1.0}),
        "lane_keeping": (models.lane_keeping, {"dt": 0.05, "heading_max": 0.3}),
        "lane_keeping_ode": (models.lane_keeping_ode, {"offset_max": 0.5}),
        "planar_quadrotor": (models.planar_quadrotor, {"thrust_min": 0.05}),
        "planar_quadrotor_ode": (models.planar_quadrotor_ode, {"thrust_max": 0.3}),
        "quadruple_tank": (models.quadruple_tank, {"dt": 1.0, "phase": "nonminimum"}),
        "quadruple_tank_ode": (models.quadruple_tank_ode, {"level_max": 25.0, "voltage_max": 12.0}),
    }
