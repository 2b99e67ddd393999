"""Rollouts of the model with a policy, their metrics, and derivatives of both by θ, over all rollouts at once."""

from dataclasses import dataclass

import numpy as np

from scpo_ctrl.device.model import DeviceModel
from scpo_ctrl.device.policy import Derivatives, Parameters


@dataclass(frozen=True)
class Trajectories:
    """All rollouts of a policy; those of the cloud end at time 1, and what is behind is zero."""

    parameters: Parameters
    x: np.ndarray  # (N + 1, rollouts, nx)
    v: np.ndarray  # (N, rollouts, nu) commands before saturation
    hidden: list[np.ndarray]  # (N, rollouts, out) each
    lost: np.ndarray  # (rollouts,) where something is not finite

    @classmethod
    def of(cls, parameters: Parameters) -> "Trajectories":
        """Roll out.

        Parameters
        ----------
        parameters : Parameters

        Returns
        -------
        Trajectories
        """
        model = parameters.model
        N, R, number = model.horizon, model.rollouts, model.arithmetic.number
        x, v = np.zeros((N + 1, R, model.nx), number), np.zeros((N, R, model.nu), number)
        hidden = [np.zeros((N, R, width), number) for width in model.widths[1:-1]]
        x[0] = model.x0
        for t in range(N):
            on = slice(0, R if t == 0 else model.whole)
            v[t, on], layers = (parameters.of_whole if t else parameters).command(x[t, on])
            for kept, layer in zip(hidden, layers, strict=True):
                kept[t, on] = layer
            (x[t + 1, on],) = model.step(x[t, on], model.saturate(v[t, on]), model.p[on])
            moved = model.disturbance(t)
            if moved is not None:
                x[t + 1, on] += moved
        lost = ~(np.isfinite(x).all(axis=(0, 2)) & np.isfinite(v).all(axis=(0, 2)))
        return cls(parameters, x, v, hidden, np.asarray(lost))

    @property
    def model(self) -> DeviceModel:
        """The model."""
        return self.parameters.model

    def cost(self, reference: np.ndarray) -> np.floating:
        """Return the cost of all scenarios, summed over time, then over scenarios.

        Parameters
        ----------
        reference : numpy.ndarray, shape (nx + nu,) or (N, nx + nu)

        Returns
        -------
        number
        """
        model, S = self.model, self.model.scenarios
        assert model.stage is not None
        of_steps = reference[:, None] if reference.ndim == 2 else reference
        stages = model.stage(self.x[:-1, :S], model.saturate(self.v[:, :S]), of_steps)[0][..., 0]
        return model.arithmetic.sum(model.arithmetic.sum(stages.T))

    def gradient(self, reference: np.ndarray) -> np.ndarray:
        """Return the derivative of that cost.

        Parameters
        ----------
        reference : numpy.ndarray, shape (nx + nu,) or (N, nx + nu)

        Returns
        -------
        numpy.ndarray, shape (d,)
        """
        S, number = self.model.scenarios, self.model.arithmetic.number
        ends, by_x = np.full(S, self.model.horizon), np.zeros((S, self.model.nx), number)
        by_v = np.zeros((S, self.model.nu), number)
        rows = self._backward(np.arange(S), ends, by_x, by_v, np.zeros(S, dtype=bool), reference)
        return self.model.arithmetic.sum(rows.T)

    def metrics(self, keys: np.ndarray) -> np.ndarray:
        """Return metrics of rollouts, safe at or below zero: (E6), (E7), (E8), (E13), with their back-off.

        Parameters
        ----------
        keys : numpy.ndarray of int, shape (k,)
            Their numbers.

        Returns
        -------
        numpy.ndarray, shape (k,)
        """
        model, (rollout, time, signal) = self.model, self.places(keys)
        bounds, values = (*model.bounds_x, *model.bounds_u), np.zeros(len(keys), model.arithmetic.number)
        of_bound = signal < len(bounds)
        for number in np.unique(signal[of_bound]):
            here, bound = signal == number, bounds[number]
            of = (self.x if number < len(model.bounds_x) else self.v)[time[here], rollout[here], bound.entry]
            values[here] = self._number(bound.weight) * (of - self._number(bound.limit))
        rest = np.flatnonzero(~of_bound)
        if rest.size:
            level, _ = self._level(rollout[rest], time[rest], signal[rest])
            values[rest] = level / self._divisors(rollout[rest], signal[rest]) - 1
        return values if model.back_off is None else values + model.back_off[rollout, signal]

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Return derivatives of metrics of rollouts.

        Parameters
        ----------
        keys : numpy.ndarray of int, shape (k,)

        Returns
        -------
        numpy.ndarray, shape (k, d)
        """
        model, (rollout, time, signal) = self.model, self.places(keys)
        number, count = model.arithmetic.number, len(keys)
        by_x, by_v = np.zeros((count, model.nx), number), np.zeros((count, model.nu), number)
        bounds = (*model.bounds_x, *model.bounds_u)
        of_command = (signal >= len(model.bounds_x)) & (signal < len(bounds))
        for k in np.flatnonzero(signal < len(bounds)):
            bound = bounds[signal[k]]
            (by_v if of_command[k] else by_x)[k, bound.entry] = bound.weight
        rest = np.flatnonzero(signal >= len(bounds))
        if rest.size:
            _, half = self._level(rollout[rest], time[rest], signal[rest])
            by_x[rest] = half * (2 / self._divisors(rollout[rest], signal[rest]))[:, None]
        return self._backward(rollout, time, by_x, by_v, of_command, None)

    def peaks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest metric of each signal of each rollout, in the order of their noting.

        Returns
        -------
        keys : numpy.ndarray of int, shape (k,)
        values : numpy.ndarray, shape (k,)
            The largest number where a metric is not finite.
        """
        model, R = self.model, self.model.rollouts
        bounds, first = (*model.bounds_x, *model.bounds_u), np.arange(R) * model.spread
        times = np.zeros((R, model.signals), dtype=int)
        there = np.zeros((R, model.signals), dtype=bool)
        for number, bound in enumerate(bounds):
            is_state = number < len(model.bounds_x)
            along = (self.x[1:] if is_state else self.v)[:, :, bound.entry]
            along = self._number(bound.weight) * (along - self._number(bound.limit))
            along = np.where(np.arange(len(along))[:, None] < model.last, along, -np.inf)
            times[:, number], there[:, number] = np.argmax(along, axis=0) + is_state, True
        times[:, len(bounds) :] = model.last[:, None]
        whole = np.arange(R) < model.whole
        if model.terminal:
            there[:, len(bounds)] = whole
        if model.has_contraction:
            there[:, -1] = model.contracts | ~whole
        keys = (first[:, None] + times * model.signals + np.arange(model.signals))[there]
        return keys, finite(self.metrics(keys), model)

    def places(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rollout, time and signal of metrics, each of shape (k,)."""
        spread, signals = self.model.spread, self.model.signals
        return keys // spread, keys % spread // signals, keys % signals

    def _number(self, value: float) -> np.floating:
        return self.model.arithmetic.number(value)

    def _is_terminal(self, signal: np.ndarray) -> np.ndarray:
        bounds = len(self.model.bounds_x) + len(self.model.bounds_u)
        return self.model.terminal & (signal == bounds)

    def _divisors(self, rollout: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Return what V(x_N) / rho of terminal metrics and contraction is divided by."""
        return np.where(self._is_terminal(signal), self._number(1), self.model.limits[rollout])

    def _level(self, rollout: np.ndarray, time: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return V / rho and half of its derivative."""
        model, inner = self.model, self.model.arithmetic.inner
        about = model.rests[rollout if len(model.rests) > 1 else np.zeros_like(rollout)]
        z = self.x[time, rollout] - np.where(self._is_terminal(signal)[:, None], model.x_eq, about)
        half = inner(model.P, z[:, None, :])
        return inner(half, z), half

    def _backward(
        self,
        rollout: np.ndarray,
        time: np.ndarray,
        by_x: np.ndarray,
        by_v: np.ndarray,
        of_command: np.ndarray,
        reference: np.ndarray | None,
    ) -> np.ndarray:
        """Go backwards from derivatives at a time, by the state and, of some, by the command; (k, d).

        The cost's own derivatives join on the way where there is a reference.
        """
        model = self.model
        order = np.lexsort((of_command, -time))  # latest first: those on their way are always the first ones
        rollout, time, of_command = rollout[order], time[order], of_command[order]
        by_x, by_v = by_x[order], by_v[order]
        sums = Derivatives.zeros(model, len(order))
        for t in reversed(range(int(time.max(initial=0)) + 1)):
            on, end = int(np.sum(time > t)), int(np.sum(time >= t))
            if on:
                by_u = self._through_step(t, rollout[:on], by_x[:on], reference)
                self._through_policy(t, rollout, by_u, by_x, sums, slice(0, on))
            begin = end - int(np.sum(of_command[on:end]))
            if begin < end:
                self._through_policy(t, rollout, by_v[begin:end], by_x, sums, slice(begin, end))
        self.parameters.backward_at_zero(sums)
        rows = np.empty_like(sums.rows)
        rows[order] = sums.rows
        return rows

    def _through_step(self, t: int, rollout: np.ndarray, by_x: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
        """Go through the plant's step: by_x (k, nx) becomes that of the state before; returns by_u (k, nu)."""
        model, x, v = self.model, self.x[t, rollout], self.v[t, rollout]
        u = model.saturate(v)
        before, by_u = model.adjoint(x, u, model.p[rollout], by_x)
        if reference is not None:
            assert model.stage_adjoint is not None
            of_x, of_u = model.stage_adjoint(x, u, reference[t] if reference.ndim == 2 else reference)
            before, by_u = before + of_x, by_u + of_u
        by_x[:] = before
        held = model.saturates & ((v > model.u_max) | (v < model.u_min))
        return np.where(held, model.arithmetic.number(0), by_u)

    def _through_policy(
        self, t: int, rollout: np.ndarray, by_v: np.ndarray, by_x: np.ndarray, sums: Derivatives, which: slice
    ) -> None:
        here = rollout[which]
        layers = [layer[t, here] for layer in self.hidden]
        part = sums.part(self.model, which.start, which.stop)
        self.parameters.backward(self.x[t, here], layers, by_v, by_x[which], part)


def finite(values: np.ndarray, model: DeviceModel) -> np.ndarray:
    """Return metrics, the largest number instead of those that are not finite.

    Parameters
    ----------
    values : numpy.ndarray
    model : DeviceModel

    Returns
    -------
    numpy.ndarray
    """
    return np.where(np.isfinite(values), values, model.arithmetic.largest)
