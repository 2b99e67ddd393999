"""Other nominal parameters: the equilibrium follows, what is measured stays where it can, and records say so."""

import numpy as np
import pytest
from problem_files import EQUATIONS_PLANT, write

from scpo_ctrl.errors import ScpoError
from scpo_ctrl.models import buck_converter, double_integrator, equations, planar_quadrotor, with_nominal
from scpo_ctrl.record.config import read_problem_file
from scpo_ctrl.record.plants import build_plant
from scpo_ctrl.record.recorded import RecordedPlant

THREE = {"backup.Q": [0.1] * 3, "objective.Q": [1.0, 0.1, 0.0]}  # with the force that is on its way


def test_an_equilibrium_that_does_not_move_keeps_its_bits():
    plant = with_nominal(double_integrator(), {"mass": 1.3})
    assert plant.p_nominal.tolist() == [1.3]
    assert (plant.x_eq == 0).all() and (plant.u_eq == 0).all()


def test_the_measured_voltage_of_a_converter_stays_and_duty_and_current_follow():
    plant = with_nominal(buck_converter(), {"load": 5.0, "supply": 24.0})
    np.testing.assert_allclose(plant.x_eq, [15 / 5, 15.0], rtol=1e-12)
    np.testing.assert_allclose(plant.u_eq, 15 / 24, rtol=1e-12)
    plant.linearise()  # which refuses what is not at rest


def test_a_heavier_quadrotor_hovers_where_it_did_with_more_thrust():
    plant = with_nominal(planar_quadrotor(), {"mass": 0.03})
    assert plant.x_eq.tolist() == [0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(plant.u_eq, 0.03 * 9.8 / 2, rtol=1e-12)


def test_states_follow_where_no_input_can_hold_them():
    tank = equations(
        dt=1.0,
        parameters=[{"name": "inflow", "nominal": 0.0}],
        states=[
            {"name": "a", "next": "0.5*a + inflow", "min": -5.0, "max": 5.0},
            {"name": "b", "next": "0.9*b + u", "min": -5.0, "max": 5.0},
        ],
        inputs=[{"name": "u", "min": -1.0, "max": 1.0}],
    )
    plant = with_nominal(tank, {"inflow": 1.0})
    np.testing.assert_allclose(plant.x_eq, [2.0, 0.0], atol=1e-12)
    with pytest.raises(ScpoError, match=r"do not hold the equilibrium x_eq"):
        with_nominal(tank, {"inflow": 3.0})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight": 1.0}, "nominal.weight: .* has no such fixed parameter, but mass"),
        ({"mass": 0.0}, "nominal.mass is 0; the plant means something only above 0"),
        ({"mass": np.nan}, "nominal.mass is nan"),
        ([1.0], "expected values by label"),
    ],
)
def test_what_is_refused(values, words):
    with pytest.raises(ScpoError, match=words):
        with_nominal(double_integrator(), values)


def test_a_plant_without_an_equilibrium_near_is_refused():
    x_next = "x + 0.1*(a + x**2 + 0*u)"
    plant = equations(
        dt=0.1,
        parameters=[{"name": "a", "nominal": 0.0}],
        states=[{"name": "x", "next": x_next, "min": -1.0, "max": 1.0}],
        inputs=[{"name": "u", "min": -1.0, "max": 1.0}],
    )
    with pytest.raises(ScpoError, match="no equilibrium near the old one"):
        with_nominal(plant, {"a": 0.5})


def test_a_problem_file_takes_nominal_values_and_writes_them_out(tmp_path):
    file = read_problem_file(write(tmp_path / "p.toml", {"plant.nominal": {"mass": 2}, "plant.input_delay": 1} | THREE))
    assert file.problem.plant.p_nominal.tolist() == [2.0]
    (tmp_path / "again.toml").write_text(file.text())
    again = read_problem_file(tmp_path / "again.toml")
    assert again.text() == file.text()
    assert again.problem.plant.p_nominal.tolist() == [2.0]
    with pytest.raises(ScpoError, match=r"\[plant\] nominal.weight"):
        read_problem_file(write(tmp_path / "wrong.toml", {"plant.nominal": {"weight": 2.0}}))


def test_plants_by_equations_and_as_data_take_them_too(tmp_path):
    table = EQUATIONS_PLANT | {"nominal": {"m": 1.2}}
    plant, recorded = build_plant(table, tmp_path)
    assert recorded is None and table["nominal"] == {"m": 1.2} and plant.p_nominal.tolist() == [1.2]
    data = RecordedPlant.of(plant)
    (tmp_path / data.FILE).write_bytes(data.data)
    table = data.table | {"nominal": {"m": 1.4}}
    plant, recorded = build_plant(table, tmp_path)
    assert recorded is not None and recorded.plant().p_nominal.tolist() == [1.4] == plant.p_nominal.tolist()
    assert "nominal" not in table and table["sha256"] != data.table["sha256"]
