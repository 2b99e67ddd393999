/* Guards and audits (E12): what is committed on S is audited on points of the declared set that nothing saw before. It
 * becomes active where the audit finds nothing; else the worst points join S, and the committed parameters go back
 * towards the active ones as far as S asks for. S is kept as numbers of points. SPDX-License-Identifier: MIT
 */
#include "scpo_audit.h"

#define SCPO_LEAST_BETWEEN ((SCPO_AUDIT_FIRST + 3) / 4) /* audits, in commits */
#define SCPO_BACK_OFF_PART SCPO_R(0.5) /* of what a metric leaves at the active parameters, at most */

void scpo_set_back_off(scpo_adapter *adapter, int rollout, int signal, scpo_real largest)
{
    const scpo_real room = -largest - SCPO_METRIC_ERROR;
    scpo_real part = 0;
    if (room > 0) {
        part = SCPO_BACK_OFF_PART * room / SCPO_BACK_OFF;
        part = part < 1 ? part : 1;
    }
    adapter->audit.back_off[rollout * SCPO_NSIGNALS + signal] = (unsigned char)(255 * part);
}

void scpo_guards_begin(scpo_adapter *adapter)
{
    int i;
    for (i = 0; i < SCPO_EDGES; i++) {
        adapter->audit.guard[i] = 2 * (uint32_t)i + 1U; /* odd ones are at the edges */
        adapter->audit.order[i] = (unsigned char)i;
    }
    adapter->audit.guards = SCPO_EDGES;
    adapter->audit.number = 2 * (uint32_t)SCPO_EDGES;
}

void scpo_to_front(scpo_adapter *adapter, int rank)
{
    unsigned char *order = adapter->audit.order;
    const unsigned char place = order[rank];
    while (rank > 0) {
        order[rank] = order[rank - 1];
        rank--;
    }
    order[0] = place;
}

void scpo_audit_restart(scpo_adapter *adapter)
{
    scpo_audit *audit = &adapter->audit;
    audit->committed = *scpo_active(adapter);
    audit->trusted = 0;
    audit->own = 0;
    audit->joining = 0;
    audit->unaudited = 0;
    audit->interval = SCPO_AUDIT_FIRST;
}

int scpo_take_over(scpo_adapter *adapter)
{
    const scpo_parameters *spare = scpo_controller_spare(adapter->controller);
    if (scpo_largest(SCPO_NTHETA, spare->theta, 0) >= SCPO_INFINITY) {
        return 0;
    }
    adapter->audit.committed = *spare;
    if (adapter->audit.unaudited < adapter->audit.interval) {
        adapter->audit.unaudited++;
    }
    return 1;
}

void scpo_audit_begin(scpo_adapter *adapter)
{
    int i;
    for (i = 0; i < SCPO_TAKEN; i++) {
        adapter->audit.worst[i] = -SCPO_METRIC_ERROR;
    }
    adapter->audit.left = SCPO_AUDIT_POINTS;
}

/* The largest metric of a rollout, without back-off. */
static scpo_real scpo_worst_of(scpo_adapter *adapter, const scpo_parameters *with, int rollout)
{
    scpo_real worst = -SCPO_LARGEST;
    int signal;
    if (!scpo_roll(adapter, with, rollout, &adapter->work.run)) {
        return SCPO_LARGEST;
    }
    for (signal = 0; signal < SCPO_NSIGNALS; signal++) {
        scpo_real largest;
        int when;
        if (scpo_largest_of(&adapter->work.run, rollout, signal, &when, &largest)) {
            if (adapter->audit.joining > 0) {
                scpo_set_back_off(adapter, rollout, signal, largest);
            }
            worst = largest < SCPO_LARGEST ? scpo_max(worst, largest) : SCPO_LARGEST;
        }
    }
    return worst;
}

/* Rows of a rollout leave the working set with the next step. */
static void scpo_drop_rows(scpo_adapter *adapter, int rollout)
{
    int row;
    for (row = 0; row < adapter->count; row++) {
        if (SCPO_ROLLOUT_OF(adapter->key[row]) == rollout) {
            adapter->multiplier[row] = 0;
            adapter->joined[row] = 0;
        }
    }
}

/* The worst point of each part of the audit joins S, in place of the oldest ones where it is full. */
static void scpo_take_in_found(scpo_adapter *adapter)
{
    scpo_audit *audit = &adapter->audit;
    int i;
    for (i = 0; i < SCPO_TAKEN; i++) {
        if (audit->worst[i] > -SCPO_METRIC_ERROR) {
            int place = audit->guards;
            int rank = place;
            if (place < SCPO_GUARDS) {
                audit->guards++;
                audit->order[place] = (unsigned char)place;
            } else {
                place = audit->oldest;
                audit->oldest = (place + 1) % SCPO_GUARDS;
                scpo_drop_rows(adapter, SCPO_NROLLOUTS + place);
                do {
                    rank--;
                } while (rank > 0 && audit->order[rank] != place);
            }
            audit->guard[place] = audit->found[i];
            scpo_to_front(adapter, rank);
            audit->joining++;
        }
    }
}

/* A point of the audit. */
static scpo_audit_outcome scpo_draw_point(scpo_adapter *adapter)
{
    scpo_audit *audit = &adapter->audit;
    const int part = (int)((audit->number >> 1) % SCPO_TAKEN);
    const scpo_real worst = scpo_worst_of(adapter, scpo_committed(adapter), SCPO_NALL);
    if (worst > audit->worst[part]) {
        audit->worst[part] = worst;
        audit->found[part] = audit->number;
    }
    audit->number++;
    adapter->counts.fresh++;
    if (--audit->left > 0) {
        return SCPO_AUDIT_GOES_ON;
    }
    adapter->counts.audits++;
    scpo_take_in_found(adapter);
    if (audit->joining > 0) {
        audit->interval = audit->interval / 2 > SCPO_LEAST_BETWEEN ? audit->interval / 2 : SCPO_LEAST_BETWEEN;
        return SCPO_AUDIT_GOES_ON;
    }
    if (audit->unaudited > 0) {
        audit->interval = audit->interval < SCPO_AUDIT_MOST / 2 ? 2 * audit->interval : SCPO_AUDIT_MOST;
    }
    return SCPO_AUDIT_PASSED;
}

scpo_audit_outcome scpo_audit_poll(scpo_adapter *adapter)
{
    scpo_audit *audit = &adapter->audit;
    if (audit->joining == 0) {
        return scpo_draw_point(adapter);
    }
    { /* its back-off, at the active parameters; the newest comes last */
        const int rollout = scpo_guard_rollout(adapter, audit->joining - 1);
        if (scpo_worst_of(adapter, scpo_active(adapter), rollout) > -SCPO_METRIC_ERROR) {
            audit->joining = 0;
            return SCPO_AUDIT_BROKEN;
        }
    }
    audit->halvings = 0;
    return --audit->joining > 0 ? SCPO_AUDIT_GOES_ON : SCPO_AUDIT_FAILED;
}

void scpo_retreat(scpo_adapter *adapter)
{
    scpo_parameters *committed = &adapter->audit.committed;
    const scpo_parameters *active = scpo_active(adapter);
    if (adapter->audit.halvings < SCPO_HALVINGS) {
        int i;
        adapter->audit.halvings++;
        for (i = 0; i < SCPO_NTHETA; i++) {
            committed->theta[i] = (committed->theta[i] + active->theta[i]) / 2;
        }
        scpo_parameters_prepare(committed);
        adapter->audit.unaudited = 1;
    } else {
        *committed = *active;
        adapter->audit.unaudited = 0;
    }
}

int scpo_activate(scpo_adapter *adapter)
{
    scpo_audit *audit = &adapter->audit;
    const int changed = audit->unaudited > 0;
    audit->trusted = 1;
    audit->unaudited = 0;
    if (changed) {
        *scpo_controller_spare(adapter->controller) = audit->committed;
        (void)scpo_controller_switch(adapter->controller);
        audit->own = 1;
    }
    return changed;
}

void scpo_withdraw(scpo_adapter *adapter)
{
    scpo_parameters *spare = scpo_controller_spare(adapter->controller);
    memcpy(spare->theta, scpo_theta_start, sizeof spare->theta);
    scpo_parameters_prepare(spare);
    (void)scpo_controller_switch(adapter->controller);
    adapter->audit.trusted = 0;
    adapter->audit.own = 0;
    adapter->audit.halvings = 0;
    scpo_retreat(adapter);
}
