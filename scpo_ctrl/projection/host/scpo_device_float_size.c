/* The projection of an exported adaptation in float, with the sums of one compiled for size. SPDX-License-Identifier: MIT */
#define SCPO_DEVICE(name) scpo_device_float_size_##name
#define SCPO_REAL_IS_DOUBLE 0
#ifndef __OPTIMIZE_SIZE__
#define __OPTIMIZE_SIZE__ 1 /* as -Os does, which chooses the order of sums */
#endif
typedef float scpo_real;
#include "scpo_device_body.h"
