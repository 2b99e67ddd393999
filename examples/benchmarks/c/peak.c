/* What one thread can do at most: multiplications and additions that wait for nothing, on vectors that stay in
 * registers. Compiled as the engine is, without contraction: each is an instruction of its own. */
#if defined(__AVX512F__)
#define SIZE 64
#elif defined(__AVX2__)
#define SIZE 32
#else
#define SIZE 16
#endif

#define CHAINS 12 /* enough for two pipes of each kind with a latency of three cycles, within sixteen registers */

typedef double vector __attribute__((vector_size(SIZE)));

/* Does `count` rounds and returns how many operations on doubles these are. */
double peak(long count, double *result)
{
    const vector one = (vector){0} + 1.0, near_one = 1.0000000001 * one;
    vector p0 = one, p1 = 2.0 * one, p2 = 3.0 * one, p3 = 4.0 * one, p4 = 5.0 * one, p5 = 6.0 * one;
    vector s0 = 1.5 * one, s1 = 2.5 * one, s2 = 3.5 * one, s3 = 4.5 * one, s4 = 5.5 * one, s5 = 6.5 * one;
    long k;
    for (k = 0; k < count; k++) {
        p0 *= near_one;
        s0 += near_one;
        p1 *= near_one;
        s1 += near_one;
        p2 *= near_one;
        s2 += near_one;
        p3 *= near_one;
        s3 += near_one;
        p4 *= near_one;
        s4 += near_one;
        p5 *= near_one;
        s5 += near_one;
    }
    *result = (p0 + p1 + p2 + p3 + p4 + p5 + s0 + s1 + s2 + s3 + s4 + s5)[0];
    return (double)CHAINS * (double)count * (double)(SIZE / sizeof(double));
}
