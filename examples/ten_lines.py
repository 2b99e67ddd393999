"""From a plant to a better controller in C, in ten lines; the README shows them."""

import scpo_ctrl as sc
from scpo_ctrl.codegen import export
from scpo_ctrl.models import double_integrator

plant = double_integrator()
backup = sc.lqr(plant, Q=[0.1, 0.1], R=[10.0])
policy = sc.Policy(plant, backup, hidden=(12,))
batch = sc.scenarios(plant, backup, horizon=50, count=32, level=0.8)
objective = sc.Quadratic(Q=[1.0, 0.1], R=[0.05])
problem = sc.ControlProblem(policy, batch, objective, sc.MetricOptions(contraction=0.3))

result = sc.adapt(problem, sc.AdaptOptions(steps=50))
print(f"objective: {result.objective_initial:.2f} for the backup, {result.objective_final:.2f} adapted")
print(f"every committed policy is safe on its scenarios: {result.is_safe()}")

controller = export(result, "runs/controller", target="cortex-m4f")
print(f"C99 in {controller.real}: {controller.path}")
