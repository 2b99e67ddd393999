/* What the Python package calls: the projection with the choices and in the type of an exported adaptation.
 * SPDX-License-Identifier: MIT
 */
#ifndef SCPO_DEVICE_H
#define SCPO_DEVICE_H

#define SCPO_DEVICE_DIM 4096 /* parameters, at most */
#define SCPO_DEVICE_ROWS 127 /* of the working set, at most */

/* Solves (E5) from guesses: rows are likely to be active with the multipliers in guess [count] that are above 0.
 * multiplier [count] receives those at the answer, pieces the number of calls of a device, those of the guesses with
 * them. Returns scpo_status, or -1 where there is no memory. */
int scpo_device_double_solve(int dim, int count, const double *u, const double *c, const double *G, const double *e,
                             const double *L, double r, const double *guess, double *delta, double *multiplier,
                             int *pieces);
int scpo_device_float_solve(int dim, int count, const float *u, const float *c, const float *G, const float *e,
                            const float *L, float r, const float *guess, float *delta, float *multiplier, int *pieces);

#endif /* SCPO_DEVICE_H */
