/* (|H| + damping)^(-1/2) of a symmetric matrix of a few dozen rows, |H| by absolute eigenvalues.
 *
 * Householder reflections make H tridiagonal, QL steps with Wilkinson's shifts make that diagonal: G. H. Golub,
 * C. F. Van Loan, Matrix Computations, 4th edition, section 8.3. H is divided by its largest entry first, and what is
 * below the rounding of that counts as zero. Rows are lanes, padded with zeros.
 * SPDX-License-Identifier: MIT
 */
#define WIDTH 8 /* numbers are summed in eight parts */
#include "lanes.h"

#define MOST_ROWS 64       /* beyond them LAPACK, which works in blocks, is faster */
#define MOST_LANES (MOST_ROWS / WIDTH)
#define MOST_STEPS 60      /* for one eigenvalue; two are usual */
#define ROUNDED 0x1p-53    /* an entry beside the diagonal that is zero */
#define SMALLEST 0x1p-1000 /* a sum of squares that is zero */

typedef struct {
    long n;
    long lanes;    /* of a row */
    lane *H;       /* [n][lanes] then the product of the reflections */
    lane *vectors; /* [n][lanes] v of the reflections 1 - beta v v', then the eigenvectors */
    lane *product; /* [lanes] */
    double *beta;  /* [n] */
    double *d;     /* [n] diagonal, then the eigenvalues */
    double *e;     /* [n] beside it */
} decomposition;

static inline double dot(const lane *x, const lane *y, long from, long lanes)
{
    lane sum = all(0.0);
    long b;
    for (b = from / WIDTH; b < lanes; b++) {
        sum += x[b] * y[b];
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* out = sum over j >= from of weights[j * stride] rows[j], in the lanes of columns `from` and later. */
static inline void combine(const lane *rows, const double *weights, long stride, long from, long n, long lanes,
                           lane *out)
{
    long b = from / WIDTH, j;
    for (; b + 3 <= lanes; b += 3) { /* three at once keep the adders busy */
        lane s0 = all(0.0), s1 = all(0.0), s2 = all(0.0);
        for (j = from; j < n; j++) {
            const lane *row = rows + j * lanes + b;
            const double weight = weights[j * stride];
            s0 += weight * row[0];
            s1 += weight * row[1];
            s2 += weight * row[2];
        }
        out[b] = s0;
        out[b + 1] = s1;
        out[b + 2] = s2;
    }
    for (; b < lanes; b++) {
        lane sum = all(0.0);
        for (j = from; j < n; j++) {
            sum += weights[j * stride] * rows[j * lanes + b];
        }
        out[b] = sum;
    }
}

/* The reflection of row k right of its diagonal onto the first entry there; beta = 0 where all others are zero. */
static void reflect(const decomposition *D, long k)
{
    const double *row = (const double *)(D->H + k * D->lanes);
    lane *vector = D->vectors + k * D->lanes;
    double *v = (double *)vector, head = row[k + 1], norm;
    long j;
    for (j = 0; j < D->lanes * WIDTH; j++) {
        v[j] = j > k && j < D->n ? row[j] : 0.0;
    }
    norm = sqrt(dot(vector, vector, k + 1, D->lanes));
    D->e[k] = head;
    D->beta[k] = 0.0;
    if (norm > fabs(head)) {
        norm = head > 0 ? -norm : norm;
        v[k + 1] = head - norm;
        D->e[k] = norm;
        D->beta[k] = 1.0 / (norm * (norm - head));
    }
}

static void make_tridiagonal(const decomposition *D)
{
    const long n = D->n, lanes = D->lanes;
    lane *w = D->product;
    long k, j, b;
    for (k = 0; k < n; k++) {
        const lane *v = D->vectors + k * lanes;
        const double *v_entries = (const double *)v, *w_entries = (const double *)w;
        double half;
        D->d[k] = ((const double *)(D->H + k * lanes))[k];
        if (k == n - 1) {
            break;
        }
        reflect(D, k);
        combine(D->H, v_entries, 1, k + 1, n, lanes, w); /* H -= v w' + w v', w = beta H v - (beta^2 v'Hv / 2) v */
        half = 0.5 * D->beta[k] * dot(w, v, k + 1, lanes);
        for (b = (k + 1) / WIDTH; b < lanes; b++) {
            w[b] = D->beta[k] * (w[b] - half * v[b]);
        }
        for (j = k + 1; j < n; j++) {
            lane *row = D->H + j * lanes;
            for (b = (k + 1) / WIDTH; b < lanes; b++) {
                row[b] -= v_entries[j] * w[b] + w_entries[j] * v[b];
            }
        }
    }
}

/* The product of the reflections, in the place of H. */
static void multiply_reflections(const decomposition *D)
{
    const long n = D->n, lanes = D->lanes;
    long k, j, b;
    for (j = 0; j < n; j++) {
        double *row = (double *)(D->H + j * lanes);
        for (k = 0; k < lanes * WIDTH; k++) {
            row[k] = j == k;
        }
    }
    for (k = n - 2; k >= 0; k--) {
        const double *v = (const double *)(D->vectors + k * lanes);
        combine(D->H, v, 1, k + 1, n, lanes, D->product);
        for (j = k + 1; j < n; j++) {
            const double weight = D->beta[k] * v[j];
            for (b = (k + 1) / WIDTH; b < lanes; b++) {
                D->H[j * lanes + b] -= weight * D->product[b];
            }
        }
    }
}

/* Small eigenvalues gather at the end, and QL finds those at the beginning fastest: everything in reverse. */
static void reverse(const decomposition *D)
{
    const long n = D->n, width = D->lanes * WIDTH;
    const double *product = (const double *)D->H;
    double *vectors = (double *)D->vectors;
    long i, j;
    for (j = 0; j < n; j++) {
        for (i = 0; i < width; i++) {
            vectors[(n - 1 - j) * width + i] = i < n ? product[i * width + j] : 0.0;
        }
    }
    for (i = 0; i < n / 2; i++) {
        const double d = D->d[i];
        D->d[i] = D->d[n - 1 - i];
        D->d[n - 1 - i] = d;
    }
    for (i = 0; i < (n - 1) / 2; i++) {
        const double e = D->e[i];
        D->e[i] = D->e[n - 2 - i];
        D->e[n - 2 - i] = e;
    }
}

static inline void rotate(lane *restrict x, lane *restrict y, double c, double s, long lanes)
{
    long b;
    for (b = 0; b < lanes; b++) {
        const lane f = y[b];
        y[b] = s * x[b] + c * f;
        x[b] = c * x[b] - s * f;
    }
}

/* One QL step on rows l ... m, shifted towards the eigenvalue at l. */
static void ql_step(const decomposition *D, long l, long m)
{
    double *d = D->d, *e = D->e;
    const double slope = (d[l + 1] - d[l]) / (2.0 * e[l]), root = sqrt(slope * slope + 1.0);
    double g = d[m] - d[l] + e[l] / (slope + (slope < 0 ? -root : root)), s = 1.0, c = 1.0, p = 0.0;
    long i;
    for (i = m - 1; i >= l; i--) {
        const double f = s * e[i], b = c * e[i], square = f * f + g * g, inverse = sqrt(square) * (1.0 / square);
        double turned;
        if (square <= SMALLEST) { /* the matrix has fallen into two here */
            e[i + 1] = 0.0;
            e[m] = 0.0;
            d[i + 1] -= p;
            return;
        }
        e[i + 1] = square * inverse;
        s = f * inverse;
        c = g * inverse;
        g = d[i + 1] - p;
        turned = (d[i] - g) * s + 2.0 * c * b;
        p = s * turned;
        d[i + 1] = g + p;
        g = c * turned - b;
        rotate(D->vectors + i * D->lanes, D->vectors + (i + 1) * D->lanes, c, s, D->lanes);
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

static int make_diagonal(const decomposition *D)
{
    long l, m, step;
    for (l = 0; l < D->n; l++) {
        for (step = 0;; step++) {
            for (m = l; m < D->n - 1 && !(fabs(D->e[m]) <= ROUNDED); m++) {
            }
            if (m == l) {
                break;
            }
            if (step == MOST_STEPS) {
                return 0;
            }
            ql_step(D, l, m);
        }
    }
    return 1;
}

/* Returns 0 where there are too many rows, or the steps do not converge; they do unless an entry is not finite. */
int kernel_inverse_root(long n, const double *H, double damping, double *root)
{
    lane rows[2][MOST_ROWS * MOST_LANES], numbers[4][MOST_LANES];
    const long lanes = (n + WIDTH - 1) / WIDTH, width = lanes * WIDTH;
    const decomposition D = {.n = n, .lanes = lanes, .H = rows[0], .vectors = rows[1], .product = numbers[0],
                             .beta = (double *)numbers[1], .d = (double *)numbers[2], .e = (double *)numbers[3]};
    double *entries = (double *)D.H, largest = SMALLEST;
    long i, j, b;
    if (n > MOST_ROWS) {
        return 0;
    }
    for (i = 0; i < n * n; i++) {
        largest = fabs(H[i]) > largest ? fabs(H[i]) : largest;
    }
    for (i = 0; i < n; i++) {
        for (j = 0; j < width; j++) {
            entries[i * width + j] = j < n ? H[i * n + j] / largest : 0.0;
        }
    }
    make_tridiagonal(&D);
    multiply_reflections(&D);
    reverse(&D);
    if (!make_diagonal(&D)) {
        return 0;
    }
    for (i = 0; i < n; i++) { /* vectors over the fourth root: then the sum of their outer products is symmetric */
        const double part = 1.0 / sqrt(sqrt(fabs(D.d[i]) * largest + damping));
        for (b = 0; b < lanes; b++) {
            D.vectors[i * lanes + b] *= part;
        }
    }
    for (i = 0; i < n; i++) {
        combine(D.vectors, (const double *)D.vectors + i, width, 0, n, lanes, D.product);
        for (j = 0; j < n; j++) {
            root[i * n + j] = ((const double *)D.product)[j];
        }
    }
    return 1;
}
