/* vec.h: the SIMD vocabulary.
 *
 * Every kernel is written once, against the few names below, and compiled for
 * each instruction set and each dtype.  Arithmetic on vectors is plain C
 * (x + y, x * y, -x): V is a GNU vector type.  Only what C has no operator for
 * has a v_ name here.
 *
 * Parameters, set by isa_*.c and kernels.tmpl.h before each inclusion:
 *   VBYTES     16 (SSE2, NEON), 32 (AVX2) or 64 (AVX-512): bytes in a vector
 *   HAS_FMA    1 if v_fma rounds once, 0 if it is a multiply and an add
 *   T_BITS     32 for float, 64 for double
 *
 * This file is included twice in each isa_*.c: for float, then for double.
 *
 *   T, I      the scalar type and the signed integer of the same size
 *   V, VI     vectors of them; VL is the number of elements
 *   M         what a comparison yields and v_select takes
 *   TN(name)  name with the dtype's suffix, so that both can live in one file
 *
 * Vectors never cross a function that is not inlined: a vector wider than the
 * baseline's has no agreed way of being passed.
 */

#ifndef TGA_VEC_H
#define TGA_VEC_H

#define TGA_PASTE_(a, b) a##_##b
#define TGA_PASTE(a, b) TGA_PASTE_(a, b)
#define TN(name) TGA_PASTE(name, T_SUFFIX)

#define V TN(V)
#define VI TN(VI)
#define M TN(M)
#define VL ((int64_t)(VBYTES / sizeof(T)))

/* Loops over a row take the row's function as a constant argument and must be
 * inlined for it to vanish; the row functions themselves stay plain inline. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__)
#define v_stream_end() _mm_sfence()
#else
#define v_stream_end() ((void)0)
#endif

/* A literal as a vector.  {0} + c would turn -0.0 into 0.0. */
#define K(c) ((T)(c) - (V){0})
#define KI(c) ((I)(c) - (VI){0})

#define v_splat TN(v_splat)
#define v_load TN(v_load)
#define v_store TN(v_store)
#define v_stream TN(v_stream)
#define v_load_n TN(v_load_n)
#define v_store_n TN(v_store_n)
#define v_load_or TN(v_load_or)
#define v_first_n TN(v_first_n)
#define v_join TN(v_join)
#define v_swap TN(v_swap)
#define v_select TN(v_select)
#define v_any TN(v_any)
#define v_all TN(v_all)
#define v_bits TN(v_bits)
#define v_lt TN(v_lt)
#define v_le TN(v_le)
#define v_eq TN(v_eq)
#define v_ne TN(v_ne)
#define v_gt(x, y) v_lt(y, x)
#define v_ge(x, y) v_le(y, x)
#define v_min TN(v_min)
#define v_max TN(v_max)
#define v_sqrt TN(v_sqrt)
#define v_fma TN(v_fma)
#define v_abs TN(v_abs)
#define v_copysign TN(v_copysign)
#define v_signed TN(v_signed)
#define v_hsum TN(v_hsum)
#define v_hmax TN(v_hmax)
#define v_hmin TN(v_hmin)

#endif

/* ---- names that depend on the dtype ------------------------------------- */

#undef T
#undef I
#undef T_SUFFIX
#undef MM_SUFFIX
#if T_BITS == 32
#define T float
#define I int32_t
#define T_SUFFIX f32
#define MM_SUFFIX ps
#else
#define T double
#define I int64_t
#define T_SUFFIX f64
#define MM_SUFFIX pd
#endif

typedef T V __attribute__((vector_size(VBYTES)));
typedef I VI __attribute__((vector_size(VBYTES)));

/* MM(add) is the intrinsic _mm512_add_ps, _mm256_add_pd, ... */
#undef MM_
#undef MM__
#undef MM
#if VBYTES == 64
#define MM__(op, suffix) _mm512_##op##_##suffix
#elif VBYTES == 32
#define MM__(op, suffix) _mm256_##op##_##suffix
#else
#define MM__(op, suffix) _mm_##op##_##suffix
#endif
#define MM_(op, suffix) MM__(op, suffix)
#define MM(op) MM_(op, MM_SUFFIX)

/* ---- load, store --------------------------------------------------------- */

static inline V v_splat(T c) { return c - (V){0}; }

static inline V v_load(const T *p)
{
    V x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void v_store(T *p, V x) { memcpy(p, &x, sizeof x); }

/* v_store to where VBYTES divides the address, round the caches.  To store into a line of memory
 * that is in no cache, a processor reads it first, although all of it is written over, and
 * writes it back some day; a streaming store sends it on at once.  Such stores may be overtaken
 * by later ones, so v_stream_end must follow before another thread is told of the result. */
#if defined(__x86_64__)
static inline void v_stream(T *p, V x) { MM(stream)(p, x); }
#else
static inline void v_stream(T *p, V x) { v_store(p, x); }
#endif

/* The first n elements, 0 < n < VL; the others are 0 on loading and untouched
 * on storing.  Tails go through these and the same arithmetic as the rest, so
 * an element's value does not depend on where it stands.
 * v_load_or: the others are those of `rest`.  v_first_n: they become 0. */
#if VBYTES == 64

static inline V v_load_n(const T *p, int64_t n)
{
    return MM(maskz_loadu)((1u << n) - 1, p);
}
static inline void v_store_n(T *p, V x, int64_t n) { MM(mask_storeu)(p, (1u << n) - 1, x); }
static inline V v_load_or(const T *p, int64_t n, V rest)
{
    return MM(mask_loadu)(rest, (1u << n) - 1, p);
}
static inline V v_first_n(V x, int64_t n) { return MM(maskz_mov)((1u << n) - 1, x); }

#elif VBYTES == 32

static const I TN(tail_mask)[2 * VBYTES / sizeof(T)] = {
#if T_BITS == 32
    -1, -1, -1, -1,
#endif
    -1, -1, -1, -1, /* the rest is 0 */
};
static inline __m256i TN(v_tail)(int64_t n)
{
    return _mm256_loadu_si256((const __m256i *)(TN(tail_mask) + VL - n));
}
static inline V v_load_n(const T *p, int64_t n) { return MM(maskload)(p, TN(v_tail)(n)); }
static inline void v_store_n(T *p, V x, int64_t n) { MM(maskstore)(p, TN(v_tail)(n), x); }
static inline V v_load_or(const T *p, int64_t n, V rest)
{
    return MM(blendv)(rest, v_load_n(p, n), (V)TN(v_tail)(n));
}
static inline V v_first_n(V x, int64_t n) { return MM(and)(x, (V)TN(v_tail)(n)); }

#else

static inline V v_load_n(const T *p, int64_t n)
{
    V x = {p[0]};
    if (n > 1)
        x[1] = p[1];
    if (n > 2 && VL > 2)
        x[VL > 2 ? 2 : 0] = p[2];
    return x;
}
static inline void v_store_n(T *p, V x, int64_t n)
{
    p[0] = x[0];
    if (n > 1)
        p[1] = x[1];
    if (n > 2 && VL > 2)
        p[2] = x[VL > 2 ? 2 : 0];
}
static inline V v_load_or(const T *p, int64_t n, V rest)
{
    rest[0] = p[0];
    if (n > 1)
        rest[1] = p[1];
    if (n > 2 && VL > 2)
        rest[VL > 2 ? 2 : 0] = p[2];
    return rest;
}
static inline V v_first_n(V x, int64_t n)
{
    for (int64_t i = n; i < VL; i++)
        x[i] = 0;
    return x;
}

#endif

/* ---- compare, choose ------------------------------------------------------ */
/* A comparison with nan is false, but v_ne, which is true.
 * v_select(m, x, y): x where m, y elsewhere.  v_any(m), v_all(m): whether m holds somewhere,
 * everywhere.
 * v_bits(m): bit i is whether it holds in lane i.
 * v_min and v_max return y where either is nan, and y for max(+0, -0) as the
 * hardware does: put the operand whose nan must pass second. */

#if VBYTES == 64

#if T_BITS == 32
typedef __mmask16 M;
#else
typedef __mmask8 M;
#endif
#if T_BITS == 32
#define TGA_CMP(x, y, how) _mm512_cmp_ps_mask(x, y, how)
#else
#undef TGA_CMP
#define TGA_CMP(x, y, how) _mm512_cmp_pd_mask(x, y, how)
#endif
static inline M v_lt(V x, V y) { return TGA_CMP(x, y, _CMP_LT_OQ); }
static inline M v_le(V x, V y) { return TGA_CMP(x, y, _CMP_LE_OQ); }
static inline M v_eq(V x, V y) { return TGA_CMP(x, y, _CMP_EQ_OQ); }
static inline M v_ne(V x, V y) { return TGA_CMP(x, y, _CMP_NEQ_UQ); }
static inline V v_select(M m, V x, V y) { return MM(mask_blend)(m, y, x); }
static inline int v_any(M m) { return m != 0; }
static inline int v_all(M m) { return m == (M)((1u << VL) - 1); }
static inline unsigned v_bits(M m) { return m; }

#elif VBYTES == 32

typedef V M;
static inline M v_lt(V x, V y) { return MM(cmp)(x, y, _CMP_LT_OQ); }
static inline M v_le(V x, V y) { return MM(cmp)(x, y, _CMP_LE_OQ); }
static inline M v_eq(V x, V y) { return MM(cmp)(x, y, _CMP_EQ_OQ); }
static inline M v_ne(V x, V y) { return MM(cmp)(x, y, _CMP_NEQ_UQ); }
static inline V v_select(M m, V x, V y) { return MM(blendv)(y, x, m); }
static inline int v_any(M m) { return MM(movemask)(m) != 0; }
static inline int v_all(M m) { return MM(movemask)(m) == (1 << VL) - 1; }
static inline unsigned v_bits(M m) { return (unsigned)MM(movemask)(m); }

#elif defined(__x86_64__)

typedef V M;
static inline M v_lt(V x, V y) { return MM(cmplt)(x, y); }
static inline M v_le(V x, V y) { return MM(cmple)(x, y); }
static inline M v_eq(V x, V y) { return MM(cmpeq)(x, y); }
static inline M v_ne(V x, V y) { return MM(cmpneq)(x, y); }
static inline V v_select(M m, V x, V y) { return MM(or)(MM(and)(m, x), MM(andnot)(m, y)); }
static inline int v_any(M m) { return MM(movemask)(m) != 0; }
static inline int v_all(M m) { return MM(movemask)(m) == (1 << VL) - 1; }
static inline unsigned v_bits(M m) { return (unsigned)MM(movemask)(m); }

#else

typedef VI M;
static inline M v_lt(V x, V y) { return x < y; }
static inline M v_le(V x, V y) { return x <= y; }
static inline M v_eq(V x, V y) { return x == y; }
static inline M v_ne(V x, V y) { return x != y; }
static inline V v_select(M m, V x, V y) { return (V)((m & (VI)x) | (~m & (VI)y)); }
static inline int v_any(M m)
{
    I any = 0;
    for (int i = 0; i < VL; i++)
        any |= m[i];
    return any != 0;
}
static inline int v_all(M m)
{
    I all = -1;
    for (int i = 0; i < VL; i++)
        all &= m[i];
    return all != 0;
}
static inline unsigned v_bits(M m)
{
    unsigned bits = 0;
    for (int i = 0; i < VL; i++)
        bits |= (unsigned)(m[i] != 0) << i;
    return bits;
}

#endif

#if defined(__x86_64__)
static inline V v_min(V x, V y) { return MM(min)(x, y); }
static inline V v_max(V x, V y) { return MM(max)(x, y); }
static inline V v_sqrt(V x) { return MM(sqrt)(x); }
#else
static inline V v_min(V x, V y) { return v_select(v_lt(x, y), x, y); }
static inline V v_max(V x, V y) { return v_select(v_gt(x, y), x, y); }
static inline V v_sqrt(V x)
{
    for (int i = 0; i < VL; i++)
        x[i] = T_BITS == 32 ? (T)__builtin_sqrtf((float)x[i]) : (T)__builtin_sqrt((double)x[i]);
    return x;
}
#endif

/* The first n elements of x, 0 < n < VL, and then those of y. */
static inline V v_join(V x, V y, int64_t n)
{
#if VBYTES == 64
    return MM(mask_mov)(y, (1u << n) - 1, x);
#elif VBYTES == 32
    return MM(blendv)(y, x, (V)TN(v_tail)(n));
#elif T_BITS == 32
    return v_select(v_lt((V){0, 1, 2, 3}, v_splat((T)n)), x, y);
#else
    return v_select(v_lt((V){0, 1}, v_splat((T)n)), x, y);
#endif
}

/* ---- arithmetic ----------------------------------------------------------- */

/* x * y + z, rounded once where HAS_FMA.  The only place where a product and a
 * sum are joined: the build forbids the compiler to do so by itself, so that a
 * fused chain of ops gives the same bits as the ops one by one. */
#if HAS_FMA && defined(__x86_64__)
static inline V v_fma(V x, V y, V z) { return MM(fmadd)(x, y, z); }
#elif HAS_FMA
static inline V v_fma(V x, V y, V z)
{
    for (int i = 0; i < VL; i++)
        x[i] = T_BITS == 32 ? (T)__builtin_fmaf((float)x[i], (float)y[i], (float)z[i])
                            : (T)__builtin_fma((double)x[i], (double)y[i], (double)z[i]);
    return x;
}
#else
static inline V v_fma(V x, V y, V z) { return x * y + z; }
#endif

/* The sign bit and the rest. */
static inline V v_copysign(V magnitude, V sign)
{
    const VI bit = (VI)K(-0.0);
    return (V)((~bit & (VI)magnitude) | (bit & (VI)sign));
}
/* The same of a magnitude that is not negative: one operation less. */
static inline V v_signed(V magnitude, V sign)
{
    return (V)((VI)magnitude | ((VI)K(-0.0) & (VI)sign));
}
static inline V v_abs(V x) { return (V)(~(VI)K(-0.0) & (VI)x); }

/* ---- across the lanes ----------------------------------------------------- */

/* Lane i gets lane i ^ d, d a power of two below VL: neighbours change places
 * (1), pairs (2), quarters, halves. */
static ALWAYS_INLINE V v_swap(V x, int d)
{
#if VBYTES == 64 && T_BITS == 32
    return d == 8   ? _mm512_shuffle_f32x4(x, x, 0x4e)
           : d == 4 ? _mm512_shuffle_f32x4(x, x, 0xb1)
           : d == 2 ? _mm512_permute_ps(x, 0x4e)
                    : _mm512_permute_ps(x, 0xb1);
#elif VBYTES == 64
    return d == 4   ? _mm512_shuffle_f64x2(x, x, 0x4e)
           : d == 2 ? _mm512_shuffle_f64x2(x, x, 0xb1)
                    : _mm512_permute_pd(x, 0x55);
#elif VBYTES == 32 && T_BITS == 32
    return d == 4   ? _mm256_permute2f128_ps(x, x, 1)
           : d == 2 ? _mm256_permute_ps(x, 0x4e)
                    : _mm256_permute_ps(x, 0xb1);
#elif VBYTES == 32
    return d == 2 ? _mm256_permute2f128_pd(x, x, 1) : _mm256_permute_pd(x, 5);
#elif defined(__x86_64__) && T_BITS == 32
    return d == 2 ? _mm_shuffle_ps(x, x, 0x4e) : _mm_shuffle_ps(x, x, 0xb1);
#elif defined(__x86_64__)
    (void)d;
    return _mm_shuffle_pd(x, x, 1);
#else
    V y;
    for (int i = 0; i < VL; i++)
        y[i] = x[i ^ d];
    return y;
#endif
}

/* Halves are added to halves, so the order is fixed and the error small. */
static inline T v_hsum(V x)
{
    if (VL >= 16)
        x += v_swap(x, 8);
    if (VL >= 8)
        x += v_swap(x, 4);
    if (VL >= 4)
        x += v_swap(x, 2);
    x += v_swap(x, 1);
    return x[0];
}
/* The largest and smallest lane; nan if any lane is nan. */
static inline T v_hmax(V x)
{
    T t[VBYTES / sizeof(T)];
    memcpy(t, &x, sizeof t);
    for (int64_t i = 1; i < VL; i++)
        t[0] = t[i] > t[0] || t[i] != t[i] ? t[i] : t[0];
    return t[0];
}
static inline T v_hmin(V x)
{
    T t[VBYTES / sizeof(T)];
    memcpy(t, &x, sizeof t);
    for (int64_t i = 1; i < VL; i++)
        t[0] = t[i] < t[0] || t[i] != t[i] ? t[i] : t[0];
    return t[0];
}
