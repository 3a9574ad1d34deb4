/* random.tmpl.h: uniform and normal random numbers, one thread's share.
 *
 * Parameters: those of vec.h for double; included once, after both dtypes.
 *
 * The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3" (SC 2011).  It has no state that runs
 * along: block number b under a key is four 32-bit words that are a function of
 * b and the key alone.  So any part of a sequence can be drawn by itself.
 *
 *   float32   a block holds four numbers, of one word each
 *   float64   a block holds two numbers, of two words each, low word first
 *
 * The numbers are the same on every machine and instruction set: beside integers
 * there are only +, -, *, / and sqrt in a fixed order, each rounded as IEEE 754
 * says.  Neither v_fma nor a function of math.tmpl.h is used, for their last bit
 * depends on the instruction set.
 *
 * A normal number is the inverse of the normal distribution function at a uniform
 * one, so it rises with the uniform number that comes from the same words.
 */

/* ---- Philox4x32-10 ------------------------------------------------------------ */

#define PHILOX_ROUNDS 10
#define PHILOX_MULTIPLIER_0 0xD2511F53
#define PHILOX_MULTIPLIER_1 0xCD9E8D57
#define PHILOX_KEY_STEP_0 0x9E3779B9 /* the golden ratio */
#define PHILOX_KEY_STEP_1 0xBB67AE85 /* sqrt(3) - 1 */
#define PHILOX_WORDS 4               /* in a block */

/* A block in each lane: a word stands in the low half of it, and what is in the
 * high half does not matter. */
typedef uint64_t U __attribute__((vector_size(VBYTES)));
#define U_LOW 0xFFFFFFFF

/* The products of the low halves with m; and the lanes of two vectors in turn:
 * x0 y0 x2 y2 ... and x1 y1 x3 y3 ... */
#if VBYTES == 64
static inline U u_multiply(U x, uint32_t m)
{
    return (U)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(m));
}
static inline U u_even(U x, U y) { return (U)_mm512_unpacklo_epi64((__m512i)x, (__m512i)y); }
static inline U u_odd(U x, U y) { return (U)_mm512_unpackhi_epi64((__m512i)x, (__m512i)y); }
#elif VBYTES == 32
static inline U u_multiply(U x, uint32_t m)
{
    return (U)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(m));
}
static inline U u_even(U x, U y) { return (U)_mm256_unpacklo_epi64((__m256i)x, (__m256i)y); }
static inline U u_odd(U x, U y) { return (U)_mm256_unpackhi_epi64((__m256i)x, (__m256i)y); }
#elif defined(__x86_64__)
static inline U u_multiply(U x, uint32_t m)
{
    return (U)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(m));
}
static inline U u_even(U x, U y) { return (U)_mm_unpacklo_epi64((__m128i)x, (__m128i)y); }
static inline U u_odd(U x, U y) { return (U)_mm_unpackhi_epi64((__m128i)x, (__m128i)y); }
#else
static inline U u_multiply(U x, uint32_t m) { return (x & U_LOW) * m; }
static inline U u_even(U x, U y) { return (U){x[0], y[0]}; }
static inline U u_odd(U x, U y) { return (U){x[1], y[1]}; }
#endif

static inline U u_splat(uint64_t c) { return c - (U){0}; }

/* What the rounds xor in, and the lanes' share in the block number: lane 2i has
 * block i and lane 2i + 1 block VL/2 + i, so that u_even and u_odd are in order. */
typedef struct {
    U key_0[PHILOX_ROUNDS], key_1[PHILOX_ROUNDS], lane;
} philox_stream;

static void philox_start(philox_stream *s, uint64_t key)
{
    for (int r = 0; r < PHILOX_ROUNDS; r++) {
        s->key_0[r] = u_splat((uint32_t)(key + (uint64_t)r * PHILOX_KEY_STEP_0));
        s->key_1[r] = u_splat((uint32_t)((key >> 32) + (uint64_t)r * PHILOX_KEY_STEP_1));
    }
    for (int64_t i = 0; i < VL; i++)
        s->lane[i] = (uint64_t)(i / 2 + i % 2 * (VL / 2));
}

/* Blocks b to b + PHILOX_BLOCKS - 1, in this order.  Two vectors of them at once,
 * since each round has to wait for the one before. */
#define PHILOX_BLOCKS (2 * VL)

static inline void philox_draw(const philox_stream *s, uint64_t b, uint32_t *words)
{
    U x[2][PHILOX_WORDS];
    for (int p = 0; p < 2; p++) {
        x[p][0] = s->lane + (b + (uint64_t)(p * VL));
        x[p][1] = x[p][0] >> 32;
        x[p][2] = x[p][3] = (U){0};
    }
    for (int r = 0; r < PHILOX_ROUNDS; r++)
        for (int p = 0; p < 2; p++) {
            const U y0 = u_multiply(x[p][0], PHILOX_MULTIPLIER_0);
            const U y2 = u_multiply(x[p][2], PHILOX_MULTIPLIER_1);
            x[p][0] = (y2 >> 32) ^ x[p][1] ^ s->key_0[r];
            x[p][1] = y2;
            x[p][2] = (y0 >> 32) ^ x[p][3] ^ s->key_1[r];
            x[p][3] = y0;
        }
    for (int p = 0; p < 2; p++) {
        const U w01 = (x[p][0] & U_LOW) | x[p][1] << 32;
        const U w23 = (x[p][2] & U_LOW) | x[p][3] << 32;
        const U blocks[2] = {u_even(w01, w23), u_odd(w01, w23)};
        memcpy(words + p * PHILOX_WORDS * VL, blocks, sizeof blocks);
    }
}

/* ---- from words to numbers in an interval ---------------------------------------- */

/* A word as a number in [-2^31, 2^31) that rises with the word: processors convert
 * signed integers, and not all convert unsigned ones. */
static inline int32_t word_centred(uint32_t word) { return (int32_t)(word ^ 0x80000000); }

/* In [0, 1): the upper 24 bits of a word, the upper 53 of two. */
static inline float word_unit_f32(uint32_t word) { return (float)(int32_t)(word >> 8) * 0x1p-24f; }
static inline double word_unit_f64(uint32_t low, uint32_t high)
{
    return ((word_centred(high) + 0x1p31) * 0x1p21 + (int32_t)(low >> 11)) * 0x1p-53;
}

/* In (-1/2, 1/2), symmetric about 0: the middles of 2^32 and of 2^53 equal parts. */
static inline double word_middle_f32(uint32_t word) { return (word_centred(word) + 0.5) * 0x1p-32; }
static inline double word_middle_f64(uint32_t low, uint32_t high)
{
    return (word_centred(high) * 0x1p21 + (int32_t)(low >> 11) + 0.5) * 0x1p-53;
}

/* ---- the inverse of the normal distribution function ------------------------------ */

/* M. J. Wichura, "Algorithm AS 241: the percentage points of the normal
 * distribution", Applied Statistics 37 (1988), routine PPND16.  At probability
 * 1/2 + q it is, by three ratios of polynomials of degree 7 good to 1e-16,
 *     q R(0.180625 - q^2)           for |q| <= 0.425; beyond, with the sign of q,
 *     R'(r - 1.6) or R''(r - 5)     as r = sqrt(-log(1/2 - |q|)) is <= 5 or not.
 * Coefficients of r^0 to r^7, numerator and denominator: */
static const double normal_central[2][8] = {
    {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3,
     1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
     3.3430575583588128105e+4, 2.5090809287301226727e+3},
    {1, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
     2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
     5.2264952788528545610e+3},
};
static const double normal_tail[2][8] = {
    {1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4},
    {1, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9},
};
static const double normal_far_tail[2][8] = {
    {6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
     2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
     2.71155556874348757815e-5, 2.01033439929228813265e-7},
    {1, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
     2.04426310338993978564e-15},
};

static inline V normal_ratio(const double c[2][8], V r)
{
    V numerator = v_splat(c[0][7]), denominator = v_splat(c[1][7]);
    for (int i = 6; i >= 0; i--) {
        numerator = numerator * r + v_splat(c[0][i]);
        denominator = denominator * r + v_splat(c[1][i]);
    }
    return numerator / denominator;
}

/* log p of normal p <= 1, to about 1e-16 of max(1, |log p|): p = 2^e m with m in
 * [sqrt(1/2), sqrt(2)), and log m = 2 artanh(s), s = (m - 1) / (m + 1), as a series. */
static inline V normal_log(V p)
{
    const uint64_t root_half = 0x3FE6A09E667F3BCD, one = (uint64_t)1 << 52;
    const U bits = (U)p + (1024 * one - root_half); /* e + 1024 stands above the mantissa */
    const V e = (V)(bits >> 52 | 0x4330000000000000) - K(0x1p52 + 1024); /* 0x433.. is 2^52 */
    const V m = (V)((bits & (one - 1)) + root_half);
    const V s = (m - K(1)) / (m + K(1)), z = s * s;
    V sum = K(1.0 / 19);
    for (int k = 17; k >= 3; k -= 2)
        sum = sum * z + K(1.0 / k);
    return e * K(0.693147180559945309417) + K(2) * (s + s * z * sum);
}

/* Most numbers at once: those of PHILOX_BATCH blocks of four words. */
#define PHILOX_BATCH 64
#define NORMAL_MOST (PHILOX_BATCH * PHILOX_WORDS)

/* x: (n) rounded up to whole vectors; from q to the result.  The central ratio is
 * computed for all; the 15 in 100 that lie outside its range are set aside before
 * and put back after.  So the only branch is for the 3e-11 that lie far out. */
static void normal_from_middle(int64_t n, double *x)
{
    int32_t where[NORMAL_MOST];
    double q[NORMAL_MOST + VL], r[NORMAL_MOST + VL];
    int64_t tails = 0;
    for (int64_t i = 0; i < n; i++) {
        where[tails] = (int32_t)i;
        q[tails] = x[i];
        tails += __builtin_fabs(x[i]) > 0.425;
    }
    v_store(q + tails, K(0));
    for (int64_t i = 0; i < n; i += VL) {
        const V y = v_load(x + i);
        v_store(x + i, y * normal_ratio(normal_central, K(0.180625) - y * y));
    }
    for (int64_t i = 0; i < tails; i += VL) {
        const V y = v_load(q + i);
        const V root = v_sqrt(-normal_log(K(0.5) - v_abs(y)));
        v_store(r + i, root);
        v_store(q + i, v_copysign(normal_ratio(normal_tail, root - K(1.6)), y));
    }
    for (int64_t i = 0; i < tails; i++) {
        if (r[i] > 5)
            q[i] = __builtin_copysign(normal_ratio(normal_far_tail, v_splat(r[i] - 5))[0], q[i]);
        x[where[i]] = q[i];
    }
}

/* ---- batches of words to batches of results ----------------------------------------- */

/* The largest number below x, found by its representation. */
static inline float number_below_f32(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x > 0 ? bits - 1 : x < 0 ? bits + 1 : INT32_MIN + 1;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline double number_below_f64(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x > 0 ? bits - 1 : x < 0 ? bits + 1 : INT64_MIN + 1;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* out: (n), n <= numbers in a batch; words: those of the blocks it takes.  The
 * parameters a and b are low and high, or mean and standard deviation.  The loops
 * are simple enough for the compiler to use vectors. */
typedef void random_batch(const uint32_t *words, int64_t n, double a, double b, void *out);

/* low + u (high - low) may round to high: it is kept below, but if they are equal. */
static inline void random_uniform_f32_batch(const uint32_t *words, int64_t n, double a, double b,
                                            void *out)
{
    const float low = (float)a, high = (float)b, width = high - low;
    const float most = low < high ? number_below_f32(high) : low;
    float *y = out;
    for (int64_t i = 0; i < n; i++) {
        const float x = low + word_unit_f32(words[i]) * width;
        y[i] = x < most ? x : most;
    }
}
static inline void random_uniform_f64_batch(const uint32_t *words, int64_t n, double a, double b,
                                            void *out)
{
    const double low = a, high = b, width = high - low;
    const double most = low < high ? number_below_f64(high) : low;
    double *y = out;
    for (int64_t i = 0; i < n; i++) {
        const double x = low + word_unit_f64(words[2 * i], words[2 * i + 1]) * width;
        y[i] = x < most ? x : most;
    }
}

static inline void random_normal_f32_batch(const uint32_t *words, int64_t n, double a, double b,
                                           void *out)
{
    double x[PHILOX_BATCH * 4];
    float *y = out;
    for (int64_t i = 0; i < (n + VL - 1) / VL * VL; i++)
        x[i] = word_middle_f32(words[i]);
    normal_from_middle(n, x);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(a + b * x[i]);
}
static inline void random_normal_f64_batch(const uint32_t *words, int64_t n, double a, double b,
                                           void *out)
{
    double x[PHILOX_BATCH * 2];
    double *y = out;
    for (int64_t i = 0; i < (n + VL - 1) / VL * VL; i++)
        x[i] = word_middle_f64(words[2 * i], words[2 * i + 1]);
    normal_from_middle(n, x);
    for (int64_t i = 0; i < n; i++)
        y[i] = a + b * x[i];
}

/* y: (n); per_block: how many of them a block yields. */
static ALWAYS_INLINE void random_loop(random_batch *batch, int64_t per_block, uint64_t key,
                                      uint64_t block, int64_t n, double a, double b, char *y)
{
    philox_stream stream;
    philox_start(&stream, key);
    const int64_t item_size = 16 / per_block;
    while (n > 0) {
        uint32_t words[PHILOX_BATCH * PHILOX_WORDS];
        const int64_t most = PHILOX_BATCH * per_block, now = n < most ? n : most;
        for (int64_t i = 0; i * per_block < now; i += PHILOX_BLOCKS)
            philox_draw(&stream, block + (uint64_t)i, words + i * PHILOX_WORDS);
        batch(words, now, a, b, y);
        y += now * item_size;
        n -= now;
        block += PHILOX_BATCH;
    }
}

#define RANDOM(name, per_block)                                                                    \
    static void name(uint64_t key, uint64_t block, int64_t n, double a, double b, void *y)         \
    {                                                                                              \
        random_loop(name##_batch, per_block, key, block, n, a, b, y);                              \
    }
RANDOM(random_uniform_f32, 4)
RANDOM(random_uniform_f64, 2)
RANDOM(random_normal_f32, 4)
RANDOM(random_normal_f64, 2)
