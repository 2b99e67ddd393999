/* The projection of an exported adaptation in float. SPDX-License-Identifier: MIT */
#define SCPO_DEVICE(name) scpo_device_float_##name
#define SCPO_REAL_IS_DOUBLE 0
typedef float scpo_real;
#include "scpo_device_body.h"
