/* Guards and audits (E12), as the step of the adaptation uses them: nothing where SCPO_AUDIT is 0.
 * SPDX-License-Identifier: MIT
 */
#ifndef SCPO_AUDIT_H
#define SCPO_AUDIT_H

#include "scpo_working_set.h"

#ifdef __cplusplus
extern "C" {
#endif

#if SCPO_AUDIT

#define SCPO_HALVINGS 3 /* of the way back to the active parameters, before all of it is gone */

/* How many guards there are; and the rollout of one, in the order that they are verified in. */
#define scpo_count_guards(adapter) ((adapter)->audit.guards)
#define scpo_guard_rollout(adapter, rank) (SCPO_NROLLOUTS + (adapter)->audit.order[rank])

/* The guard of a rank becomes the first one: what broke a try is likely to break the next one. */
void scpo_to_front(scpo_adapter *adapter, int rank);

/* A signal's back-off: SCPO_BACK_OFF, and at most half of what the active parameters leave to the bound. */
void scpo_set_back_off(scpo_adapter *adapter, int rollout, int signal, scpo_real largest);

/* S is as at first: points at the edges of the set. */
void scpo_guards_begin(scpo_adapter *adapter);

/* Others than those at hand are committed and trusted in nothing, where the user gave them. */
void scpo_audit_restart(scpo_adapter *adapter);

/* An audit of the committed parameters begins. */
void scpo_audit_begin(scpo_adapter *adapter);

typedef enum {
    SCPO_AUDIT_GOES_ON = 0,
    SCPO_AUDIT_PASSED = 1,
    SCPO_AUDIT_FAILED = 2, /* counterexamples have joined S: the committed parameters are to go back */
    SCPO_AUDIT_BROKEN = 3  /* and the active ones break a metric there too */
} scpo_audit_outcome;

/* One piece of an audit: a point, or a counterexample that joins S. */
scpo_audit_outcome scpo_audit_poll(scpo_adapter *adapter);

/* The committed parameters go back half of the way to the active ones, or, the last time, all of it. */
void scpo_retreat(scpo_adapter *adapter);

/* The committed parameters have passed an audit: they become the active ones. Returns whether these were others. */
int scpo_activate(scpo_adapter *adapter);

/* The safe start becomes active, trusted in nothing, and the committed parameters begin to go back to it. */
void scpo_withdraw(scpo_adapter *adapter);

/* Whether the active parameters are verified for the first time: what they leave to the bounds decides the back-off. */
#define scpo_measures(adapter) (!(adapter)->audit.trusted && (adapter)->audit.unaudited == 0)

/* Whether a step has rolled out what it may. */
#define scpo_has_spent(adapter) ((adapter)->audit.spent >= SCPO_STEP_ROLLOUTS)

/* The parameters that were verified become the committed ones. 0 where they are no numbers: then nothing has changed. */
int scpo_take_over(scpo_adapter *adapter);

#else

#define scpo_has_spent(adapter) 0
#define scpo_take_over(adapter) (scpo_controller_switch((adapter)->controller) == SCPO_OK)
#define scpo_count_guards(adapter) ((void)(adapter), 0)
#endif

#ifdef __cplusplus
}
#endif

#endif /* SCPO_AUDIT_H */
