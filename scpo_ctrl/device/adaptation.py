"""An adaptation on the device as the exported C has it: steps, what comes before the first one, and audits between."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from scpo_ctrl.device.audits import Audits, Found
from scpo_ctrl.device.expert import Expert
from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.options import DeviceStatus
from scpo_ctrl.device.policy import Parameters
from scpo_ctrl.device.scaling import Scaling
from scpo_ctrl.device.step import Step
from scpo_ctrl.device.working_set import WorkingSet
from scpo_ctrl.errors import DomainError
from scpo_ctrl.projection.as_device import check_sizes
from scpo_ctrl.validate import as_array


@dataclass
class DeviceAdapter(Step):
    """An adaptation on the device, step by step."""

    def __post_init__(self) -> None:
        check_sizes(self._span, self.options.rows)
        if self.options.metric_error is not None:
            error = self.model.arithmetic.number(self.options.metric_error)
            self.model = replace(self.model, metric_error=error)
        self.reference = self.model.reference
        if self.options.tracking:
            self.reference = np.tile(self.reference, (self.model.horizon, 1))
        if self.model.imitates:
            self.expert = Expert(self.model, self.options.fresh)
        arithmetic, one = self.model.arithmetic, self.model.arithmetic.number(1)
        self.theta = arithmetic.array(self.theta)
        self._of_cost = one / (arithmetic.number(self.model.scenarios) * arithmetic.number(self.model.horizon))
        self.scaling = Scaling(arithmetic, self.options.memory, one)
        self._most_tries = self.options.tries or self.model.tries
        self._exported = self.model
        self.active, self._spent = self.theta, 0
        if self.model.points is not None:
            self.audits = Audits(self.options, self.model, self.counts)
            self.model = self.audits.model()
        self.restart()

    def parameters(self, low: ArrayLike, high: ArrayLike) -> None:
        """Spread the plant parameters of all rollouts over other ranges, and restart: theta is verified anew.

        Parameters
        ----------
        low, high : array_like, shape (np,)
            Within the declared ranges; both the same for a parameter that is known.

        Raises
        ------
        DomainError
            If they are not within, or the parameters cannot be replaced.
        """
        model = self._exported
        if not model.updatable:
            raise DomainError("the plant has no parameters with ranges, or they move its equilibrium; none is replaced")
        shape = model.p_range[0].shape
        ends = [model.arithmetic.array(as_array(key, of, shape)) for key, of in (("low", low), ("high", high))]
        if not np.all((model.p_range[0] <= ends[0]) & (ends[0] <= ends[1]) & (ends[1] <= model.p_range[1])):
            raise DomainError(
                f"plant parameters from {ends[0].tolist()} to {ends[1].tolist()} do not lie within the declared "
                f"ranges, {model.p_range[0].tolist()} to {model.p_range[1].tolist()}"
            )
        self._use(replace(model, p=model.parameters_over(model.p, *ends), spread_over=(ends[0], ends[1])))
        self.restart()

    def refer(self, reference: ArrayLike) -> None:
        """Replace what the cost asks for, and restart.

        Parameters
        ----------
        reference : array_like, shape (nx + nu,), or (N, nx + nu) with the option `tracking`
            State and input; at step t its row t.
        """
        self.reference = self.model.arithmetic.array(as_array("reference", reference, self.reference.shape))
        self._seek_another()

    def forget(self) -> None:
        """Forget all examples of the expert: nothing is adapted until there is one."""
        if self.expert is not None:
            self.expert.forget()
        self._seek_another()

    def _use(self, model: DeviceModel) -> None:
        """Take another model, without guards, in the place of the one at hand."""
        self.model = model
        if self.audits is not None:
            self.audits.plain = model
            self.model = self.audits.model()

    def restart(self) -> None:
        """Go on at the active parameters, trusting in nothing: what was learnt of curvature is forgotten."""
        self._seek_another()
        self.theta = self.active
        if self.audits is not None:
            self.audits.restart()

    def _seek_another(self) -> None:
        """Begin steps anew at the committed parameters, as for another objective."""
        self._begin_anew()
        self._forget()
        self.rows = WorkingSet.empty(self.model, self.options.rows)
        if self.audits is not None:
            self.audits.halvings = 0

    def _begin_anew(self) -> None:
        """Begin steps anew at the committed parameters; curvature and the working set are what they were."""
        self._begun = self._auditing = False
        self._ended = None
        self._length = self.model.arithmetic.number(0)
        self._stalled = 0

    def begin(self) -> DeviceStatus:
        """Verify the parameters to begin with, which the first step does otherwise.

        Returns
        -------
        DeviceStatus
            REJECTED where steps may follow, AUDITED or WITHDRAWN behind an audit that was due.
        """
        waits = self._ended in (DeviceStatus.CONVERGED, DeviceStatus.NO_DATA)
        if waits and self.expert is not None and self.expert.has_news:
            self._seek_another()
        outcome: DeviceStatus | None = None
        with np.errstate(all="ignore"):
            while outcome is None and self._ended is None and (self._auditing or not self._begun):
                outcome = self._audit() if self._auditing else self._first()
        return outcome or self._ended or DeviceStatus.REJECTED

    def step(self) -> DeviceStatus:
        """Take a step, or do what is due before it: an audit.

        Returns
        -------
        DeviceStatus
            How it has ended.
        """
        status = self.begin()
        if status is not DeviceStatus.REJECTED:
            return status
        with np.errstate(all="ignore"):
            self._differentiate()
            self._plan()
            outcome: DeviceStatus | None = None
            while outcome is None:
                outcome = self._try()
            return outcome

    def _first(self) -> DeviceStatus | None:
        """Verify the parameters to begin with; after an audit that failed they go back until they are safe on S."""
        if self.expert is not None:
            self.expert.take_in()
            if not len(self.expert.x):
                self.counts.pieces += 1
                self._ended = DeviceStatus.NO_DATA
                return None
        number, largest = self.model.arithmetic.number, self.model.arithmetic.largest
        audits, error = self.audits, number(self.model.metric_error)
        if audits is not None and audits.measures:
            self.model = audits.measure(Parameters(self.model, self.theta))
            self.rows = WorkingSet.empty(self.model, self.options.rows)
        found = self._verify(Parameters(self.model, self.theta))
        while audits is not None and audits.unaudited > 0 and found.worst > -error:
            self.theta = audits.retreat(self.theta, self.active)
            if audits.measures:  # all of the way back, to a start that is to be audited itself
                self.restart()
                return None
            found = self._verify(Parameters(self.model, self.theta))
        self._at = found
        self.objective, self.margin = self._value(found), -found.worst
        is_bad = not found.worst < largest or not abs(self.objective) < largest
        if found.worst > -error:
            return self._refuse(DeviceStatus.START_BAD if is_bad else DeviceStatus.START_UNSAFE)
        if is_bad:
            self._ended = DeviceStatus.START_BAD
            return None
        self._begun = True
        if audits is None or audits.measures:
            self.start_objective = self.objective
        if audits is None or audits.trusted:
            self._begin_step()
        else:
            self._auditing = True
        return None

    def _audit(self) -> DeviceStatus | None:
        """Audit the committed parameters, which become active, or go back."""
        assert self.audits is not None
        self._auditing, changed = False, self.audits.unaudited > 0
        found = self.audits.audit(self.theta, self.active)
        self.model = self.audits.model()
        self.rows.drop(self.audits.replaced)
        if found is Found.BROKEN:
            return self._refuse(DeviceStatus.START_UNSAFE)
        if found is Found.FAILED:
            self._begin_anew()
            self.theta = self.audits.retreat(self.theta, self.active)
            return None
        self.audits.unaudited = 0
        if changed:
            self.active, self.audits.own = self.theta, True
        self._go_on()
        return DeviceStatus.AUDITED if changed else None

    def _refuse(self, outcome: DeviceStatus) -> DeviceStatus | None:
        """Answer active parameters that break a metric: the user's stay, others give way to the safe start."""
        if self.audits is None or not self.audits.own:
            self._ended, self.theta = outcome, self.active
            if self.audits is not None:
                self.audits.restart()
            return None
        self.active = self.model.theta_start
        self._begin_anew()
        self.theta = self.audits.withdraw(self.theta, self.active)
        return DeviceStatus.WITHDRAWN
