"""What may be said of a policy beyond its own scenarios, and why: fresh scenarios, audits, certificates, attacks."""

from scpo_ctrl.assurance.audit import Audit, audit
from scpo_ctrl.assurance.certificate import Certificate, certify
from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.assurance.falsify import Falsification, falsify
from scpo_ctrl.assurance.fresh import Fresh
from scpo_ctrl.assurance.simulate import simulate
from scpo_ctrl.assurance.simulation import SimulatedPolicy, Simulation

__all__ = [
    "Audit",
    "Certificate",
    "Falsification",
    "Fresh",
    "SimulatedPolicy",
    "Simulation",
    "audit",
    "certify",
    "falsify",
    "simulate",
    "violation_bound",
]
