"""What may be said of a policy beyond its own scenarios, and why: fresh scenarios, audits, certificates, attacks."""

from scpo_ctrl.assurance.audit import Audit, audit
from scpo_ctrl.assurance.certificate import Certificate, certify
from scpo_ctrl.assurance.clopper_pearson import violation_bound
from scpo_ctrl.assurance.falsify import Falsification, falsify
from scpo_ctrl.assurance.fresh import Fresh

__all__ = ["Audit", "Certificate", "Falsification", "Fresh", "audit", "certify", "falsify", "violation_bound"]
