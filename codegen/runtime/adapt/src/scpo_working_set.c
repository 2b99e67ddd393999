/* The working set: the metrics that a step is projected onto, and how it follows from verifications.
 * SPDX-License-Identifier: MIT
 */
#include "scpo_audit.h"
#include "scpo_objective.h"

int scpo_place(const scpo_adapter *adapter, uint32_t key)
{
    int row = 0;
    while (row < adapter->count && adapter->key[row] != key) {
        row++;
    }
    return row;
}

/* Keeps the largest metrics, in descending order. */
static void scpo_keep_peak(scpo_adapter *adapter, uint32_t key, scpo_real value)
{
    int place = adapter->found;
    if (place == SCPO_NROWS && !(value > adapter->peak[place - 1])) {
        return;
    }
    if (place < SCPO_NROWS) {
        adapter->found = place + 1;
    } else {
        place--;
    }
    while (place > 0 && adapter->peak[place - 1] < value) {
        adapter->peak[place] = adapter->peak[place - 1];
        adapter->peak_key[place] = adapter->peak_key[place - 1];
        place--;
    }
    adapter->peak[place] = value;
    adapter->peak_key[place] = key;
}

/* Notes a metric at the parameters that are being verified. */
static void scpo_note(scpo_adapter *adapter, uint32_t key, scpo_real value)
{
    if (scpo_largest(1, &value, 0) >= SCPO_INFINITY) {
        value = SCPO_LARGEST;
    }
    adapter->worst = scpo_max(adapter->worst, value);
    scpo_keep_peak(adapter, key, value);
}

int scpo_largest_of(const scpo_trajectory *run, int rollout, int signal, int *when, scpo_real *largest)
{
    const int is_state = signal < SCPO_NBOUNDS_X;
    const int last = scpo_horizon(rollout);
    *when = last;
    if (signal < SCPO_NBOUNDS) { /* states from time 1 on, commands from time 0 on */
        const scpo_bound *bound = scpo_bounds + signal;
        const scpo_real *values = is_state ? run->x + SCPO_NX : run->v;
        int t;
        for (t = 0; t < last; t++) {
            const scpo_real value = values[t * (is_state ? SCPO_NX : SCPO_NU) + bound->entry];
            const scpo_real metric = bound->weight * (value - bound->limit);
            if (t == 0 || metric > *largest) {
                *largest = metric;
                *when = t + is_state;
            }
        }
    } else if (scpo_has_metric(rollout, last, signal)) {
        *largest = scpo_metric(rollout, run, last, signal);
    } else {
        return 0;
    }
    return 1;
}

/* Notes the metrics of a rollout: the largest of each signal, and those of the working set. */
static void scpo_scan(scpo_adapter *adapter, int rollout)
{
    const scpo_trajectory *run = &adapter->work.run;
    int signal;
    int row;
    for (signal = 0; signal < SCPO_NSIGNALS; signal++) {
        const uint32_t key = (uint32_t)rollout * SCPO_SPREAD + (uint32_t)signal;
        scpo_real largest;
        int when;
        if (scpo_largest_of(run, rollout, signal, &when, &largest)) {
#if SCPO_AUDIT
            if (scpo_measures(adapter)) {
                scpo_set_back_off(adapter, rollout, signal, largest);
            }
#endif
            scpo_note(adapter, key + (uint32_t)(when * SCPO_NSIGNALS),
                      scpo_kept_clear(adapter, rollout, signal, largest));
        }
    }
    for (row = 0; row < adapter->count; row++) {
        const int signal_of = SCPO_SIGNAL_OF(adapter->key[row]);
        if (SCPO_ROLLOUT_OF(adapter->key[row]) == rollout) {
            const scpo_real value = scpo_metric(rollout, run, SCPO_TIME_OF(adapter->key[row]), signal_of);
            adapter->tried[row] = scpo_kept_clear(adapter, rollout, signal_of, value);
        }
    }
}

/* A rollout of a verification, and its metrics. Returns whether it is lost. */
static int scpo_verify_rollout(scpo_adapter *adapter, const scpo_parameters *with, int rollout)
{
    if (!scpo_roll(adapter, with, rollout, &adapter->work.run)) {
        adapter->worst = SCPO_LARGEST;
        return 1;
    }
    scpo_scan(adapter, rollout);
#if !SCPO_IMITATION
    if (rollout < SCPO_NSCENARIOS) {
        adapter->sum += scpo_cost(adapter, &adapter->work.run);
    }
#endif
    return 0;
}

#if SCPO_NVERTICES
/* Local stability at a vertex. */
static void scpo_verify_vertex(scpo_adapter *adapter, const scpo_parameters *with, int vertex)
{
    const uint32_t key = SCPO_KEYS + (uint32_t)vertex;
    const scpo_real value = scpo_stability(with, vertex, &adapter->work.powers, NULL);
    const int row = scpo_place(adapter, key);
    scpo_note(adapter, key, value);
    if (row < adapter->count) {
        adapter->tried[row] = value;
    }
}
#endif

int scpo_verify(scpo_adapter *adapter, const scpo_parameters *with)
{
    const int piece = adapter->rollout;
    const int guards = scpo_count_guards(adapter); /* come first: what broke a try is likely to break the next one */
    const int rollouts = guards + SCPO_NROLLOUTS;
    const int end = rollouts + SCPO_NVERTICES;
#if SCPO_AUDIT
    if (adapter->audit.spent < SCPO_STEP_ROLLOUTS) {
        adapter->audit.spent++;
    }
#endif
    if (piece == 0) {
        adapter->sum = 0;
        adapter->worst = -SCPO_LARGEST;
        adapter->found = 0;
#if SCPO_IMITATION
        adapter->expert.next = 0;
#endif
    }
#if SCPO_AUDIT
    if (piece < guards) {
        (void)scpo_verify_rollout(adapter, with, scpo_guard_rollout(adapter, piece));
        if (adapter->worst > -SCPO_METRIC_ERROR) {
            scpo_to_front(adapter, piece);
            return 1;
        }
    } else
#endif
    if (piece < rollouts) {
        if (scpo_verify_rollout(adapter, with, piece - guards)) {
            return 1;
        }
    }
#if SCPO_NVERTICES
    else if (piece < end) {
        scpo_verify_vertex(adapter, with, piece - rollouts);
    }
#endif
#if SCPO_IMITATION
    else {
        return scpo_objective_error(adapter, with);
    }
#endif
    adapter->rollout++;
#if SCPO_AUDIT
    if (adapter->rollout == end && adapter->worst > -SCPO_METRIC_ERROR) {
        return 1;
    }
#endif
    return !SCPO_IMITATION && adapter->rollout == end;
}

void scpo_choose_rows(scpo_adapter *adapter)
{
    int kept = 0;
    int row;
    for (row = 0; row < adapter->count; row++) {
        if (adapter->multiplier[row] > 0 || adapter->joined[row]) {
            adapter->key[kept] = adapter->key[row];
            adapter->L[kept] = adapter->L[row];
            adapter->multiplier[kept] = adapter->multiplier[row];
            kept++;
        }
    }
    adapter->count = kept;
    for (row = 0; row < adapter->found && adapter->count < SCPO_NROWS; row++) {
        if (scpo_place(adapter, adapter->peak_key[row]) == adapter->count) {
            adapter->key[adapter->count] = adapter->peak_key[row];
            adapter->L[adapter->count] = SCPO_FIRST_SMOOTHNESS;
            adapter->multiplier[adapter->count] = 0;
            adapter->count++;
        }
    }
    for (row = 0; row < adapter->count; row++) {
        adapter->joined[row] = 0;
    }
}

scpo_real scpo_shown(scpo_adapter *adapter, int row)
{
    const scpo_real linear = adapter->c[row] + scpo_inner(SCPO_SPAN, scpo_row(adapter, row), adapter->alpha);
    return 2 * (adapter->tried[row] - linear - SCPO_METRIC_ERROR) / (adapter->length * adapter->length * adapter->gamma);
}

/* The last row before `end` that neither held a step back nor was broken, or -1. */
static int scpo_idle_row(const scpo_adapter *adapter, int end)
{
    do {
        end--;
    } while (end >= 0 && (adapter->multiplier[end] > 0 || adapter->joined[end]));
    return end;
}

int scpo_take_in_broken(scpo_adapter *adapter)
{
    int idle = adapter->count;
    int changed = 0;
    int k;
    for (k = 0; k < adapter->found && adapter->peak[k] > -SCPO_METRIC_ERROR; k++) {
        int row = scpo_place(adapter, adapter->peak_key[k]);
        const int known = row < adapter->count;
        if (!known) {
            row = scpo_idle_row(adapter, idle);
        }
        if (known) {
            adapter->L[row] = scpo_max(SCPO_GROWTH * scpo_shown(adapter, row), 2 * adapter->L[row]);
            adapter->joined[row] = SCPO_KNOWN;
            changed = 1;
        } else if (row >= 0) {
            adapter->key[row] = adapter->peak_key[k];
            adapter->L[row] = SCPO_FIRST_SMOOTHNESS;
            adapter->joined[row] = SCPO_TO_COMPUTE;
            idle = row;
            changed = 1;
        }
    }
    return changed;
}
