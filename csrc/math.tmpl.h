/* math.tmpl.h: elementary functions of a vector.
 *
 * Parameters: those of vec.h, which must have been included for the same dtype.
 *
 * Nothing here branches, and no table is read by an index that depends on x: special
 * values are chosen by v_select at the end.  Every element takes the same path, and its
 * result depends on nothing else.  Only what is rare enough to be left to the C library, such
 * as the sine of a huge number, is looked for first; each element still gets its own result.
 *
 * Above each function stands its largest error over a range, on any instruction set, as
 *   max ulp   in units in the last place of the true result; where that is subnormal
 *             or 0, of the spacing there
 *   max abs   as it is
 * float32 was measured on every input of a size that matters, float64 on random and
 * special ones against arithmetic of 113 bits.  Outside the numbers, IEEE and C99 Annex F
 * hold: nan in, nan out; odd functions keep the sign of zero.
 *
 * Polynomials are minimax approximations: Remez exchange at 60 digits on the error that
 * the comment names, the coefficients then rounded to the dtype.  They are written in
 * hexadecimal, so what is read is what is used.
 *
 * Where v_fma rounds twice (HAS_FMA 0) the same formulas hold, the errors included; only
 * v_two_product needs another way.
 */

#ifndef TGA_MATH_TMPL_H
#define TGA_MATH_TMPL_H

#define VU TN(VU)
#define v_poly(x, table) TN(polynomial)(x, table, (int)(sizeof table / sizeof *table))
#define v_pow2 TN(v_pow2)
#define v_ldexp TN(v_ldexp)
#define v_ldexp_down TN(v_ldexp_down)
#define v_two_product TN(v_two_product)
#define v_residual TN(v_residual)
#define v_exp_reduce TN(v_exp_reduce)
#define v_exp_split TN(v_exp_split)
#define v_exp_negative TN(v_exp_negative)
#define v_exp_negative_sum TN(v_exp_negative_sum)
#define v_expm1_negative TN(v_expm1_negative)
#define v_log_split TN(v_log_split)
#define v_log_split_any TN(v_log_split_any)
#define v_log_special TN(v_log_special)
#define v_log_join TN(v_log_join)
#define v_log1p_unit TN(v_log1p_unit)
#define v_log_sum TN(v_log_sum)
#define v_log_two TN(v_log_two)
#define v_times_gauss TN(v_times_gauss)
#define v_gauss_tail TN(v_gauss_tail)
#define v_is_integer TN(v_is_integer)
#define v_pow_special TN(v_pow_special)
#define v_pow_short TN(v_pow_short)
#define v_quarters TN(v_quarters)
#define v_sin_near TN(v_sin_near)
#define v_cos_near TN(v_cos_near)
#define v_odd TN(v_odd)
#define v_sine TN(v_sine)
#define v_asin_tail TN(v_asin_tail)
#define v_atan_tail TN(v_atan_tail)

#define v_each TN(v_each)
#define v_each_pair TN(v_each_pair)

#define v_exp TN(v_exp)
#define v_exp2 TN(v_exp2)
#define v_log2 TN(v_log2)
#define v_log10 TN(v_log10)
#define v_sinh TN(v_sinh)
#define v_cosh TN(v_cosh)
#define v_erfc TN(v_erfc)
#define v_sin TN(v_sin)
#define v_cos TN(v_cos)
#define v_tan TN(v_tan)
#define v_asin TN(v_asin)
#define v_acos TN(v_acos)
#define v_atan TN(v_atan)
#define v_asinh TN(v_asinh)
#define v_acosh TN(v_acosh)
#define v_atanh TN(v_atanh)
#define v_atan_derivative TN(v_atan_derivative)
#define v_asinh_derivative TN(v_asinh_derivative)
#define v_hypot TN(v_hypot)
#define v_atan2 TN(v_atan2)
#define v_logaddexp TN(v_logaddexp)
#define v_remainder TN(v_remainder)
#define v_floor TN(v_floor)
#define v_ceil TN(v_ceil)
#define v_round TN(v_round)
#define v_expm1 TN(v_expm1)
#define v_log TN(v_log)
#define v_log1p TN(v_log1p)
#define v_tanh TN(v_tanh)
#define v_erf TN(v_erf)
#define v_erf_derivative TN(v_erf_derivative)
#define v_sigmoid TN(v_sigmoid)
#define v_pow TN(v_pow)
#define v_sign TN(v_sign)
#define v_maximum TN(v_maximum)
#define v_minimum TN(v_minimum)
#define v_softplus TN(v_softplus)
#define v_softplus_derivative TN(v_softplus_derivative)
#define v_logsigmoid TN(v_logsigmoid)
#define v_silu TN(v_silu)
#define v_silu_derivative TN(v_silu_derivative)
#define v_mish TN(v_mish)
#define v_mish_derivative TN(v_mish_derivative)
#define v_hardswish_derivative TN(v_hardswish_derivative)
#define v_tanhshrink TN(v_tanhshrink)
#define v_tanhshrink_derivative TN(v_tanhshrink_derivative)
#define v_softsign TN(v_softsign)
#define v_softsign_derivative TN(v_softsign_derivative)
#define v_celu TN(v_celu)
#define v_celu_derivative TN(v_celu_derivative)
#define v_quotient TN(v_quotient)
#define v_elu TN(v_elu)
#define v_elu_derivative TN(v_elu_derivative)
#define v_selu TN(v_selu)
#define v_selu_derivative TN(v_selu_derivative)
#define v_gelu TN(v_gelu)
#define v_gelu_derivative TN(v_gelu_derivative)
#define v_gelu_tanh TN(v_gelu_tanh)
#define v_gelu_tanh_derivative TN(v_gelu_tanh_derivative)
#define v_bce TN(v_bce)
#define v_bce_derivative TN(v_bce_derivative)
#define v_bce_logits TN(v_bce_logits)
#define v_bce_logits_derivative TN(v_bce_logits_derivative)
#define v_huber TN(v_huber)
#define v_smooth_l1 TN(v_smooth_l1)
#define v_smooth_l1_derivative TN(v_smooth_l1_derivative)
#define v_kl_div TN(v_kl_div)
#define v_hinge TN(v_hinge)

#define LOG2_E 0x1.71547652b82fep+0       /* 1 / log(2) */
#define LOG10_E 0x1.bcb7b1526e50ep-2      /* 1 / log(10) */
#define LN_2 0x1.62e42fefa39efp-1
#define TWO_OVER_PI 0x1.45f306dc9c883p-1
#define ATAN_MIDDLE 0.5465 /* to its reciprocal, atan turns by pi / 4 */
#define INV_SQRT_2PI 0x1.9884533d43651p-2 /* 1 / sqrt(2 pi) */
#define SELU_LAMBDA 1.0507009873554804934193349852946 /* alpha: 1.67326324235437728481... */
#define GELU_TANH_C1 1.5957691216057307118   /* 2 sqrt(2 / pi) */
#define GELU_TANH_C3 0.071354816272600248776 /* 0.044715 times that */

#endif

/* ---- what depends on the dtype -------------------------------------------- */

#undef MANTISSA_BITS
#undef INTEGER_MAGIC
#undef LN2_HI
#undef LN2_LO
#undef EXP_LOWEST
#undef EXP2_LOWEST
#undef EXP2_HIGHEST
#undef SINH_HIGHEST
#undef SINH_LEAST
#undef SIN_HIGHEST
#undef HALF_PI
#undef HALF_PI_LO
#undef QUARTER_PI_REST
#undef HALF_PI_1
#undef HALF_PI_2
#undef HALF_PI_3
#undef HALF_PI_4
#undef SILU_LOWEST
#undef ERFC_HIGHEST
#undef LOG10_2_HI
#undef LOG10_2_LO
#undef LOG2_E_LO
#undef ALL_INTEGERS
#undef NO_SQUARE
#undef EXP_HIGHEST
#undef EXPM1_LOWEST
#undef TANH_HIGHEST
#undef GAUSS_HIGHEST
#undef GELU_TANH_HIGHEST
#undef SELU_LAMBDA_ALPHA
#undef SELU_LAMBDA_ALPHA_LO

/* Integer arithmetic on the bits wraps, so it is unsigned. */
#if T_BITS == 32
typedef uint32_t VU __attribute__((vector_size(VBYTES)));
#define MANTISSA_BITS 23
/* x + INTEGER_MAGIC rounds x to an integer, which then stands in the low bits. */
#define INTEGER_MAGIC 0x1.8p+23
/* LN2_HI + LN2_LO = ln 2; LN2_HI times any exponent is exact. */
#define LN2_HI 0x1.62e4p-1
#define LN2_LO 0x1.7f7d1cp-20
#define EXP_LOWEST -104 /* below, exp rounds to 0; above EXP_HIGHEST, to inf */
#define EXP_HIGHEST 89
#define EXP2_LOWEST -152
#define EXP2_HIGHEST 129
#define SINH_HIGHEST 89.5    /* above, sinh and cosh round to inf */
#define SINH_LEAST 0x1p-12   /* below, sinh, sin and tan round to x */
#define SIN_HIGHEST 0x1.8p+13 /* above, the C library reduces the argument */
/* pi / 2 as a sum of two, and of four.  The first two of the four are exact times any number of
 * quarters up to SIN_HIGHEST, and no digit of theirs is behind the last one of a number in
 * [1/2, 1): so is what they leave of x. */
#define HALF_PI 0x1.921fb6p+0
#define HALF_PI_LO -0x1.777a5cp-25
#define HALF_PI_1 0x1.92p+0
#define HALF_PI_2 0x1.fb4p-12
#define HALF_PI_3 0x1.4442dp-24
#define HALF_PI_4 0x1.846988p-48
#define QUARTER_PI_REST 0x1.fb5444p-13 /* what HALF_PI_1 / 2 lacks */
#define SILU_LOWEST -112     /* below, x exp(x) rounds to 0 */
#define ERFC_HIGHEST 10.6    /* above, erfc rounds to 0 */
#define LOG2_E_LO 0x1.4ae0bf85ddf44p-26 /* what float(LOG2_E) lacks */
/* LOG10_2_HI + LOG10_2_LO = log10(2); the first times any exponent is exact. */
#define LOG10_2_HI 0x1.344p-2
#define LOG10_2_LO 0x1.3509f79fef312p-18
#define ALL_INTEGERS 0x1p+23 /* every greater number is one */
#define NO_SQUARE 0x1p+13    /* above, 1 + x^2 has the root |x| */
#define EXPM1_LOWEST -20 /* below, expm1 rounds to -1 */
#define TANH_HIGHEST 10  /* above, tanh rounds to 1 */
#define GAUSS_HIGHEST 15 /* above, x exp(-x^2 / 2) rounds to 0 */
#define GELU_TANH_HIGHEST 12 /* below minus that, gelu_tanh rounds to 0 */
/* lambda alpha as a sum */
#define SELU_LAMBDA_ALPHA 0x1.c212ccp+0
#define SELU_LAMBDA_ALPHA_LO 0x1.903c0cp-26
#else
typedef uint64_t VU __attribute__((vector_size(VBYTES)));
#define MANTISSA_BITS 52
#define INTEGER_MAGIC 0x1.8p+52
#define LN2_HI 0x1.62e42fefa38p-1
#define LN2_LO 0x1.ef35793c7673p-45
#define EXP_LOWEST -746
#define EXP_HIGHEST 710
#define EXP2_LOWEST -1077
#define EXP2_HIGHEST 1025
#define SINH_HIGHEST 710.6
#define SINH_LEAST 0x1p-27
#define SIN_HIGHEST 0x1.8p+20
#define HALF_PI 0x1.921fb54442d18p+0
#define HALF_PI_LO 0x1.1a62633145c07p-54
#define HALF_PI_1 0x1.921fb544p+0
#define HALF_PI_2 0x1.0b46p-34
#define HALF_PI_3 0x1.1a62633145c06p-54
#define HALF_PI_4 0x1.c1cd129024e08p-107
#define QUARTER_PI_REST 0x1.0b4611a626331p-35
#define SILU_LOWEST -754
#define ERFC_HIGHEST 27.5
#define LOG2_E_LO 0x1.777d0ffda0d24p-56
#define LOG10_2_HI 0x1.34413509f78p-2
#define LOG10_2_LO 0x1.fef311f12b358p-46
#define ALL_INTEGERS 0x1p+52
#define NO_SQUARE 0x1p+27
#define EXPM1_LOWEST -40
#define TANH_HIGHEST 20
#define GAUSS_HIGHEST 39
#define GELU_TANH_HIGHEST 23
#define SELU_LAMBDA_ALPHA 0x1.c212cc640f031p+0
#define SELU_LAMBDA_ALPHA_LO 0x1.05161b045a1fep-56
#endif

/* c[0] + c[1] x + c[2] x^2 ... */
static ALWAYS_INLINE V TN(polynomial)(V x, const T *c, int count)
{
    V y = v_splat(c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        y = v_fma(y, x, v_splat(c[i]));
    return y;
}

/* x * y as the sum of the rounded product and *lo. */
static inline V v_two_product(V x, V y, V *lo)
{
    const V hi = x * y;
#if HAS_FMA
    *lo = v_fma(x, y, -hi);
#else
    /* Both are split into halves of which all products are exact (Dekker). */
    const V split = K(T_BITS == 32 ? 0x1p12 + 1 : 0x1p27 + 1);
    const V x1 = split * x - (split * x - x), x2 = x - x1;
    const V y1 = split * y - (split * y - y), y2 = y - y1;
    *lo = ((x1 * y1 - hi) + (x1 * y2 + x2 * y1)) + x2 * y2;
#endif
    return hi;
}

/* z - x * y, exact where z is the rounded product or near it. */
static inline V v_residual(V z, V x, V y)
{
#if HAS_FMA
    return v_fma(-x, y, z);
#else
    V lo;
    const V hi = v_two_product(x, y, &lo);
    return (z - hi) - lo;
#endif
}

/* ---- exp and its relatives ------------------------------------------------ */
/* x = n ln 2 + r, n an integer and |r| <= ln(2) / 2 but for rounding, and then
 * exp(x) = 2^n exp(r).  Until the end n is carried as shifted = n + INTEGER_MAGIC,
 * whose low bits are n: nothing need be converted. */

/* (exp(r) - 1 - r) / r^2, |r| <= 0.3467; relative to exp(r) - 1 the error is
 * 2^-25.8 and 2^-54.5. */
static const T TN(exp_coefficients)[] = {
#if T_BITS == 32
    0x1.fffffep-2, 0x1.555494p-3, 0x1.5556fcp-5, 0x1.123dfep-7, 0x1.6bba1ep-10,
#else
    0x1.0000000000009p-1,  0x1.5555555555558p-3,  0x1.55555555503b7p-5,  0x1.111111110f7f6p-7,
    0x1.6c16c1860c761p-10, 0x1.a01a01b012aa3p-13, 0x1.a0199395a53bcp-16, 0x1.71ddf6a196aecp-19,
    0x1.28b42cf24e65cp-22, 0x1.af634d6b2f12fp-26,
#endif
};

/* r, rounded */
static inline V v_exp_reduce(V x, V *shifted)
{
    *shifted = v_fma(x, K(LOG2_E), K(INTEGER_MAGIC));
    const V n = *shifted - K(INTEGER_MAGIC);
    return v_fma(n, K(-LN2_LO), v_fma(n, K(-LN2_HI), x));
}

/* The same for x + x_lo, where nothing must be lost: exp(x + x_lo) = 2^n (1 + r + *w).
 * The returned r is exact and larger than *w. */
static inline V v_exp_split(V x, V x_lo, V *shifted, V *w)
{
    *shifted = v_fma(x, K(LOG2_E), K(INTEGER_MAGIC));
    const V n = *shifted - K(INTEGER_MAGIC);
    const V r = v_fma(n, K(-LN2_HI), x);
    const V r_lo = v_fma(n, K(-LN2_LO), x_lo);
    const V s = r + r_lo;
    *w = v_fma(s * s, v_poly(s, TN(exp_coefficients)), r_lo);
    return r;
}

/* x 2^n of a normal x, where the result is normal, too. */
static inline V v_pow2(V shifted, V x) { return (V)(((VU)shifted << MANTISSA_BITS) + (VU)x); }

/* x 2^n, where the result may be subnormal (rounded once) or infinite. */
static inline V v_ldexp(V x, V shifted)
{
#if VBYTES == 64
    return MM(scalef)(x, shifted - K(INTEGER_MAGIC));
#else
    /* 2^n may be out of range, 2^floor(n/2) and 2^ceil(n/2) are not. */
    const VU floor_half = (VU)shifted >> 1, ceil_half = (VU)shifted - floor_half;
    const V a = (V)((floor_half << MANTISSA_BITS) + (VU)K(1));
    const V b = (V)((ceil_half << MANTISSA_BITS) + (VU)K(1));
    return x * a * b;
#endif
}

/* The same for n <= 0. */
static inline V v_ldexp_down(V x, V shifted)
{
#if VBYTES == 64
    return MM(scalef)(x, shifted - K(INTEGER_MAGIC));
#else
    const V up = K(T_BITS == 32 ? 0x1p+64 : 0x1p+128), down = K(T_BITS == 32 ? 0x1p-64 : 0x1p-128);
    return x * (V)(((VU)shifted << MANTISSA_BITS) + (VU)up) * down;
#endif
}

/* v_exp: max ulp f32 1.1, f64 1.1; range all */
static inline V v_exp(V x)
{
    V shifted;
    const V r = v_exp_reduce(v_min(K(EXP_HIGHEST), v_max(K(EXP_LOWEST), x)), &shifted);
    return v_ldexp(K(1) + v_fma(r * r, v_poly(r, TN(exp_coefficients)), r), shifted);
}

/* exp(-|x|), which lies in [0, 1]. */
static inline V v_exp_negative(V x)
{
    V shifted;
    const V r = v_exp_reduce(v_max(K(EXP_LOWEST), -v_abs(x)), &shifted);
    return v_ldexp_down(K(1) + v_fma(r * r, v_poly(r, TN(exp_coefficients)), r), shifted);
}

/* v_exp2: max ulp f32 1.1, f64 1.1; range all */
static inline V v_exp2(V x)
{
    /* Here x - n is exact, and r = (x - n) ln 2. */
    const V cut = v_min(K(EXP2_HIGHEST), v_max(K(EXP2_LOWEST), x));
    const V shifted = cut + K(INTEGER_MAGIC);
    const V r = (cut - (shifted - K(INTEGER_MAGIC))) * K(LN_2);
    return v_ldexp(K(1) + v_fma(r * r, v_poly(r, TN(exp_coefficients)), r), shifted);
}

/* v_expm1: max ulp f32 1.3, f64 1.3; range all */
static inline V v_expm1(V x)
{
    V shifted, w;
    const V cut = v_min(K(EXP_HIGHEST), v_max(K(EXPM1_LOWEST), x));
    const V r = v_exp_split(cut, K(-0.0), &shifted, &w);
    /* 2^n (1 + r + w) - 1.  The largest n is beyond the normal numbers, so it is lowered
     * by one and the result doubled. */
    const V largest = K(INTEGER_MAGIC + (T_BITS == 32 ? 127 : 1023));
    const V scale = v_pow2(v_min(largest, shifted), K(1));
    const V y = v_fma(scale, w, v_fma(scale, r, scale - K(1)));
    return v_select(v_eq(x, K(0)), x, v_select(v_lt(largest, shifted), y + y, y));
}

/* exp(x) - 1 for x < 0 */
static inline V v_expm1_negative(V x)
{
    V shifted, w;
    const V r = v_exp_split(v_max(K(EXPM1_LOWEST), x), K(-0.0), &shifted, &w);
    const V scale = v_pow2(shifted, K(1));
    return v_fma(scale, r + w, scale - K(1)); /* here r + w has bits to spare */
}

/* v_cosh: max ulp f32 1.9, f64 1.9; range all */
static inline V v_cosh(V x)
{
    /* With e = exp(|x|) / 2, which overflows no sooner than cosh: e + 1 / (4 e). */
    V shifted;
    const V a = v_abs(x);
    const V r = v_exp_reduce(v_min(K(SINH_HIGHEST), a), &shifted);
    const V power = K(1) + v_fma(r * r, v_poly(r, TN(exp_coefficients)), r);
    const V e = v_ldexp(power, shifted - K(1));
    return v_select(v_lt(a, K(INFINITY)), e + K(0.25) / e, a);
}

/* v_sinh: max ulp f32 2.4, f64 2.4; range all */
static inline V v_sinh(V x)
{
    /* With h = (exp|x| - 1) / 4: 2 (h + h / (1 + 4 h)), where 4 h may overflow. */
    V shifted, w;
    const V a = v_abs(x);
    const V r = v_exp_split(v_min(K(SINH_HIGHEST), a), K(-0.0), &shifted, &w);
    const V scale = v_pow2(shifted, K(0.25));
    const V h = v_fma(scale, w, v_fma(scale, r, scale - K(0.25)));
    const V y = K(2) * (h + h / (K(1) + K(4) * h));
    const M moderate = v_lt(a, K(INFINITY));
    return v_select(v_lt(a, K(SINH_LEAST)), x, v_select(moderate, v_copysign(y, x), x));
}

/* (exp(2 r) - 1 - 2 r) / (2 r^2): the coefficients above, doubled, times powers of 2. */
static const T TN(tanh_coefficients)[] = {
#if T_BITS == 32
    0x1.fffffep-1, 0x1.555494p-1, 0x1.5556fcp-2, 0x1.123dfep-3, 0x1.6bba1ep-5,
#else
    0x1.0000000000009p+0, 0x1.5555555555558p-1, 0x1.55555555503b7p-2, 0x1.111111110f7f6p-3,
    0x1.6c16c1860c761p-5, 0x1.a01a01b012aa3p-7, 0x1.a0199395a53bcp-9, 0x1.71ddf6a196aecp-11,
    0x1.28b42cf24e65cp-13, 0x1.af634d6b2f12fp-16,
#endif
};

/* v_tanh: max ulp f32 1.9, f64 1.9; range all */
static inline V v_tanh(V x)
{
    /* With h = (exp(2|x|) - 1) / 2, tanh|x| = h / (1 + h) = c - c q, where q = c / (1 + h),
     * for c = h as for c = 1.  The subtraction takes away most of what 1 + h has lost. */
    const V a = v_min(K(TANH_HIGHEST), v_abs(x));
    /* a = n ln(2) / 2 + r, and t = (exp(2 r) - 1) / 2. */
    const V shifted = v_fma(a, K(2 * LOG2_E), K(INTEGER_MAGIC));
    const V n = shifted - K(INTEGER_MAGIC);
    const V r = v_fma(n, K(-LN2_LO / 2), v_fma(n, K(-LN2_HI / 2), a));
    const V t = v_fma(r * r, v_poly(r, TN(tanh_coefficients)), r);
    const V scale = v_pow2(shifted, K(1));
    const V h = v_fma(scale, t, v_fma(scale, K(0.5), K(-0.5)));
    const V c = v_min(K(1), h);
    const V q = c / (K(1) + h);
    return v_signed(v_fma(-c, q, c), x);
}

/* v_sigmoid: max ulp f32 1.9, f64 1.9; range all */
static inline V v_sigmoid(V x)
{
    /* With e = exp(-|x|): c / (1 + e) =: q, where c = 1, or e for negative x.  Also
     * q = c - e q, which takes away most of what 1 + e has lost. */
    const V e = v_exp_negative(x);
    const V c = v_select(v_lt(x, K(0)), e, K(1));
    const V q = c / (K(1) + e);
    return v_fma(-e, q, c);
}

/* ---- log and its relatives ------------------------------------------------ */
/* x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2): log(x) = k ln 2 + log(1 + f). */

/* f and *k of a positive normal x. */
static inline V v_log_split(V x, V *k)
{
    const VU low = (VU)K(T_BITS == 32 ? 0x1.6a09e6p-1 : 0x1.6a09e667f3bcdp-1); /* sqrt(1/2) */
    const VU one = (VU)K(1);
    const VU offset = (VU)x + (one - low); /* its exponent field holds k */
    const V magic = K(T_BITS == 32 ? 0x1p+23 : 0x1p+52);
    *k = (V)((offset >> MANTISSA_BITS) | (VU)magic) - (magic + K(T_BITS == 32 ? 127 : 1023));
    return (V)((offset & (VU)KI(((I)1 << MANTISSA_BITS) - 1)) + low) - K(1);
}

/* The same for any positive x, subnormal or not. */
static inline V v_log_split_any(V x, V *k)
{
#if VBYTES == 64
    const V exponent = MM(getexp)(x), m = MM(getmant)(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
    const M upper = v_lt(K(T_BITS == 32 ? 0x1.6a09e6p+0 : 0x1.6a09e667f3bcdp+0), m); /* sqrt(2) */
    *k = v_select(upper, exponent + K(1), exponent);
    return v_select(upper, m * K(0.5), m) - K(1);
#else
    const M subnormal = v_lt(x, K(T_BITS == 32 ? 0x1p-126 : 0x1p-1022));
    const V f = v_log_split(v_select(subnormal, x * K(T_BITS == 32 ? 0x1p+24 : 0x1p+54), x), k);
    *k = *k - v_select(subnormal, K(T_BITS == 32 ? 24 : 54), K(0));
    return f;
#endif
}

#if T_BITS == 32
/* (log(1 + f) - f) / f^2 for sqrt(1/2) <= 1 + f <= sqrt(2); relative to log(1 + f) the
 * error is 2^-27.3. */
static const T TN(log_coefficients)[] = {
    -0x1.0p-1,     0x1.555554p-2,  -0x1.000228p-2, 0x1.99a036p-3,  -0x1.54721ep-3,
    0x1.22d5bap-3, -0x1.0d822cp-3, 0x1.057a7ap-3,  -0x1.3916a2p-4,
};
#else
/* (log((1 + s) / (1 - s)) - 2 s) / s^3 as a polynomial in s^2, |s| <= 0.1716; relative
 * to the logarithm the error is 2^-58.6. */
static const T TN(log_coefficients)[] = {
    0x1.555555555557cp-1, 0x1.9999999985704p-2, 0x1.2492493de63b6p-2, 0x1.c71c54dbcc578p-3,
    0x1.7465bbabd7551p-3, 0x1.39adaf8fb261ep-3, 0x1.2e96dc74476a6p-3,
};
#endif

/* k ln 2 + log(1 + f) */
static inline V v_log_join(V f, V k)
{
#if T_BITS == 32
    const V p = v_poly(f, TN(log_coefficients));
    const V tail = v_fma(f * f, p, k * K(LN2_LO));
#else
    /* With s = f / (2 + f), 1 + f = (1 + s) / (1 - s) and 2 s = f - f^2/2 + s f^2/2. */
    const V s = f / (K(2) + f), z = s * s, half_square = K(0.5) * f * f;
    const V p = v_poly(z, TN(log_coefficients));
    const V tail = v_fma(s, v_fma(z, p, half_square), v_fma(k, K(LN2_LO), -half_square));
#endif
    return v_fma(k, K(LN2_HI), f + tail);
}

/* y, or what log(x) is where x is not a positive number. */
static inline V v_log_special(V y, V x)
{
#if VBYTES == 64
    /* Each kind of x has a nibble that says what to return: from the lowest, quiet nan and
     * signalling nan (2: x, quiet), 0 (4: -inf), 1 (0: y), -inf (3: nan), inf (5: inf),
     * other negative (3: nan) and other positive numbers (0: y). */
#if T_BITS == 32
    return _mm512_fixupimm_ps(y, x, _mm512_set1_epi32(0x03530422), 0);
#else
    return _mm512_fixupimm_pd(y, x, _mm512_set1_epi64(0x03530422), 0);
#endif
#else
    y = v_select(v_lt(x, K(INFINITY)), y, x); /* inf and nan are themselves */
    return v_select(v_lt(x, K(0)), K(NAN), v_select(v_eq(x, K(0)), K(-INFINITY), y));
#endif
}

/* v_log: max ulp f32 1.0, f64 1.0; range all */
static inline V v_log(V x)
{
    V k;
    const V f = v_log_split_any(x, &k);
    return v_log_special(v_log_join(f, k), x);
}

/* v_log2: max ulp f32 1.9, f64 1.9; range all */
static inline V v_log2(V x)
{
    V k;
    const V l = v_log_join(v_log_split_any(x, &k), K(0));
    return v_log_special(v_fma(l, K(LOG2_E), l * K(LOG2_E_LO)) + k, x);
}

/* v_log10: max ulp f32 2.1, f64 2.1; range all */
static inline V v_log10(V x)
{
    V k;
    const V l = v_log_join(v_log_split_any(x, &k), K(0));
    const V small = v_fma(l, K(LOG10_E), k * K(LOG10_2_LO));
    return v_log_special(v_fma(k, K(LOG10_2_HI), small), x);
}

/* v_log1p: max ulp f32 1.6, f64 1.5; range all */
static inline V v_log1p(V x)
{
    /* 1 + x = u + c exactly (Knuth's sum); with u = 2^k (1 + f), c is added to f. */
    const V u = K(1) + x;
    const V v = u - K(1);
    const V c = (K(1) - (u - v)) + (x - v);
    V k;
    const V f = v_log_split(u, &k);
    /* 2^-k; for the largest k, where c is of no account, 0. */
    const V scale = v_max(K(0), v_pow2(K(INTEGER_MAGIC) - k, K(1)));
    const V y = v_log_special(v_log_join(v_fma(c, scale, f), k), u);
    return v_select(v_eq(x, K(0)), x, y); /* the sign of zero */
}

/* log(1 + e) for 0 <= e <= 1 */
static inline V v_log1p_unit(V e)
{
    const M upper = v_lt(K(0.41421356), e);
    return v_log_join(v_select(upper, (e - K(1)) * K(0.5), e), v_select(upper, K(1), K(0)));
}

/* v_logsigmoid: max ulp f32 1.9, f64 1.9; range all */
static inline V v_logsigmoid(V x) { return -(v_max(K(0), -x) + v_log1p_unit(v_exp_negative(x))); }

/* exp(-|z + lo|), lo being what a rounded z has lost: it counts |z| times. */
static inline V v_exp_negative_sum(V z, V lo)
{
    const V e = v_exp_negative(z);
    const V exact = v_fma(e, v_select(v_lt(z, K(0)), lo, -lo), e);
    return v_select(v_eq(e, K(0)), e, exact); /* there lo may be nan */
}

/* log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold. */
/* v_softplus: max ulp f32 2.6, f64 2.6; range all */
static inline V v_softplus(V x, V beta, V threshold)
{
    V lo;
    const V z = v_two_product(beta, x, &lo);
    const V e = v_exp_negative_sum(z, lo);
    const V y = (v_max(K(0), z) + v_log1p_unit(e)) / beta;
    return v_select(v_lt(threshold, z), x, y);
}

/* v_softplus_derivative: max ulp f32 2.6, f64 2.6; range all */
static inline V v_softplus_derivative(V x, V beta, V threshold)
{
    V lo;
    const V z = v_two_product(beta, x, &lo);
    const V e = v_exp_negative_sum(z, lo);
    const V c = v_select(v_lt(z, K(0)), e, K(1));
    const V q = c / (K(1) + e);
    return v_select(v_lt(threshold, z), K(1), v_fma(-e, q, c));
}

/* ---- the normal distribution ---------------------------------------------- */

/* A normal variable exceeds a >= 0 with the probability T(a) exp(-a^2 / 2), where T falls slowly,
 * from 1/2 and in the end as 0.4 / a. */

/* T(a), 0 <= a <= GAUSS_HIGHEST, as a ratio of polynomials of relative error 2^-24.7 and 2^-54.2
 * (Remez exchange; for float32 then a search among the neighbours of the rounded coefficients,
 * those of the exponential included).  No coefficient is negative, so nothing cancels. */
static const T TN(tail_numerator)[] = {
#if T_BITS == 32
    0x1.0p-1, 0x1.c25abap-2, 0x1.797cfap-3, 0x1.4fcf58p-5, 0x1.112994p-8,
#else
    0x1.0p-1, 0x1.a5c4c892a226cp-1, 0x1.58a947af37c08p-1, 0x1.68dcc8de1af12p-2,
    0x1.0980116b708d0p-3, 0x1.1d8683f20bc3bp-5, 0x1.c5e51123cc994p-8, 0x1.07990732a8e5ap-10,
    0x1.adc2c487b10d7p-14, 0x1.bf1c15a07b582p-18, 0x1.c83884812274ep-23,
#endif
};
static const T TN(tail_denominator)[] = {
#if T_BITS == 32
    0x1.0p+0, 0x1.ad6f8ep+0, 0x1.3502cap+0, 0x1.e3ab38p-2, 0x1.a4e5f2p-4, 0x1.565afcp-7,
#else
    0x1.0p+0, 0x1.39037918a1ecap+1, 0x1.66144e1ff980ep+1, 0x1.faea6c9f7b717p+0,
    0x1.ee829cfd15784p-1, 0x1.5e030f4c8ca03p-2, 0x1.700a555733231p-4, 0x1.20a07f2f0cf6bp-6,
    0x1.4c8f4ba3a01aep-9, 0x1.0ddefc462716fp-12, 0x1.182f3894b18e9p-16, 0x1.1de4db51d5babp-21,
#endif
};
static inline V v_gauss_tail(V a)
{
    return v_poly(a, TN(tail_numerator)) / v_poly(a, TN(tail_denominator));
}

/* (exp(-u / 2) - 1) / u, |u| <= ln 2 but for rounding; relative to exp(-u / 2), with u, the error
 * is 2^-23.9 and 2^-56.5. */
static const T TN(gauss_coefficients)[] = {
#if T_BITS == 32
    -0x1.0p-1, 0x1.ffffe6p-4, -0x1.5553a2p-6, 0x1.555846p-9, -0x1.126654p-12, 0x1.6ae764p-16,
#else
    -0x1.0000000000000p-1,  0x1.0000000000005p-3,  -0x1.5555555555557p-6,  0x1.55555555520aep-9,
    -0x1.11111111100dfp-12, 0x1.6c16c17f43f0fp-16, -0x1.a01a01abe65c3p-20, 0x1.a019a6698693fp-24,
    -0x1.71de0236c3217p-28, 0x1.28a2c1a026d69p-32, -0x1.af4ddeb6edd5ap-37,
#endif
};

/* y exp(-a^2 / 2), y having T(a) as a factor, given a^2 to twice the precision as square + lo: in
 * exp its absolute error counts.  ln 2 is taken as one number of the dtype.  n times what that
 * lacks is about a fixed part of a^2 / 2, for which the coefficients of T make up. */
static inline V v_times_gauss(V y, V square, V lo)
{
    const V shifted = v_fma(square, K(-0.5 * LOG2_E), K(INTEGER_MAGIC));
    const V n = shifted - K(INTEGER_MAGIC);
#if HAS_FMA
    const V u = v_fma(n, K(2 * LN_2), square) + lo;
    const V rest = u * v_poly(u, TN(gauss_coefficients));
#else
    const V u = (square + n * K(2 * LN2_HI)) + (n * K(2 * ((T)LN_2 - (T)LN2_HI)) + lo);
    /* the largest term apart: a half of u is not rounded */
    const int terms = sizeof TN(gauss_coefficients) / sizeof *TN(gauss_coefficients);
    const V rest = K(-0.5) * u + u * u * TN(polynomial)(u, TN(gauss_coefficients) + 1, terms - 1);
#endif
    return v_ldexp_down(v_fma(y, rest, y), shifted);
}

/* erf(x) / x - 1 as a polynomial in x^2, |x| <= 1; relative to erf(x) / x the error is
 * 2^-24.3 and 2^-54.9. */
static const T TN(erf_coefficients)[] = {
#if T_BITS == 32
    0x1.06eba2p-3, -0x1.812674p-2, 0x1.ce0942p-4, -0x1.b5a35cp-6, 0x1.4246dp-8, -0x1.273fa6p-11,
#else
    0x1.06eba8214db68p-3,    -0x1.812746b0379bdp-2,   0x1.ce2f21a040d16p-4,
    -0x1.b82ce311fa948p-6,   0x1.565bccf92b3b6p-8,    -0x1.c02db03dd7fb6p-11,
    0x1.f9a2baa90661cp-14,   -0x1.f4ca4d6f3036dp-17,  0x1.b97fd3d5b4074p-20,
    -0x1.5c0726ca3ddbbp-23,  0x1.d71b0dc9a1d6fp-27,   -0x1.abae447e5574fp-31,
#endif
};

/* v_erf: max ulp f32 1.9, f64 1.7; range all */
static inline V v_erf(V x)
{
    const V a = v_min(K(6), v_abs(x));
    const V near = v_fma(x, v_poly(x * x, TN(erf_coefficients)), x);
    const V sqrt_2 = K(0x1.6a09e667f3bcdp+0);
    V lo;
    const V square = v_two_product(a, a + a, &lo); /* of a sqrt(2) */
    const V beyond = v_times_gauss(v_gauss_tail(a * sqrt_2), square, lo);
    return v_select(v_lt(a, K(1)), near, v_copysign(K(1) - (beyond + beyond), x));
}

/* v_erfc: max ulp f32 6.8, f64 9.5; range all */
static inline V v_erfc(V x)
{
    /* For positive x there is no difference to take: it is twice the tail. */
    const V a = v_min(K(ERFC_HIGHEST), v_abs(x));
    const V sqrt_2 = K(0x1.6a09e667f3bcdp+0);
    V lo;
    const V square = v_two_product(a, a + a, &lo);
    const V tail = v_times_gauss(K(2) * v_gauss_tail(a * sqrt_2), square, lo);
    return v_select(v_lt(x, K(0)), K(2) - tail, tail);
}

/* v_erf_derivative: max ulp f32 2.0, f64 2.0; range all */
static inline V v_erf_derivative(V x)
{
    /* 2 / sqrt(pi) times exp(-x^2) */
    const V a = v_min(K(ERFC_HIGHEST), v_abs(x)); /* so that nothing is inf - inf */
    const V c = K(0x1.20dd750429b6dp+0);
    V lo, shifted;
    const V hi = v_two_product(a, -a, &lo);
    const V r = v_exp_reduce(hi, &shifted) + lo;
    return v_ldexp_down(v_fma(c, v_fma(r * r, v_poly(r, TN(exp_coefficients)), r), c), shifted);
}

/* ---- activations ---------------------------------------------------------- */

/* v_elu: max ulp f32 2.6, f64 2.6; range all */
static inline V v_elu(V x, V alpha)
{
    return v_select(v_lt(x, K(0)), alpha * v_expm1_negative(x), x);
}

/* v_elu_derivative: max ulp f32 2.6, f64 2.6; range all */
static inline V v_elu_derivative(V x, V alpha)
{
    /* At 0 it is alpha, the derivative from the left. */
    return v_select(v_lt(K(0), x), K(1), alpha * v_exp(v_min(K(0), x)));
}

/* v_selu: max ulp f32 2.0, f64 2.0; range all */
static inline V v_selu(V x)
{
    const V e = v_expm1_negative(x);
    return v_select(v_lt(x, K(0)), v_fma(e, K(SELU_LAMBDA_ALPHA), e * K(SELU_LAMBDA_ALPHA_LO)),
                    K(SELU_LAMBDA) * x);
}

/* v_selu_derivative: max ulp f32 2.0, f64 1.8; range all */
static inline V v_selu_derivative(V x)
{
    const V e = v_exp(v_min(K(0), x));
    return v_select(v_lt(K(0), x), K(SELU_LAMBDA),
                    v_fma(e, K(SELU_LAMBDA_ALPHA), e * K(SELU_LAMBDA_ALPHA_LO)));
}

/* x / alpha as the sum of the result and *lo; where the quotient is beyond the exponents of
 * exp, *lo is 0. */
static inline V v_quotient(V x, V alpha, V *lo)
{
    V e;
    const V z = x / alpha;
    const V back = v_two_product(z, alpha, &e);
    *lo = v_select(v_lt(v_abs(z), K(-2 * EXP_LOWEST)), ((x - back) - e) / alpha, K(0));
    return z;
}

/* v_celu: max ulp f32 3.0, f64 3.0; range all */
static inline V v_celu(V x, V alpha)
{
    return v_select(v_lt(x, K(0)), alpha * v_expm1(x / alpha), x);
}

/* v_celu_derivative: max ulp f32 1.9, f64 1.9; range all */
static inline V v_celu_derivative(V x, V alpha)
{
    /* What the quotient has lost counts |x / alpha| times in the exponential. */
    V lo;
    const V e = v_exp(v_quotient(v_min(K(0), x), alpha, &lo));
    return v_select(v_lt(K(0), x), K(1), v_fma(e, lo, e));
}

/* v_hardswish_derivative: max ulp f32 1.5, f64 1.5; range x >= -1 */
/* v_hardswish_derivative: max abs f32 1.2e-7, f64 2.3e-16; range x < -1 */
static inline V v_hardswish_derivative(V x)
{
    const V middle = x / K(3) + K(0.5);
    return v_select(v_lt(x, K(3)), v_select(v_lt(K(-3), x), middle, K(0)), K(1));
}

/* (x - tanh(x)) / x^3 as a polynomial in x^2, |x| <= 1; relative to that the error is 2^-25.0
 * and 2^-54.0. */
static const T TN(tanhshrink_coefficients)[] = {
#if T_BITS == 32
    0x1.555556p-2, -0x1.11112ap-3, 0x1.ba1a6cp-5, -0x1.65f9fp-6, 0x1.1e8924p-7, -0x1.ac1dbcp-9,
    0x1.f88bep-11, -0x1.40cec4p-13,
#else
    0x1.5555555555555p-2, -0x1.1111111111068p-3, 0x1.ba1ba1ba1074dp-5, -0x1.664f488022c2ap-6,
    0x1.226e3507d5b83p-7, -0x1.d6d3c2fac7a55p-9, 0x1.7da2a552a985ap-10, -0x1.3550f3e1336bbp-11,
    0x1.f519238f67c6bp-13, -0x1.94789c0caa8aap-14, 0x1.41ae5bfd349b2p-15, -0x1.e8a26688c4e74p-17,
    0x1.4c995948b7cbbp-18, -0x1.6e21f1b1697f6p-20, 0x1.1607476f9ed93p-22, -0x1.a66ba314b68c6p-26,
#endif
};

/* v_tanhshrink: max ulp f32 3.3, f64 3.3; range all */
static inline V v_tanhshrink(V x)
{
    /* The difference of x and tanh(x) would lose its digits near 0.  Beyond 1, with e =
     * exp(-2|x|), tanh|x| = 1 - 2 e / (1 + e), and both terms are positive. */
    const V square = x * x, a = v_abs(x);
    const V near = x * square * v_poly(square, TN(tanhshrink_coefficients));
    const V e = v_exp_negative(a + a);
    const V beyond = (a - K(1)) + (e + e) / (K(1) + e);
    return v_select(v_lt(a, K(1)), near, v_copysign(beyond, x));
}

/* v_tanhshrink_derivative: max ulp f32 5.0, f64 5.0; range all */
static inline V v_tanhshrink_derivative(V x)
{
    const V y = v_tanh(x);
    return y * y;
}

/* v_softsign: max ulp f32 1.5, f64 1.5; range all */
static inline V v_softsign(V x)
{
    const V a = v_min(K(T_BITS == 32 ? 0x1p+127 : 0x1p+1023), v_abs(x)); /* no inf / inf */
    return v_copysign(a / (K(1) + a), x);
}

/* v_softsign_derivative: max ulp f32 3.6, f64 3.6; range all */
static inline V v_softsign_derivative(V x)
{
    const V inverse = K(1) / (K(1) + v_abs(x));
    return inverse * inverse;
}

/* With e = exp(-|x|), sigmoid(x) is 1 / (1 + e) for positive x and e / (1 + e) for negative.
 * Far out on the left e is subnormal; x exp(x) is not yet, so x comes before the power of 2. */

/* v_silu: max ulp f32 3.5, f64 3.5; range all */
static inline V v_silu(V x)
{
    V shifted;
    const V c = v_max(K(SILU_LOWEST), x);
    const M left = v_lt(x, K(0));
    const V r = v_exp_reduce(v_max(K(SILU_LOWEST), -v_abs(x)), &shifted);
    const V power = K(1) + v_fma(r * r, v_poly(r, TN(exp_coefficients)), r);
    const V q = v_select(left, c * power, c) / (K(1) + v_ldexp_down(power, shifted));
    return v_select(left, v_ldexp_down(q, shifted), q);
}

/* v_silu_derivative: max ulp f32 3.0, f64 3.0; range x >= 0 */
/* v_silu_derivative: max abs f32 1e-7, f64 2e-16; range x < 0 */
static inline V v_silu_derivative(V x)
{
    /* s + x s (1 - s) */
    const V e = v_exp_negative(x), inverse = K(1) / (K(1) + e);
    const V s = v_select(v_lt(x, K(0)), e, K(1)) * inverse;
    const V a = v_min(K(-2 * EXP_LOWEST), v_abs(x)); /* so that nothing is inf * 0 */
    return v_fma(v_copysign(a, x), e * inverse * inverse, s);
}

/* With e = exp(-|x|), tanh(log(1 + exp(x))) = u / v: for positive x u = 1 + 2 e and
 * v = u + 2 e^2, for negative u = e (e + 2) and v = u + 2. */

/* v_mish: max ulp f32 4.8, f64 4.8; range all */
static inline V v_mish(V x)
{
    V shifted;
    const V c = v_max(K(SILU_LOWEST), x);
    const M left = v_lt(x, K(0));
    const V r = v_exp_reduce(v_max(K(SILU_LOWEST), -v_abs(x)), &shifted);
    const V power = K(1) + v_fma(r * r, v_poly(r, TN(exp_coefficients)), r);
    const V e = v_ldexp_down(power, shifted);
    const V u = v_select(left, power * (e + K(2)), v_fma(K(2), e, K(1)));
    const V v = v_select(left, v_fma(e, e + K(2), K(2)), v_fma(K(2) * e, e, u));
    const V q = c * (u / v);
    return v_select(left, v_ldexp_down(q, shifted), q);
}

/* v_mish_derivative: max ulp f32 4.0, f64 4.0; range x >= 0 */
/* v_mish_derivative: max abs f32 2e-7, f64 4e-16; range x < 0 */
static inline V v_mish_derivative(V x)
{
    /* u / v + x 4 t (1 + e) / v^2, t = e^2 for positive x and e for negative */
    const M left = v_lt(x, K(0));
    const V e = v_exp_negative(x), inner = e * (e + K(2));
    const V u = v_select(left, inner, v_fma(K(2), e, K(1)));
    const V v = v_select(left, inner + K(2), v_fma(K(2) * e, e, u));
    const V t = v_select(left, e, e * e), inverse = K(1) / v;
    const V a = v_min(K(-2 * EXP_LOWEST), v_abs(x)); /* so that nothing is inf * 0 */
    const V slope = K(4) * t * (K(1) + e) * inverse * inverse;
    return v_fma(v_copysign(a, x), slope, u * inverse);
}

/* Below, Phi(x) is the probability that a normal variable is less than x, phi its density. */

/* v_gelu: max ulp f32 4.3, f64 4.6; range x >= -1 */
/* v_gelu: max ulp f32 7.5, f64 12; range x < -1 */
static inline V v_gelu(V x)
{
    /* x Phi(x), and for positive x, x - x Phi(-x).  -0, not 0, so that the sign stays. */
    const V a = v_min(K(GAUSS_HIGHEST), v_abs(x));
    V lo;
    const V square = v_two_product(a, a, &lo);
    return v_max(K(-0.0), x) - v_times_gauss(a * v_gauss_tail(a), square, lo);
}

/* v_gelu_derivative: max ulp f32 2.3, f64 2.1; range x >= 0 */
/* v_gelu_derivative: max abs f32 1e-7, f64 2e-16; range x < 0 */
static inline V v_gelu_derivative(V x)
{
    /* Phi(x) + x phi(x), of which the values at x and -x add up to 1. */
    const V a = v_min(K(GAUSS_HIGHEST), v_abs(x)); /* so that nothing is inf * 0 */
    V lo;
    const V square = v_two_product(a, a, &lo);
    const V left = v_times_gauss(v_fma(a, K(-INV_SQRT_2PI), v_gauss_tail(a)), square, lo);
    return v_select(v_lt(x, K(0)), left, K(1) - left);
}

/* gelu_tanh is x sigmoid(z) with z = 2 sqrt(2/pi) (x + 0.044715 x^3), for
 * (1 + tanh u) / 2 = sigmoid(2 u). */

/* v_gelu_tanh: max ulp f32 3.2, f64 3.2; range x >= -1 */
/* v_gelu_tanh: max abs f32 6e-8, f64 1.2e-16; range x < -1 */
static inline V v_gelu_tanh(V x)
{
    const V c = v_max(K(-GELU_TANH_HIGHEST), x), w = v_min(K(GELU_TANH_HIGHEST), c);
    const V z = w * v_fma(w * w, K(GELU_TANH_C3), K(GELU_TANH_C1));
    const V e = v_exp_negative(z);
    return c * v_select(v_lt(z, K(0)), e, K(1)) / (K(1) + e);
}

/* v_gelu_tanh_derivative: max ulp f32 3.1, f64 2.9; range x >= 0 */
/* v_gelu_tanh_derivative: max abs f32 1e-7, f64 1.8e-16; range x < 0 */
static inline V v_gelu_tanh_derivative(V x)
{
    const V w = v_min(K(GELU_TANH_HIGHEST), v_max(K(-GELU_TANH_HIGHEST), x));
    const V square = w * w;
    const V z = w * v_fma(square, K(GELU_TANH_C3), K(GELU_TANH_C1));
    const V dz = v_fma(square, K(3 * GELU_TANH_C3), K(GELU_TANH_C1));
    const V e = v_exp_negative(z);
    const M left = v_lt(z, K(0));
    const V inverse = K(1) / (K(1) + e);
    const V s = v_select(left, e, K(1)) * inverse;          /* sigmoid(z) */
    const V complement = v_select(left, K(1), e) * inverse; /* 1 - s */
    return v_fma(w * dz, s * complement, s);
}

/* ---- to an integer --------------------------------------------------------- */

/* v_round: max ulp f32 0, f64 0; range all */
static inline V v_round(V x)
{
    /* No number between two integers is left in the sum; it rounds half to even. */
    const V all = K(ALL_INTEGERS), a = v_abs(x);
    return v_select(v_lt(a, all), v_copysign((a + all) - all, x), x);
}

/* v_floor: max ulp f32 0, f64 0; range all */
static inline V v_floor(V x)
{
    const V near = v_round(x);
    return v_select(v_gt(near, x), near - K(1), near);
}

/* v_ceil: max ulp f32 0, f64 0; range all */
static inline V v_ceil(V x) { return -v_floor(-x); }

/* ---- power ----------------------------------------------------------------- */

/* (log((1 + s) / (1 - s)) - 2 s - 2/3 s^3) / s^5 in s^2, |s| <= 0.1716; relative to
 * the logarithm the error is 2^-35.6 and 2^-66. */
static const T TN(log_two_coefficients)[] = {
#if T_BITS == 32
    0x1.9999d6p-2, 0x1.245ee0p-2, 0x1.ddd632p-3,
#else
    0x1.9999999999996p-2, 0x1.249249249303dp-2, 0x1.c71c71c57f753p-3, 0x1.745d1832c79c7p-3,
    0x1.3b136296d5069p-3, 0x1.1120ba5482fa1p-3, 0x1.de32b18ea0f0ep-4, 0x1.eb175be7aa5f3p-4,
#endif
};

/* log(x) of a positive finite x as the sum of the result and *lo, to about ten bits
 * more than the dtype has. */
static inline V v_log_two(V x, V *lo)
{
    V k;
    const V f = v_log_split_any(x, &k);

    /* s = f / (2 + f); every sum and product is followed by what it lost. */
    V e;
    const V d = K(2) + f, d_lo = f - (d - K(2));
    const V inverse = K(1) / d;
    const V s = f * inverse;
    const V sd = v_two_product(s, d, &e);
    const V s_lo = ((f - sd) - e - s * d_lo) * inverse;
    V z_lo;
    const V z = v_two_product(s, s, &z_lo);
    z_lo = v_fma(s + s, s_lo, z_lo);

    /* c = 2/3 + z q(z), u = z c, v = s u: log(1 + f) = 2 s + v */
    const V third = K(T_BITS == 32 ? 0x1.555556p-1 : 0x1.5555555555555p-1);
    const V third_lo = K(T_BITS == 32 ? -0x1.555556p-26 : 0x1.5555555555555p-55);
    const V q = z * v_poly(z, TN(log_two_coefficients));
    const V c = third + q, c_lo = (q - (c - third)) + third_lo;
    V u_lo, v_lo;
    const V u = v_two_product(z, c, &u_lo);
    u_lo = u_lo + v_fma(z, c_lo, z_lo * c);
    const V v = v_two_product(s, u, &v_lo);
    v_lo = v_lo + v_fma(s, u_lo, s_lo * u);

    /* From the largest to the smallest: k ln 2, 2 s, v, the rest. */
    const V a = k * K(LN2_HI), b = a + (s + s), b_lo = (s + s) - (b - a);
    const V g = b + v, g_lo = v - (g - b);
    const V rest = (b_lo + g_lo) + (v_fma(k, K(LN2_LO), s_lo + s_lo) + v_lo);
    const V hi = g + rest;
    *lo = rest - (hi - g);
    return hi;
}

static inline M v_is_integer(V x)
{
    return v_eq(v_round(x), x);
}

/* x^y for an exponent of -1, 1/2, 1, 2 or 3, which needs no logarithm; *distance is that of y from
 * the nearest of these. */
static ALWAYS_INLINE V v_pow_short(V x, V y, V *distance)
{
    V lo;
    const V square = v_two_product(x, x, &lo), rough = square * x;
    const V exact = v_fma(square, x, lo * x);
    const V cube = v_select(v_lt(v_abs(rough), K(INFINITY)), exact, rough); /* lo may be nan */
    const V root = v_select(v_eq(x, K(-INFINITY)), K(INFINITY), v_sqrt(x + K(0)));
    V z = v_select(v_eq(y, K(0.5)), root, v_select(v_eq(y, K(-1)), K(1) / x, x));
    z = v_select(v_eq(y, K(3)), cube, v_select(v_eq(y, K(2)), square, z));
    const V one_or_two = v_min(v_abs(y - K(1)), v_abs(y - K(2)));
    const V others = v_min(v_abs(y - K(0.5)), v_min(v_abs(y + K(1)), v_abs(y - K(3))));
    *distance = v_min(one_or_two, others);
    return z;
}

/* x^y for all x and y, given z = |x|^y where both are finite and not 0 */
static ALWAYS_INLINE V v_pow_special(V x, V y, V z)
{
    const V a = v_abs(x), grows = v_select(v_eq(a, K(0)), -y, y);
    const V limit = v_select(v_lt(grows, K(0)), K(0), v_select(v_lt(K(0), grows), K(INFINITY), y));
    z = v_select(v_eq(a, K(0)), limit, v_select(v_eq(a, K(INFINITY)), limit, z));
    /* Negative x: the sign of an odd power; no real power unless y is an integer. */
    const V odd = v_select(v_is_integer(y), v_select(v_is_integer(y * K(0.5)), K(1), K(-1)), K(1));
    z = v_select(v_lt(v_copysign(K(1), x), K(0)), v_copysign(z, odd), z);
    const V negative = v_select(v_is_integer(y), z, K(NAN));
    z = v_select(v_lt(x, K(0)), v_select(v_lt(K(-INFINITY), x), negative, z), z);
    z = v_select(v_eq(x, x), z, x);
    /* 1^y and x^0 are 1, even for nan. */
    return v_select(v_eq(x, K(1)), K(1), v_select(v_eq(y, K(0)), K(1), z));
}

/* v_pow: max ulp f32 1.1, f64 1.1; range all */
static inline V v_pow(V x, V y)
{
    /* Squares and the like are common, and all exponents are often one.  Those that v_pow_short
     * knows are among the numbers of two binary digits. */
    if (v_all(v_eq(y, K(2))))
        return x * x;
    const M brief = v_eq((V)((VU)y << (T_BITS - MANTISSA_BITS + 1)), K(0));
    V z = x, distance = y;
    if (v_any(brief)) {
        z = v_pow_short(x, y, &distance);
        if (v_all(v_eq(distance, K(0))))
            return z;
    }
    /* No logarithm but 0 is so near 0 that a larger exponent makes a difference; nor does what is
     * lost of an exponential that over- or underflows. */
    const V large = K(T_BITS == 32 ? 0x1p+64 : 0x1p+128);
    V log_lo, lo, shifted, w;
    const V log_hi = v_log_two(v_abs(x), &log_lo);
    const V exponent = v_min(large, v_max(-large, y));
    const V hi = v_two_product(exponent, log_hi, &lo);
    lo = v_min(K(0x1p-8), v_max(K(-0x1p-8), v_fma(exponent, log_lo, lo)));
    const V cut = v_min(K(EXP_HIGHEST), v_max(K(EXP_LOWEST), hi));
    const V r = v_exp_split(cut, lo, &shifted, &w);
    V power = v_ldexp(K(1) + (r + w), shifted);
    /* x positive and finite, y finite */
    const V most = v_select(v_lt(x, K(INFINITY)), K(INFINITY), K(0));
    const M ordinary = v_lt(v_abs(y), v_select(v_lt(K(0), x), most, K(0)));
    if (!v_all(ordinary))
        power = v_pow_special(x, y, power);
    return v_any(brief) ? v_select(v_eq(distance, K(0)), z, power) : power;
}

/* ---- by the C library, one element after the other -------------------------- */
/* In float64, whatever the dtype: float32 is then rounded right but for a few numbers.  The
 * library is one for all instruction sets. */

/* lanes: one vector.  Not inlined, for it is rare, and a loop around it needs its registers. */
static __attribute__((noinline)) void TN(each_lane)(double (*f)(double), T *lanes)
{
    for (int i = 0; i < VL; i++)
        lanes[i] = (T)f((double)lanes[i]);
}

static ALWAYS_INLINE V v_each(double (*f)(double), V x)
{
    T lanes[VBYTES / sizeof(T)];
    v_store(lanes, x);
    TN(each_lane)(f, lanes);
    return v_load(lanes);
}

/* x, y: one vector each; the results are left in x. */
static __attribute__((noinline)) void TN(each_pair_of_lanes)(double (*f)(double, double), T *x,
                                                             const T *y)
{
    for (int i = 0; i < VL; i++)
        x[i] = (T)f((double)x[i], (double)y[i]);
}

static ALWAYS_INLINE V v_each_pair(double (*f)(double, double), V x, V y)
{
    T xs[VBYTES / sizeof(T)], ys[VBYTES / sizeof(T)];
    v_store(xs, x), v_store(ys, y);
    TN(each_pair_of_lanes)(f, xs, ys);
    return v_load(xs);
}

/* x - y floor(x / y): what an integer division leaves is exact, and then the sign of y is given
 * to it. */
/* v_remainder: max ulp f32 0.5, f64 0.5; range all */
static inline V v_remainder(V x, V y)
{
    /* The rounded quotient may be the next integer; then the rest is negative. */
    const V a = v_abs(x), b = v_abs(y), quotient = a / b;
    const V rest = v_residual(a, v_floor(quotient), b);
    const V moderate = v_copysign(v_select(v_lt(rest, K(0)), rest + b, rest), x);
    V r = v_select(v_lt(a, b), x, moderate);
    /* where the quotient is not known, or a product might overflow */
    const M safe = v_lt(b, K(T_BITS == 32 ? 0x1p+100 : 0x1p+900));
    const M far = v_le(K(ALL_INTEGERS), v_select(safe, quotient, a));
    if (v_any(far))
        r = v_select(far, v_each_pair(fmod, x, y), r);
    const V moved = v_select(v_lt(v_copysign(K(1), y) * r, K(0)), r + y, r);
    return v_select(v_eq(r, K(0)), v_copysign(r, y), moved);
}

/* ---- the inverses of sinh, cosh and tanh ---------------------------------------- */

/* log(larger + smaller + lo) + doublings ln 2 of a sum of at least 1.  As in log1p, what the
 * rounded sum has lost counts where it is near 1. */
static inline V v_log_sum(V larger, V smaller, V lo, V doublings)
{
    const V u = larger + smaller;
    const V rest = (smaller - (u - larger)) + lo;
    V k;
    const V f = v_log_split(u, &k);
    const V scale = v_max(K(0), v_pow2(K(INTEGER_MAGIC) - k, K(1)));
    return v_log_join(v_fma(rest, scale, f), k + doublings);
}

/* v_asinh: max ulp f32 1.7, f64 1.7; range all */
static inline V v_asinh(V x)
{
    /* log(a + sqrt(1 + a^2)), where a^2, the sum and the root are each followed by what they
     * lost; where that is log(2 a), the 2 is a doubling. */
    const V a = v_abs(x);
    const M large = v_lt(K(NO_SQUARE), a);
    V lo;
    const V b = v_select(large, K(0), a);
    const V square = v_two_product(b, b, &lo);
    const V high = v_max(K(1), square), low = v_min(K(1), square);
    const V sum = high + low;
    const V root = v_sqrt(sum);
    const V lost = v_residual(sum, root, root) + ((low - (sum - high)) + lo);
    const V larger = v_select(large, a, root), smaller = v_select(large, K(0), a);
    const V doublings = v_select(large, K(1), K(0));
    const V y = v_log_sum(larger, smaller, lost * (K(0.5) / root), doublings);
    return v_select(v_lt(a, K(INFINITY)), v_copysign(y, x), x);
}

/* v_acosh: max ulp f32 1.6, f64 1.6; range all */
static inline V v_acosh(V x)
{
    /* log(x + sqrt((x - 1) (x + 1))) */
    const M large = v_lt(K(NO_SQUARE), x);
    V lo;
    const V b = v_select(large, K(1), x), below = b - K(1), above = b + K(1);
    const V product = v_two_product(below, above, &lo);
    const V above_lo = b - (above - K(1));
    const V root = v_sqrt(product);
    const V lost = v_residual(product, root, root) + v_fma(below, above_lo, lo);
    const V root_lo = K(0.5) * lost / v_max(K(SINH_LEAST), root); /* at 1 the root is 0 */
    const V y = v_log_sum(x, root, root_lo, v_select(large, K(1), K(0)));
    return v_select(v_lt(x, K(INFINITY)), v_select(v_lt(x, K(1)), K(NAN), y), x);
}

/* (atanh(s) - s) / s^3 as a polynomial in s^2, |s| <= 0.27; relative to the function the error
 * is 2^-29.5 and 2^-61.8. */
static const T TN(atanh_coefficients)[] = {
#if T_BITS == 32
    0x1.555548p-2, 0x1.99a83cp-3, 0x1.223ea2p-3, 0x1.08445ep-3,
#else
    0x1.5555555555555p-2, 0x1.9999999999b96p-3, 0x1.2492492475cbcp-3, 0x1.c71c71e065207p-4,
    0x1.745d10d66dda1p-4, 0x1.3b14b3e214e87p-4, 0x1.10f7366173d87p-4, 0x1.e52b7ae54166ep-5,
    0x1.8e744593da4dbp-5, 0x1.1bb3658e2003p-4,
#endif
};

/* v_atanh: max ulp f32 1.4, f64 1.4; range all */
static inline V v_atanh(V x)
{
    /* With u = 1 + a and v = 1 - a it is log(u / v) / 2 = k ln(2) / 2 + atanh(s), where
     * s = (u - 2^k v) / (u + 2^k v).  k comes from a difference of bits, which is near to one of
     * logarithms; it is 0 up to a = 0.245, so that nowhere much is lost by the sum. */
    const V a = v_abs(x), u = K(1) + a, v = K(1) - a;
    const V u_lo = a - (u - K(1)), v_lo = (K(1) - v) - a;
    const VU n = ((VU)u - (VU)v + ((VU)K(1.265) - (VU)K(1))) >> MANTISSA_BITS;
    const V magic = K(T_BITS == 32 ? 0x1p+23 : 0x1p+52);
    const V k = (V)(n | (VU)magic) - magic;
    const V scale = (V)((n << MANTISSA_BITS) + (VU)K(1));
    const V above = v_fma(-scale, v, u) + v_fma(-scale, v_lo, u_lo);
    const V below = v_fma(scale, v, u) + v_fma(scale, v_lo, u_lo);
    const V s = above / below, square = s * s;
    const V tail = v_fma(s * square, v_poly(square, TN(atanh_coefficients)), k * K(LN2_LO / 2));
    const V y = v_fma(k, K(LN2_HI / 2), s + tail);
    const V limit = v_select(v_eq(a, K(1)), K(INFINITY), K(NAN));
    return v_copysign(v_select(v_lt(a, K(1)), y, limit), x);
}

/* ---- the length of a vector ----------------------------------------------------- */

/* v_hypot: max ulp f32 1.2, f64 1.2; range all */
static inline V v_hypot(V x, V y)
{
    const V a = v_abs(x), b = v_abs(y), large = v_max(a, b), small = v_min(b, a);
    /* A power of 2 keeps the squares from overflow and what counts of them from underflow. */
    const V up = K(T_BITS == 32 ? 0x1p+80 : 0x1p+600);
    const V down = K(T_BITS == 32 ? 0x1p-80 : 0x1p-600);
    const M high = v_lt(K(T_BITS == 32 ? 0x1p+60 : 0x1p+500), large);
    const M low = v_lt(large, K(T_BITS == 32 ? 0x1p-40 : 0x1p-400));
    const V scale = v_select(high, down, v_select(low, up, K(1)));
    const V back = v_select(high, up, v_select(low, down, K(1)));
    const V c = large * scale, d = small * scale;
    V lo;
    const V square = v_two_product(c, c, &lo);
    const V length = v_sqrt(square + v_fma(d, d, lo)) * back;
    return v_select(v_eq(a, K(INFINITY)), a, v_select(v_eq(b, K(INFINITY)), b, length));
}

/* ---- sine and its relatives -------------------------------------------------- */
/* x = k pi/2 + r, k an integer and |r| <= pi/4 but for rounding (Cody and Waite): by k modulo 4
 * the sine of x is the sine of r, its cosine, or their negatives. */

/* (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 as polynomials in r^2, |r| <= 0.788;
 * relative to the sine the error is 2^-27.8 and 2^-57.8, to the cosine 2^-32.9 and 2^-63.8. */
static const T TN(sin_coefficients)[] = {
#if T_BITS == 32
    -0x1.555544p-3, 0x1.1106dep-7, -0x1.9928a8p-13,
#else
    -0x1.5555555555548p-3, 0x1.111111110f724p-7,  -0x1.a01a019be6c59p-13,
    0x1.71de35529fcefp-19, -0x1.ae5e493bf5aeep-26, 0x1.5d8a9b7efa65ap-33,
#endif
};
static const T TN(cos_coefficients)[] = {
#if T_BITS == 32
    0x1.55554ap-5, -0x1.6c0c24p-10, 0x1.99e622p-16,
#else
    0x1.555555555554ap-5,   -0x1.6c16c16c14e21p-10, 0x1.a01a019c61bdfp-16,
    -0x1.27e4f7d27149cp-22, 0x1.1ee9c77595e4ap-29,  -0x1.8f9c494bef4e8p-37,
#endif
};

/* r as the sum of the result and *lo; the low bits of *k are those of k. */
static inline V v_quarters(V x, VU *k, V *lo)
{
    const V shifted = v_fma(x, K(TWO_OVER_PI), K(INTEGER_MAGIC));
    const V n = shifted - K(INTEGER_MAGIC);
    *k = (VU)shifted;
    /* Nothing is lost in the first step, for x and n pi/2 are near each other. */
#if HAS_FMA
    const V near = v_fma(n, K(-(HALF_PI_1 + HALF_PI_2)), x);
#else
    const V near = v_fma(n, K(-HALF_PI_2), v_fma(n, K(-HALF_PI_1), x));
#endif
    V p_lo;
    const V p = v_two_product(n, K(HALF_PI_3), &p_lo);
    /* near - p, and what it loses (Knuth's sum) */
    const V r = near - p, moved = r - near;
    const V lost = (near - (r - moved)) - (p + moved);
    *lo = lost - v_fma(n, K(HALF_PI_4), p_lo);
    return r;
}

/* sine and cosine of r + lo */
static inline V v_sin_near(V r, V lo)
{
    const V square = r * r;
    return r + v_fma(r * square, v_poly(square, TN(sin_coefficients)), lo);
}
static inline V v_cos_near(V r, V lo)
{
    /* 1 - r^2 / 2, what that loses, and the rest */
    const V square = r * r, half = K(0.5) * square, y = K(1) - half;
    const V rest = v_fma(square * square, v_poly(square, TN(cos_coefficients)), -r * lo);
    return y + (((K(1) - y) - half) + rest);
}

static inline M v_odd(VU k) { return v_lt(v_signed(K(1), (V)(k << (T_BITS - 1))), K(0)); }

/* The sine of x + quarters pi / 2, |x| <= SIN_HIGHEST */
static inline V v_sine(V x, I quarters)
{
    VU k;
    V lo;
    const V r = v_quarters(x, &k, &lo);
    k += (VU)KI(quarters);
    const V y = v_select(v_odd(k), v_cos_near(r, lo), v_sin_near(r, lo));
    return (V)((VU)y ^ ((k << (T_BITS - 2)) & (VU)K(-0.0))); /* the second half turn is negative */
}

/* v_sin: max ulp f32 1.0, f64 1.0; range all */
static inline V v_sin(V x)
{
    const M far = v_lt(K(SIN_HIGHEST), v_abs(x));
    const V y = v_select(v_lt(v_abs(x), K(SINH_LEAST)), x, v_sine(x, 0));
    return v_any(far) ? v_select(far, v_each(sin, x), y) : y;
}

/* v_cos: max ulp f32 1.0, f64 1.0; range all */
static inline V v_cos(V x)
{
    const M far = v_lt(K(SIN_HIGHEST), v_abs(x));
    const V y = v_sine(x, 1);
    return v_any(far) ? v_select(far, v_each(cos, x), y) : y;
}

/* (tan(r) - r) / r^3 as a polynomial in r^2, |r| <= 0.788; relative to the tangent the error is
 * 2^-29.4 and 2^-58.6. */
static const T TN(tan_coefficients)[] = {
#if T_BITS == 32
    0x1.55556p-2, 0x1.110d9p-3, 0x1.badda6p-5, 0x1.5c8edp-6, 0x1.63f492p-7, 0x1.989678p-15,
    0x1.204b72p-8,
#else
    0x1.555555555555ep-2,   0x1.11111111105a4p-3,  0x1.ba1ba1bac4662p-5,  0x1.664f485b8f045p-6,
    0x1.226e3ac0b13d8p-7,   0x1.d6d2dbd747cd2p-9,  0x1.7db248338c5c4p-10, 0x1.34b45a99664f2p-11,
    0x1.ffa320b110527p-13,  0x1.5c0b23cffe71p-14,  0x1.1e86ebb45f52dp-14, -0x1.c5df1ebef0a9dp-16,
    0x1.a22478a81b704p-15,  -0x1.a17a6349d27fdp-16, 0x1.4d696b09e3cd4p-17,
#endif
};

/* v_tan: max ulp f32 1.8, f64 1.8; range all */
static inline V v_tan(V x)
{
    /* t = tan(r), or -1 / t if k is odd; lo counts as the tangent rises there, by 1 + t^2, and so
     * much need not be known of that. */
    VU k;
    V lo;
    const V r = v_quarters(x, &k, &lo);
    const V square = r * r, rise = v_fma(square, K(1.5), K(1));
    const V t = r + v_fma(r * square, v_poly(square, TN(tan_coefficients)), rise * lo);
    const M odd = v_odd(k), far = v_lt(K(SIN_HIGHEST), v_abs(x));
    const V q = v_select(odd, K(-1), t) / v_select(odd, t, K(1));
    const V y = v_select(v_lt(v_abs(x), K(SINH_LEAST)), x, q);
    return v_any(far) ? v_select(far, v_each(tan, x), y) : y;
}

/* ---- their inverses ------------------------------------------------------------ */

/* (atan(t) - t) / t^3 as a polynomial in t^2, |t| <= 0.5466, and (asin(s) - s) / s^3 in
 * s^2, |s| <= 1/2; relative to the function the error is 2^-30.2 and 2^-58.8, and 2^-27.5 and
 * 2^-55.8. */
static const T TN(atan_coefficients)[] = {
#if T_BITS == 32
    -0x1.55554ap-2, 0x1.9993b6p-3, -0x1.240e9p-3, 0x1.bc554ap-4, -0x1.39224p-4, 0x1.17bc76p-5,
#else
    -0x1.5555555555538p-2, 0x1.9999999995c33p-3,  -0x1.249249232a311p-3, 0x1.c71c7141dac7ap-4,
    -0x1.745d08aefab9ep-4, 0x1.3b12a95579bc7p-4,  -0x1.110464c6de137p-4, 0x1.e10773e50ecefp-5,
    -0x1.a9eab6d899b2ap-5, 0x1.6f05c7a7e3b5cp-5,  -0x1.1ba7b28e6bec9p-5, 0x1.4d4591b3c5c6cp-6,
    -0x1.a485fa94f0ce2p-8,
#endif
};
static const T TN(asin_coefficients)[] = {
#if T_BITS == 32
    0x1.5555c8p-3, 0x1.330246p-4, 0x1.747212p-5, 0x1.8caecep-6, 0x1.58f46p-5,
#else
    0x1.555555555539p-3,  0x1.333333336dd2fp-4, 0x1.6db6db4324464p-5,  0x1.f1c72bf78da8fp-6,
    0x1.6e89fafb42e8bp-6, 0x1.1c6b76931834cp-6, 0x1.c7064749a6033p-7,  0x1.8e8a105e3b3ccp-7,
    0x1.adbfdd35b9b6p-8,  0x1.3ea0268a1ee24p-6, -0x1.07bdb83bc68ebp-6, 0x1.04b76fbccb99fp-5,
#endif
};

/* atan(t) - t */
static inline V v_atan_tail(V t)
{
    const V square = t * t;
    return t * square * v_poly(square, TN(atan_coefficients));
}

/* v_atan: max ulp f32 1.2, f64 1.2; range all */
static inline V v_atan(V x)
{
    /* |x| = tan(turn + atan(t)) with a turn of 0, pi/4 or pi/2.  The borders are such that t is
     * small where it is the quotient of two numbers that may be rounded. */
    const V a = v_abs(x);
    const M middle = v_lt(K(ATAN_MIDDLE), a), far = v_lt(K(1 / ATAN_MIDDLE), a);
    const V above = v_select(far, K(-1), v_select(middle, a - K(1), a));
    const V below = v_select(far, a, v_select(middle, a + K(1), K(1)));
    const V turn = v_select(far, K(HALF_PI), v_select(middle, K(HALF_PI / 2), K(0)));
    const V turn_lo = v_select(far, K(HALF_PI_LO), v_select(middle, K(HALF_PI_LO / 2), K(0)));
    const V t = above / below;
    return v_signed(turn + (t + (v_atan_tail(t) + turn_lo)), x);
}

/* v_atan2: max ulp f32 1.6, f64 1.6; range all */
static inline V v_atan2(V y, V x)
{
    /* The same of |y| / |x|, the turn counted in quarters of pi; for negative x that less than
     * pi.  The sum of the largest numbers must not overflow. */
    const V tall = v_abs(y);
    const V scale = v_select(v_lt(K(T_BITS == 32 ? 0x1p+126 : 0x1p+1022), tall), K(0.5), K(1));
    const V a = tall * scale, b = v_abs(x) * scale;
    const V least = K(T_BITS == 32 ? 0x1p-149 : 0x1p-1074); /* two zeros are in no middle */
    const M middle = v_le(v_max(least, K(ATAN_MIDDLE) * b), a), far = v_lt(b, K(ATAN_MIDDLE) * a);
    const V above = v_select(far, -b, v_select(middle, a - b, a));
    const V below = v_select(far, a, v_select(middle, a + b, b));
    const V q = v_select(v_eq(a, b), K(0), above / below); /* also of two zeros or infinities */
    const V eighths = v_select(far, K(2), v_select(middle, K(1), K(0)));
    const V left = v_copysign(K(1), x);
    const V n = v_select(v_lt(left, K(0)), K(4) - eighths, eighths), t = q * left;
    const V rest = v_fma(n, K(QUARTER_PI_REST), v_atan_tail(t));
    return v_signed(v_fma(n, K(HALF_PI_1 / 2), t + rest), y);
}

/* asin(s) - s, given s and s^2 */
static inline V v_asin_tail(V s, V square)
{
    return s * square * v_poly(square, TN(asin_coefficients));
}

/* v_asin: max ulp f32 2.1, f64 1.8; range all */
static inline V v_asin(V x)
{
    /* Beyond 1/2 it is pi/2 - 2 asin(s) with s^2 = (1 - |x|) / 2. */
    const V a = v_abs(x);
    const M large = v_lt(K(0.5), a);
    const V square = v_select(large, (K(1) - a) * K(0.5), a * a);
    const V s = v_select(large, v_sqrt(square), a), tail = v_asin_tail(s, square);
    const V beyond = (K(HALF_PI) - K(2) * s) - (K(2) * tail - K(HALF_PI_LO));
    return v_signed(v_select(large, beyond, s + tail), x);
}

/* v_acos: max ulp f32 1.5, f64 1.5; range all */
static inline V v_acos(V x)
{
    /* pi/2 - asin(x); beyond 1/2, with s^2 = (1 - |x|) / 2, 2 asin(s), and below -1/2 that less
     * than pi. */
    const V a = v_abs(x);
    const M large = v_lt(K(0.5), a);
    const V square = v_select(large, (K(1) - a) * K(0.5), a * a);
    const V s = v_select(large, v_sqrt(square), x), tail = v_asin_tail(s, square);
    const V middle = K(HALF_PI) - (s + (tail - K(HALF_PI_LO)));
    const V right = K(2) * (s + tail), left = K(2 * HALF_PI) - (right - K(2 * HALF_PI_LO));
    return v_select(large, v_select(v_lt(x, K(0)), left, right), middle);
}

/* The derivatives of atan and asinh, without squares that overflow. */
/* v_atan_derivative: max ulp f32 4.4, f64 4.4; range all */
static inline V v_atan_derivative(V x)
{
    const M large = v_lt(K(1), v_abs(x));
    const V s = v_select(large, K(1) / x, x), square = s * s;
    return v_select(large, square, K(1)) / (K(1) + square);
}

/* v_asinh_derivative: max ulp f32 2.4, f64 2.4; range all */
static inline V v_asinh_derivative(V x)
{
    const V a = v_abs(x);
    return K(1) / v_select(v_lt(K(NO_SQUARE), a), a, v_sqrt(K(1) + x * x));
}

/* ---- order ----------------------------------------------------------------- */

/* v_sign: max ulp f32 0, f64 0; range all */
static inline V v_sign(V x)
{
    return v_select(v_lt(K(0), x), K(1), v_select(v_lt(x, K(0)), K(-1), x));
}

/* v_min returns its second operand if either is nan or both are equal.  So the bits of
 * both orders together are nan if either is, and -0 if either zero is negative. */
/* v_minimum: max ulp f32 0, f64 0; range all */
static inline V v_minimum(V x, V y) { return (V)((VI)v_min(x, y) | (VI)v_min(y, x)); }

/* v_maximum: max ulp f32 0, f64 0; range all */
static inline V v_maximum(V x, V y) { return -v_minimum(-x, -y); }

/* v_logaddexp: max ulp f32 2.4, f64 2.4; range all */
static inline V v_logaddexp(V x, V y)
{
    /* The larger, and what the smaller adds to it; equal infinities have no difference. */
    const V distance = v_select(v_eq(x, y), K(0), x - y);
    return v_maximum(x, y) + v_log1p_unit(v_exp_negative(distance));
}

/* ---- losses ---------------------------------------------------------------- */

/* Binary cross-entropy of a probability x; logarithms are cut at -100. */
/* v_bce: max ulp f32 2.6, f64 2.4; range 0 <= x <= 1, 0 <= t <= 1 */
static inline V v_bce(V x, V t)
{
    const V log_x = v_max(K(-100), v_log(x)), log_complement = v_max(K(-100), v_log1p(-x));
    return -(t * log_x + (K(1) - t) * log_complement);
}

/* (x - t) / (x (1 - x)), the denominator no less than 1e-12, as in PyTorch: so it is finite
 * at 0 and 1.  Where 1 - x or x - t is small it is exact: float32 loses nothing, either. */
/* v_bce_derivative: max ulp f32 2.8, f64 2.7; range 0 <= x <= 1, 0 <= t <= 1 */
static inline V v_bce_derivative(V x, V t)
{
    return (x - t) / v_max(K(1e-12), x * (K(1) - x));
}

/* Binary cross-entropy of sigmoid(x), positives weighted by a: a t softplus(-x) +
 * (1 - t) softplus(x), of positive terms alone. */
/* v_bce_logits: max ulp f32 3.4, f64 3.3; range 0 <= t <= 1 */
static inline V v_bce_logits(V x, V t, V a)
{
    const V positive = a * t, negative = K(1) - t;
    const V near = (positive + negative) * v_log1p_unit(v_exp_negative(x));
    return v_abs(x) * v_select(v_lt(K(0), x), negative, positive) + near;
}

static inline V v_bce_logits_derivative(V x, V t, V a)
{
    return (K(1) + (a - K(1)) * t) * v_sigmoid(x) - a * t;
}

/* The two that are a parabola near 0 and straight beyond a; d is x - t. */
static inline V v_huber(V d, V a)
{
    const V size = v_abs(d);
    return v_select(v_le(size, a), K(0.5) * d * d, a * (size - K(0.5) * a));
}

static inline V v_smooth_l1(V d, V a)
{
    const V size = v_abs(d);
    return v_select(v_lt(size, a), K(0.5) * d * d / a, size - K(0.5) * a);
}

static inline V v_smooth_l1_derivative(V d, V a)
{
    return v_select(v_lt(v_abs(d), a), d / a, v_sign(d));
}

/* t (log(t) - x), and 0 where t is 0, whatever x. */
/* v_kl_div: max ulp f32 3.0, f64 3.0; range x <= -2.5, 0.25 <= t <= 1 */
static inline V v_kl_div(V x, V t)
{
    return v_select(v_eq(t, K(0)), K(0), t * (v_log(t) - x));
}

/* max(0, 1 - x t), nan if either is; near the margin with the product to twice the
 * precision, for the 1 takes its leading digits away. */
/* v_hinge: max ulp f32 1.0, f64 1.0; range |x t| <= 3 */
static inline V v_hinge(V x, V t)
{
    V lo;
    const V hi = v_two_product(x, t, &lo);
    const V rest = K(1) - hi;
    return v_max(K(0), v_select(v_lt(v_abs(hi), K(4)), rest - lo, rest));
}
