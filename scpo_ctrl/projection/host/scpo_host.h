/* What the Python package calls: the projection with plain arguments. SPDX-License-Identifier: MIT */
#ifndef SCPO_HOST_H
#define SCPO_HOST_H

#include "scpo.h"

/* scpo_project; also lists in active [SCPO_SLOTS] the constraints that hold the answer back, and returns their number
 * in info[0], the Newton steps and rounds taken in info[1], and in info[2] whether delta is u itself.
 * norms [count], the norms of the rows of G, may be NULL; guess [guesses] are rows, 0 ... count - 1, likely to be
 * active. */
int scpo_host_project(int dim, int count, const double *u, const double *c, const double *G, const double *e,
                      const double *L, double r, const double *norms, const long long *guess, int guesses,
                      scpo_workspace *work, double *delta, int *active, int *info);

#endif /* SCPO_HOST_H */
