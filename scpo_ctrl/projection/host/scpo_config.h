/* The runtime as the Python package uses it: double, and large enough for problems of a desktop computer. */
#ifndef SCPO_CONFIG_H
#define SCPO_CONFIG_H

typedef double scpo_real;
#define SCPO_REAL_IS_DOUBLE 1
#define SCPO_MAX_DIM 16384
#define SCPO_MAX_ACTIVE 2047
#define SCPO_BUDGET(count) (SCPO_MAX_NEWTON + (count) / 16) /* where constraints are many, rounds are too */
#define SCPO_PLACES(dim) ((dim) + 16 < SCPO_SLOTS ? (dim) + 16 : SCPO_SLOTS) /* optima need dim of them; more cost time */
#define SCPO_NX 1
#define SCPO_NU 1
#define SCPO_NTHETA 1
#define SCPO_HIDDEN 0

#endif /* SCPO_CONFIG_H */
