"""The command that lists the model zoo."""

from scpo_ctrl.models import ZOO, make_plant
from scpo_ctrl.report.labels import labelled
from scpo_ctrl.terminal import print_json, say


def list_plants(as_json: bool) -> int:
    """List the model zoo, one line each."""
    zoo = {name: make_plant(name) for name in sorted(ZOO)}
    if as_json:
        rows = {
            name: {"nx": p.nx, "nu": p.nu, "dt": p.dt, "parameters": list(p.p_labels), "source": p.source}
            for name, p in zoo.items()
        }
        print_json(rows)
    else:
        for name, plant in zoo.items():
            states, inputs = (
                ", ".join(labelled(*signal, " ") for signal in zip(*pair, strict=True))
                for pair in ((plant.x_labels, plant.x_units), (plant.u_labels, plant.u_units))
            )
            say(f"{name}: states {states}; inputs {inputs}; dt {plant.dt:g} s; {plant.source}")
    return 0
