/* Products of dense matrices with lanes. SPDX-License-Identifier: MIT */
#ifndef PRODUCT_H
#define PRODUCT_H

#include <stddef.h>

#include "lanes.h"

/* Sums in registers at once, beside what is multiplied: enough to keep the adders busy. */
#define ROWS_AT_ONCE 12
#define INPUTS_AT_ONCE 8

INLINED void set_rows(int rows, int columns, const double *M, const double *b, const lane *in, lane *out)
{
    lane sum[ROWS_AT_ONCE];
    int i, j;
    UNROLLED for (i = 0; i < rows; i++) {
        sum[i] = b ? all(b[i]) : out[i];
    }
    for (j = 0; j < columns; j++) {
        UNROLLED for (i = 0; i < rows; i++) {
            sum[i] += M[(long)i * columns + j] * in[j];
        }
    }
    UNROLLED for (i = 0; i < rows; i++) {
        out[i] = sum[i];
    }
}

/* out = M in + b, M [rows][columns]; out += M in if b is NULL. Each sum is in the order of the columns. */
INLINED void multiply(int rows, int columns, const double *M, const double *b, const lane *restrict in,
                      lane *restrict out)
{
    int i = 0;
    for (; i + ROWS_AT_ONCE <= rows; i += ROWS_AT_ONCE) {
        set_rows(ROWS_AT_ONCE, columns, M + (long)i * columns, b ? b + i : NULL, in, out + i);
    }
    for (; i + 4 <= rows; i += 4) {
        set_rows(4, columns, M + (long)i * columns, b ? b + i : NULL, in, out + i);
    }
    for (; i + 2 <= rows; i += 2) {
        set_rows(2, columns, M + (long)i * columns, b ? b + i : NULL, in, out + i);
    }
    for (; i < rows; i++) {
        set_rows(1, columns, M + (long)i * columns, b ? b + i : NULL, in, out + i);
    }
}

INLINED void add_rows(int rows, int columns, const double *M, const lane *in, lane *restrict out)
{
    int i, j;
    for (j = 0; j < columns; j++) {
        lane sum = out[j];
        UNROLLED for (i = 0; i < rows; i++) {
            sum += M[(long)i * columns + j] * in[i];
        }
        out[j] = sum;
    }
}

/* out += M' in, M [rows][columns]. Each sum is in the order of the rows. */
INLINED void multiply_transposed(int rows, int columns, const double *M, const lane *in, lane *restrict out)
{
    int i = 0;
    for (; i + INPUTS_AT_ONCE <= rows; i += INPUTS_AT_ONCE) {
        add_rows(INPUTS_AT_ONCE, columns, M + (long)i * columns, in + i, out);
    }
    for (; i + 2 <= rows; i += 2) {
        add_rows(2, columns, M + (long)i * columns, in + i, out);
    }
    if (i < rows) {
        add_rows(1, columns, M + (long)i * columns, in + i, out);
    }
}

#endif /* PRODUCT_H */
