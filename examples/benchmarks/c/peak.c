/* What one thread can do at most: multiplications and additions that wait for nothing, on vectors that stay in registers.
 * Compiled as the engine is, without contraction: each is an instruction of its own. */
#if defined(__AVX512F__)
#define SIZE 64
#elif defined(__AVX__)
#define SIZE 32
#else
#define SIZE 16
#endif

#define CHAINS 6 /* of each kind: enough for two pipes with a latency of three cycles, within sixteen registers */

typedef double vector __attribute__((vector_size(SIZE)));

/* Does `count` rounds and returns how many operations on doubles these are. */
double peak(long count, double *result)
{
    const vector one = (vector){0} + 1.0, factor = 0.999999999 * one, term = 1e-9 * one;
    vector p0 = one, p1 = 2.0 * one, p2 = 3.0 * one, p3 = 4.0 * one, p4 = 5.0 * one, p5 = 6.0 * one;
    vector s0 = p0, s1 = p1, s2 = p2, s3 = p3, s4 = p4, s5 = p5;
    long k;
    for (k = 0; k < count; k++) {
        p0 *= factor;
        s0 += term;
        p1 *= factor;
        s1 += term;
        p2 *= factor;
        s2 += term;
        p3 *= factor;
        s3 += term;
        p4 *= factor;
        s4 += term;
        p5 *= factor;
        s5 += term;
    }
    *result = (p0 + p1 + p2 + p3 + p4 + p5 + s0 + s1 + s2 + s3 + s4 + s5)[0];
    return 2.0 * CHAINS * (double)count * (double)(SIZE / sizeof(double));
}
