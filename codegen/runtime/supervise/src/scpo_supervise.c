/* Supervision of a controller. SPDX-License-Identifier: MIT */
#include "scpo_supervise.h"

#include "scpo_model.h"
#include "scpo_policy.h"

#define SCPO_HAS_RUN 1U
#define SCPO_HAS_PASSED 2U
#define SCPO_BOTH 3U

static void scpo_count(uint32_t *counter)
{
    if (*counter < UINT32_MAX) {
        (*counter)++;
    }
}

/* CRC-32 (reflected 0xEDB88320) of the bytes of a set. */
static uint32_t scpo_checksum(const scpo_parameters *set)
{
    const unsigned char *byte = (const unsigned char *)set;
    uint32_t crc = 0xFFFFFFFFU;
    size_t k;
    for (k = 0; k < sizeof *set; k++) {
        int bit;
        crc ^= byte[k];
        for (bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1U) ? 0xEDB88320U : 0U);
        }
    }
    return ~crc;
}

static void scpo_backup_input(const scpo_real *x, scpo_real *u)
{
    scpo_real z[SCPO_NX];
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = x[i] - scpo_x_eq[i];
    }
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, scpo_u_eq[i] - scpo_inner(SCPO_NX, scpo_K[i], z));
    }
}

static void scpo_release(scpo_real *u)
{
    int i;
    for (i = 0; i < SCPO_NU; i++) {
        u[i] = scpo_saturate(i, scpo_u_eq[i]);
    }
}

static int scpo_is_good(const scpo_supervisor *supervisor, const scpo_real *x)
{
    int i;
    if (scpo_largest(SCPO_NX, x, 0) >= SCPO_INFINITY) {
        return 0;
    }
    for (i = 0; i < SCPO_NX && supervisor->low; i++) {
        if (x[i] < supervisor->low[i] || x[i] > supervisor->high[i]) {
            return 0;
        }
    }
    return 1;
}

/* Where there is no good measurement. */
static scpo_status scpo_without(scpo_supervisor *supervisor, scpo_real *u)
{
    int i;
    scpo_count(&supervisor->age);
    if (supervisor->age > supervisor->patience || supervisor->fallback == SCPO_RELEASE) {
        scpo_count(&supervisor->incidents.released);
        scpo_release(u);
    } else if (supervisor->fallback == SCPO_HOLD_LAST) {
        for (i = 0; i < SCPO_NU; i++) {
            u[i] = scpo_saturate(i, supervisor->u[i]);
        }
    } else {
        scpo_backup_input(supervisor->x, u);
    }
    return SCPO_BAD_STATE;
}

/* Whether V has not halved in time. */
static int scpo_has_stalled(scpo_supervisor *supervisor)
{
    scpo_real z[SCPO_NX];
    scpo_real level = 0;
    int i;
    for (i = 0; i < SCPO_NX; i++) {
        z[i] = supervisor->x[i] - scpo_x_eq[i];
    }
    for (i = 0; i < SCPO_NX; i++) {
        level += z[i] * scpo_inner(SCPO_NX, scpo_P[i], z);
    }
    if (supervisor->level < 0 || level <= scpo_max(supervisor->level / 2, supervisor->floor)) {
        supervisor->level = level;
        supervisor->waited = 0;
        return 0;
    }
    scpo_count(&supervisor->waited);
    return supervisor->waited > supervisor->halving;
}

static void scpo_keep_last(scpo_supervisor *supervisor, const scpo_real *u)
{
    int at_bound = 0;
    int i;
    for (i = 0; i < SCPO_NU; i++) {
        supervisor->u[i] = u[i];
        at_bound |= u[i] >= scpo_u_max[i] || u[i] <= scpo_u_min[i];
    }
    if (at_bound) {
        scpo_count(&supervisor->incidents.saturated);
    }
}

void scpo_supervisor_begin(scpo_supervisor *supervisor, scpo_controller *controller, scpo_fallback fallback,
                           uint32_t patience)
{
    memset(supervisor, 0, sizeof *supervisor);
    supervisor->controller = controller;
    supervisor->fallback = fallback;
    supervisor->patience = patience;
    memcpy(supervisor->x, scpo_x_eq, sizeof supervisor->x);
    scpo_release(supervisor->u);
    scpo_supervisor_accept(supervisor);
}

scpo_status scpo_supervisor_control(scpo_supervisor *supervisor, const scpo_real *x, scpo_real *u)
{
    scpo_status status;
    scpo_count(&supervisor->incidents.calls);
    if (x && scpo_is_good(supervisor, x)) {
        memcpy(supervisor->x, x, sizeof supervisor->x);
        supervisor->age = 0;
        status = scpo_controller_control(supervisor->controller, supervisor->x, u);
        if (status == SCPO_GUARDED) {
            scpo_count(&supervisor->incidents.guarded);
        }
        if (supervisor->halving && scpo_has_stalled(supervisor)) {
            scpo_count(&supervisor->incidents.stalled);
            scpo_backup_input(supervisor->x, u);
            status = SCPO_GUARDED;
        }
    } else {
        scpo_count(x ? &supervisor->incidents.invalid : &supervisor->incidents.missing);
        status = scpo_without(supervisor, u);
    }
    scpo_keep_last(supervisor, u);
    supervisor->token |= SCPO_HAS_RUN;
    return status;
}

void scpo_supervisor_watch(scpo_supervisor *supervisor, uint32_t halving, scpo_real floor)
{
    supervisor->halving = halving;
    supervisor->floor = floor;
    supervisor->level = -1; /* the next one counts */
    supervisor->waited = 0;
}

void scpo_supervisor_accept(scpo_supervisor *supervisor)
{
    const unsigned active = supervisor->controller->active & 1U;
    supervisor->checksum[active] = scpo_checksum(&supervisor->controller->set[active]);
}

int scpo_supervisor_check(scpo_supervisor *supervisor)
{
    const unsigned active = supervisor->controller->active & 1U;
    if (scpo_checksum(&supervisor->controller->set[active]) == supervisor->checksum[active]) {
        supervisor->token |= SCPO_HAS_PASSED;
        return 1;
    }
    scpo_count(&supervisor->incidents.corrupted);
    {
        scpo_parameters *spare = scpo_controller_spare(supervisor->controller);
        memset(spare->theta, 0, sizeof spare->theta); /* the backup */
        scpo_parameters_prepare(spare);
        (void)scpo_controller_switch(supervisor->controller);
        scpo_supervisor_accept(supervisor);
    }
    return 0;
}

uint32_t scpo_supervisor_token(scpo_supervisor *supervisor)
{
    if ((supervisor->token & SCPO_BOTH) == SCPO_BOTH) {
        supervisor->token = (supervisor->token & ~SCPO_BOTH) + 4U;
    }
    return supervisor->token >> 2;
}
