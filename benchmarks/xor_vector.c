/* xor_vector.c: what xor_plain.c does, by hand for speed.
 *
 * Every row of activations is padded to 8 floats, and a vector holds one or two rows.  A
 * weight's row stands once for each of them, so that a layer is a chain of multiply-adds:
 * z = b + x[0] W[0] + x[1] W[1] + ..., where x[i] is one lane spread over its row.  The
 * gradient of x takes the same form with the transposed weights, which are kept and
 * trained beside the weights, as that costs less than to transpose.  What is in padding is
 * never read by what is not; there, weights and gradients are 0.
 */
#include <math.h>
#include <string.h>

#ifndef WIDTHS
#define WIDTHS 2, 5, 4, 1
#define SIGMOID 1
#endif
#ifndef VBYTES
#ifdef __AVX512F__
#define VBYTES 64
#else
#define VBYTES 32
#endif
#endif

static const int widths[] = {WIDTHS};
enum { LAYERS = sizeof widths / sizeof *widths - 1, ROWS = 4, LANES = 8 };
enum { VL = VBYTES / 4, ROWS_IN_V = VL / LANES, VECTORS = ROWS / ROWS_IN_V };

typedef float V __attribute__((vector_size(VBYTES)));
typedef int I __attribute__((vector_size(VBYTES)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)
/* i < n where n is known after unrolling only */
#define EACH_LANE(i, n) EACH(i, LANES) if (i < (n))

/* Lane i of each row, in all lanes of that row. */
INLINE V spread(V x, int i)
{
#ifdef __clang__
    V y;
    EACH(lane, VL) y[lane] = x[lane / LANES * LANES + i];
    return y;
#elif VBYTES == 64
    return __builtin_shuffle(x, (I){0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8} + i);
#else
    return __builtin_shuffle(x, (I){0} + i);
#endif
}

/* The first n lanes of each row, 0 in the others. */
INLINE V first_lanes(V x, int n)
{
    I mask;
    EACH(lane, VL) mask[lane] = lane % LANES < n ? -1 : 0;
    return (V)((I)x & mask);
}

/* The sum of all rows, in every row. */
INLINE V sum_of_rows(V x)
{
#if VBYTES == 64 && defined(__clang__)
    V y;
    EACH(lane, VL) y[lane] = x[lane ^ LANES];
    return x + y;
#elif VBYTES == 64
    return x + __builtin_shuffle(x, (I){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
#else
    return x;
#endif
}

/* The numbers of rows x width floats, row by row, padded with `rest`. */
INLINE void load_rows(V *y, const float *x, int width, float rest)
{
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < LANES; i++)
            y[r / ROWS_IN_V][r % ROWS_IN_V * LANES + i] = i < width ? x[r * width + i] : rest;
}

/* 1 / (1 + exp(-z)): 2^n 2^f with n whole, and a polynomial for 2^f on [-1/2, 1/2]. */
INLINE V sigmoid(V z)
{
    const float magic = 0x1.8p23f;
    V y = z * -1.44269504f;
    V n = y + magic;
    V f = y - (n - magic);
    V f2 = f * f;
    V low = (f * 0.693147182f + 1.0f) + f2 * (f * 0.0555041087f + 0.240226507f);
    V high = f * 0.00133335581f + 0.00961812911f;
    V e = low + f2 * f2 * high;
    return 1.0f / (1.0f + (V)((I)e + ((I)n << 23)));
}

INLINE V relu(V z) { return (V)((I)z & (z > 0)); }

INLINE V activate(V z, int layer) { return SIGMOID || layer == LAYERS - 1 ? sigmoid(z) : relu(z); }

INLINE V derivative(V gy, V y) { return SIGMOID ? gy * (y - y * y) : (V)((I)gy & (y > 0)); }

/* costs holds the products of the likelihoods and gets their mean logarithms. */
#ifndef __clang__
__attribute__((optimize("fast-math"))) /* which has a logarithm of vectors */
#endif
static void logarithms(float *costs, long steps)
{
    for (long i = 0; i < steps; i++)
        costs[i] = logf(costs[i]) * (-1.0f / ROWS);
}

typedef struct {
    V w[LAYERS][LANES];  /* w[l][i]: row i of the weight (inputs, outputs); then the bias */
    V wt[LAYERS][LANES]; /* wt[l][j]: column j of the weight */
} net;

/* One step; returns the product over the rows of the probability of what is right. */
INLINE float train_step(net *net, const V *x, const V *t, float rate)
{
    V h[LAYERS + 1][VECTORS], gz[VECTORS], gh[VECTORS];
    EACH(v, VECTORS) h[0][v] = x[v];

    EACH(l, LAYERS)
    {
        const int inputs = widths[l];
        EACH(v, VECTORS)
        {
            V even = net->w[l][inputs], odd = {0};
            EACH_LANE(i, inputs)
            {
                if (i % 2)
                    odd += spread(h[l][v], i) * net->w[l][i];
                else
                    even += spread(h[l][v], i) * net->w[l][i];
            }
            h[l + 1][v] = activate(even + odd, l);
        }
    }

    float right = 1;
    EACH(v, VECTORS)
    {
        const V p = h[LAYERS][v];
        const V likelihood = 1.0f - t[v] - p + 2.0f * t[v] * p; /* p where t, else 1 - p */
        EACH(r, ROWS_IN_V) right *= likelihood[r * LANES];
        gz[v] = (p - t[v]) * (1.0f / ROWS);
    }

    UNROLL for (int l = LAYERS - 1; l >= 0; l--)
    {
        const int inputs = widths[l], outputs = widths[l + 1];
        if (l > 0) {
            EACH(v, VECTORS)
            {
                V even = {0}, odd = {0};
                EACH_LANE(j, outputs)
                {
                    if (j % 2)
                        odd += spread(gz[v], j) * net->wt[l][j];
                    else
                        even += spread(gz[v], j) * net->wt[l][j];
                }
                gh[v] = even + odd;
            }
            EACH_LANE(j, outputs)
            {
                V g = {0};
                EACH(v, VECTORS) g += spread(gz[v], j) * first_lanes(h[l][v], inputs);
                net->wt[l][j] -= rate * sum_of_rows(g);
            }
        }
        EACH_LANE(i, inputs)
        {
            V g = {0};
            EACH(v, VECTORS) g += spread(h[l][v], i) * gz[v];
            net->w[l][i] -= rate * sum_of_rows(g);
        }
        V g = {0};
        EACH(v, VECTORS) g += gz[v];
        net->w[l][inputs] -= rate * sum_of_rows(g);
        if (l > 0)
            EACH(v, VECTORS) gz[v] = derivative(gh[v], h[l][v]);
    }
    return right;
}

/* As in xor_plain.c. */
void train(const float *x, const float *t, float *parameters, float rate, long steps, float *costs)
{
    net net;
    memset(&net, 0, sizeof net);
    float *p = parameters;
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i <= widths[l]; i++)
            for (int j = 0; j < widths[l + 1]; j++, p++)
                for (int r = 0; r < ROWS_IN_V; r++) {
                    net.w[l][i][r * LANES + j] = *p;
                    if (i < widths[l])
                        net.wt[l][j][r * LANES + i] = *p;
                }
    V input[VECTORS], target[VECTORS];
    load_rows(input, x, widths[0], 0);
    load_rows(target, t, 1, 0.5f); /* the output in padding is sigmoid(0), so p - t is 0 */

    for (long step = 0; step < steps; step++)
        costs[step] = train_step(&net, input, target, rate);

    logarithms(costs, steps);
    p = parameters;
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i <= widths[l]; i++)
            for (int j = 0; j < widths[l + 1]; j++)
                *p++ = net.w[l][i][j];
}
