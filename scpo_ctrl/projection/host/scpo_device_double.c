/* The projection of an exported adaptation in double. SPDX-License-Identifier: MIT */
#define SCPO_DEVICE(name) scpo_device_double_##name
#define SCPO_REAL_IS_DOUBLE 1
typedef double scpo_real;
#include "scpo_device_body.h"
