/* What the drivers for Frama-C's EVA share: inputs of which nothing is known. SPDX-License-Identifier: MIT */
#ifndef EVA_H
#define EVA_H

#include <stddef.h>
#include <stdint.h>

#include "__fc_builtin.h"
#include "scpo.h"

static int any(void)
{
    return Frama_C_interval(0, 1);
}

/* Any reals, NaN and infinities among them. */
static void any_reals(scpo_real *x, int count)
{
    Frama_C_make_unknown((char *)x, (unsigned long)count * sizeof *x);
}

#endif
