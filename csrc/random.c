/* random.c: uniform and normal random numbers.
 *
 * The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3" (SC 2011).  It has no state that runs
 * along: block number b under a key is four 32-bit words that are a function of
 * b and the key alone.  So any part of a sequence can be drawn by any thread.
 *
 *   float32   a block holds four numbers, of one word each
 *   float64   a block holds two numbers, of two words each, low word first
 *
 * Element i comes from block offset + i/4 or offset + i/2.  The same numbers
 * appear on every machine: all arithmetic here is on integers or is +, -, *, /
 * and sqrt, each rounded as IEEE 754 says, in a fixed order; no other function of
 * the system's library is called, for those differ in the last bit.
 *
 * A normal number is the inverse of the normal distribution function at a
 * uniform one, so it rises with the uniform number drawn from the same words.
 */
#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "kernels.h"

#define BATCH 64 /* blocks that are drawn, then turned into numbers; even */
#define WORDS 4  /* in a block */
#define GRAIN 64 /* batches: the least that is worth a thread */

/* ---- Philox4x32-10 ----------------------------------------------------------- */

#define ROUNDS 10
#define MULTIPLIER_0 0xD2511F53
#define MULTIPLIER_1 0xCD9E8D57
#define KEY_STEP_0 0x9E3779B9 /* golden ratio */
#define KEY_STEP_1 0xBB67AE85 /* sqrt(3) - 1 */

/* Two blocks side by side.  A word stands in the low half of a lane; what is in
 * the high half does not matter. */
typedef uint64_t U __attribute__((vector_size(16)));

/* The full products of the low halves and m. */
static inline U multiply(U x, uint32_t m)
{
#if defined(__SSE2__)
    return (U)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(m));
#elif defined(__ARM_NEON)
    return (U)vmull_u32(vmovn_u64((uint64x2_t)x), vdup_n_u32(m));
#else
    return (x & 0xFFFFFFFF) * m;
#endif
}

/* The keys of all rounds. */
typedef struct {
    U k0[ROUNDS], k1[ROUNDS];
} key_schedule;

static void schedule(uint64_t key, key_schedule *keys)
{
    for (int r = 0; r < ROUNDS; r++) {
        keys->k0[r] = (uint32_t)(key + (uint64_t)r * KEY_STEP_0) - (U){0};
        keys->k1[r] = (uint32_t)((key >> 32) + (uint64_t)r * KEY_STEP_1) - (U){0};
    }
}

/* Blocks b and b + 1 in the lanes of x[0] to x[3].  Two such pairs are drawn
 * at once, as one round has to wait for the one before. */
static inline void draw_four(const key_schedule *keys, uint64_t b, uint32_t *words)
{
    U x[2][WORDS];
    for (unsigned p = 0; p < 2; p++) {
        x[p][0] = (U){b + 2 * p, b + 2 * p + 1};
        x[p][1] = x[p][0] >> 32;
        x[p][2] = x[p][3] = (U){0};
    }
    for (int r = 0; r < ROUNDS; r++)
        for (int p = 0; p < 2; p++) {
            const U y0 = multiply(x[p][0], MULTIPLIER_0), y2 = multiply(x[p][2], MULTIPLIER_1);
            x[p][0] = (y2 >> 32) ^ x[p][1] ^ keys->k0[r];
            x[p][1] = y2;
            x[p][2] = (y0 >> 32) ^ x[p][3] ^ keys->k1[r];
            x[p][3] = y0;
        }
    for (int p = 0; p < 2; p++) {
        const U w01 = (x[p][0] & 0xFFFFFFFF) | x[p][1] << 32;
        const U w23 = (x[p][2] & 0xFFFFFFFF) | x[p][3] << 32;
        const uint64_t blocks[4] = {w01[0], w23[0], w01[1], w23[1]};
        memcpy(words + p * 2 * WORDS, blocks, sizeof blocks);
    }
}

/* ---- from words to uniform numbers --------------------------------------------- */

/* A word as a number in [-2^31, 2^31), rising with the word: processors convert
 * signed integers faster. */
static inline int32_t centred(uint32_t word) { return (int32_t)(word ^ 0x80000000); }

/* In [0, 1): the upper 24 bits of a word, the upper 53 of two. */
static inline float uniform_f32(uint32_t word) { return (float)(int32_t)(word >> 8) * 0x1p-24f; }
static inline double uniform_f64(uint32_t low, uint32_t high)
{
    return ((centred(high) + 0x1p31) * 0x1p21 + (int32_t)(low >> 11)) * 0x1p-53;
}

/* In (-1/2, 1/2), symmetric about 0: the middles of 2^32 and of 2^53 equal parts. */
static inline double middle_f32(uint32_t word) { return (centred(word) + 0.5) * 0x1p-32; }
static inline double middle_f64(uint32_t low, uint32_t high)
{
    return (centred(high) * 0x1p21 + (int32_t)(low >> 11) + 0.5) * 0x1p-53;
}

/* ---- the inverse of the normal distribution function ----------------------------- */

/* M. J. Wichura, "Algorithm AS 241: the percentage points of the normal
 * distribution", Applied Statistics 37 (1988), routine PPND16.  At probability
 * 1/2 + q it is
 *     q R(0.180625 - q^2)             for |q| <= 0.425, else with the sign of q
 *     R'(r - 1.6) or R''(r - 5)       as r = sqrt(-log(1/2 - |q|)) is <= 5 or not
 * with three ratios of polynomials of degree 7, good to 1e-16. */
typedef struct {
    double numerator[8], denominator[8]; /* coefficients of r^0 to r^7 */
} ratio;

static const ratio central = {
    {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
     1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
     3.3430575583588128105e+4, 2.5090809287301226727e+3},
    {1, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
     2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
     5.2264952788528545610e+3},
};
static const ratio tail = {
    {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4},
    {1, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9},
};
static const ratio far_tail = {
    {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7},
    {1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15},
};

static inline double polynomial(const double c[8], double r)
{
    return ((((((c[7] * r + c[6]) * r + c[5]) * r + c[4]) * r + c[3]) * r + c[2]) * r + c[1]) * r +
           c[0];
}
static inline double at(const ratio *f, double r)
{
    return polynomial(f->numerator, r) / polynomial(f->denominator, r);
}

/* log p for normal p <= 1, to about 1e-16 of max(1, |log p|): p = 2^e m with m in
 * [sqrt(1/2), sqrt(2)), and log m = 2 artanh(s), s = (m - 1) / (m + 1), as a series. */
static inline double log_of(double p)
{
    const uint64_t root_half = 0x3FE6A09E667F3BCD, one = (uint64_t)1 << 52;
    uint64_t bits;
    memcpy(&bits, &p, sizeof bits);
    bits += 1024 * one - root_half; /* e + 1024 is now above the mantissa */
    const double e = (double)((int32_t)(bits >> 52) - 1024);
    bits = bits % one + root_half;
    double m;
    memcpy(&m, &bits, sizeof m);
    const double s = (m - 1) / (m + 1), z = s * s;
    double sum = 1.0 / 19;
    sum = sum * z + 1.0 / 17;
    sum = sum * z + 1.0 / 15;
    sum = sum * z + 1.0 / 13;
    sum = sum * z + 1.0 / 11;
    sum = sum * z + 1.0 / 9;
    sum = sum * z + 1.0 / 7;
    sum = sum * z + 1.0 / 5;
    sum = sum * z + 1.0 / 3;
    return e * 0.693147180559945309417 + 2 * (s + s * z * sum);
}

/* x: (n), n <= BATCH * WORDS; from q to the result.  The central ratio is computed
 * for all, and the 15 in 100 that lie outside its range are set aside before: so no
 * loop has a branch. */
static void inverse_normal(int64_t n, double *x)
{
    int32_t where[BATCH * WORDS];
    double q[BATCH * WORDS], r[BATCH * WORDS];
    int64_t tails = 0;
    for (int64_t i = 0; i < n; i++) {
        where[tails] = (int32_t)i;
        q[tails] = x[i];
        tails += fabs(x[i]) > 0.425;
    }
    for (int64_t i = 0; i < n; i++)
        x[i] *= at(&central, 0.180625 - x[i] * x[i]);
    for (int64_t j = 0; j < tails; j++)
        r[j] = sqrt(-log_of(0.5 - fabs(q[j])));
    for (int64_t j = 0; j < tails; j++) {
        const double magnitude = r[j] <= 5 ? at(&tail, r[j] - 1.6) : at(&far_tail, r[j] - 5);
        x[where[j]] = copysign(magnitude, q[j]);
    }
}

/* ---- from words to the user's numbers ---------------------------------------------- */

typedef struct drawing {
    uint64_t key, offset;
    int64_t n;
    double a, b; /* low and high, or mean and standard deviation */
    char *y;
    int64_t item_size, per_block;
    /* words: what was drawn; y: (n), the part of the result that it fills */
    void (*batch)(const struct drawing *d, const uint32_t *words, int64_t n, void *y);
} drawing;

/* The largest number below x, by its representation. */
static float below_f32(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x > 0 ? bits - 1 : x < 0 ? bits + 1 : INT32_MIN + 1;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static double below_f64(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x > 0 ? bits - 1 : x < 0 ? bits + 1 : INT64_MIN + 1;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* low + u (high - low) may round to high, so it is held below. */
static void uniform_batch_f32(const drawing *d, const uint32_t *words, int64_t n, void *out)
{
    const float low = (float)d->a, high = (float)d->b, width = high - low;
    const float most = low < high ? below_f32(high) : low;
    float *y = out;
    for (int64_t i = 0; i < n; i++) {
        const float x = low + uniform_f32(words[i]) * width;
        y[i] = x < most ? x : most;
    }
}
static void uniform_batch_f64(const drawing *d, const uint32_t *words, int64_t n, void *out)
{
    const double low = d->a, high = d->b, width = high - low;
    const double most = low < high ? below_f64(high) : low;
    double *y = out;
    for (int64_t i = 0; i < n; i++) {
        const double x = low + uniform_f64(words[2 * i], words[2 * i + 1]) * width;
        y[i] = x < most ? x : most;
    }
}
static void normal_batch_f32(const drawing *d, const uint32_t *words, int64_t n, void *out)
{
    double x[BATCH * 4];
    float *y = out;
    for (int64_t i = 0; i < n; i++)
        x[i] = middle_f32(words[i]);
    inverse_normal(n, x);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(d->a + d->b * x[i]);
}
static void normal_batch_f64(const drawing *d, const uint32_t *words, int64_t n, void *out)
{
    double x[BATCH * 2];
    double *y = out;
    for (int64_t i = 0; i < n; i++)
        x[i] = middle_f64(words[2 * i], words[2 * i + 1]);
    inverse_normal(n, x);
    for (int64_t i = 0; i < n; i++)
        y[i] = d->a + d->b * x[i];
}

/* Batches begin to end of a drawing. */
static void draw_batches(void *context, int64_t begin, int64_t end)
{
    const drawing *d = context;
    const int64_t per_batch = BATCH * d->per_block;
    key_schedule keys;
    schedule(d->key, &keys);
    for (int64_t i = begin; i < end; i++) {
        const int64_t done = i * per_batch, left = d->n - done;
        const int64_t n = left < per_batch ? left : per_batch;
        uint32_t words[BATCH * WORDS];
        for (int64_t b = 0; b * d->per_block < n; b += 4)
            draw_four(&keys, d->offset + (uint64_t)(i * BATCH + b), words + b * WORDS);
        d->batch(d, words, n, d->y + done * d->item_size);
    }
}

static int draw(drawing *d, uint64_t *used)
{
    const int64_t blocks = d->n / d->per_block + (d->n % d->per_block != 0);
    tga_parallel((blocks + BATCH - 1) / BATCH, GRAIN, draw_batches, d);
    *used = (uint64_t)blocks;
    return TGA_OK;
}

int tga_random_uniform(int dtype, uint64_t key, uint64_t offset, int64_t n, double low, double high,
                       void *y, uint64_t *used)
{
    drawing d = {key, offset, n, low, high, y, 4, 4, uniform_batch_f32};
    if (dtype == TGA_FLOAT64) {
        d.item_size = 8;
        d.per_block = 2;
        d.batch = uniform_batch_f64;
    } else if (dtype != TGA_FLOAT32)
        return TGA_NO_KERNEL;
    return draw(&d, used);
}

int tga_random_normal(int dtype, uint64_t key, uint64_t offset, int64_t n, double mean, double std,
                      void *y, uint64_t *used)
{
    drawing d = {key, offset, n, mean, std, y, 4, 4, normal_batch_f32};
    if (dtype == TGA_FLOAT64) {
        d.item_size = 8;
        d.per_block = 2;
        d.batch = normal_batch_f64;
    } else if (dtype != TGA_FLOAT32)
        return TGA_NO_KERNEL;
    return draw(&d, used);
}
