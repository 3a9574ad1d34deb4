/* kernels.tmpl.h: all kernels of one instruction set, gathered in one table.
 *
 * Included once by each isa_*.c, which sets
 *   ISA          base, avx2 or avx512: suffix of the table's name
 *   VBYTES       16, 32 or 64: bytes in a vector
 *   HAS_FMA      0 or 1
 *   GEMM_MR      rows, and
 *   GEMM_NV      vectors in a row, of the gemm micro-kernel's tile
 *   TARGET       the instruction set in the compiler's words, if it is not the
 *                baseline.  It is switched on here and not by a compiler flag,
 *                so that all files are compiled with the same flags.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h> /* before the switch: it must see every instruction set */
#endif

#include "kernels.h"

/* Rows that have no attributes ignore their parameters a and b. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

#ifdef TARGET
#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define TARGET_ON(isa) PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#else
#define TARGET_ON(isa) PRAGMA(GCC target(isa))
#endif
#ifndef __clang__
#pragma GCC push_options
#endif
TARGET_ON(TARGET)
#endif

/* Left alone, gcc for x86 emits one vector's operations after the other's; scheduled, it mixes the
 * two that elementwise.tmpl.h computes at a time, as clang does. */
#if defined(__x86_64__) && !defined(__clang__)
#define INTERLEAVED_ON                                                                             \
    _Pragma("GCC push_options") _Pragma("GCC optimize(\"schedule-insns\")")
#define INTERLEAVED_OFF _Pragma("GCC pop_options")
#else
#define INTERLEAVED_ON
#define INTERLEAVED_OFF
#endif

#define T_BITS 32
#include "vec.h"
#include "math.tmpl.h"
INTERLEAVED_ON
#include "elementwise.tmpl.h"
INTERLEAVED_OFF
#include "reduce.tmpl.h"
#include "softmax.tmpl.h"
#include "rows.tmpl.h"
#include "gates.tmpl.h"
#include "loss.tmpl.h"
#include "update.tmpl.h"
#include "gemm.tmpl.h"
#include "conv.tmpl.h"
#include "pool.tmpl.h"
#include "depthwise.tmpl.h"
#include "standardize.tmpl.h"
#include "small.tmpl.h"
#undef T_BITS

#define T_BITS 64
#include "vec.h"
#include "math.tmpl.h"
INTERLEAVED_ON
#include "elementwise.tmpl.h"
INTERLEAVED_OFF
#include "reduce.tmpl.h"
#include "softmax.tmpl.h"
#include "rows.tmpl.h"
#include "gates.tmpl.h"
#include "loss.tmpl.h"
#include "update.tmpl.h"
#include "gemm.tmpl.h"
#include "conv.tmpl.h"
#include "pool.tmpl.h"
#include "depthwise.tmpl.h"
#include "standardize.tmpl.h"
#include "small.tmpl.h"
#include "random.tmpl.h" /* once: it serves both dtypes */
#undef T_BITS

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const tga_kernels TGA_PASTE(tga_kernels, ISA) = {
    .name = STRING(ISA),
#define ACT(name, ...)                                                                             \
    .unary_forward[0][UNARY_##name] = name##_forward_f32,                                          \
    .unary_forward[1][UNARY_##name] = name##_forward_f64,                                          \
    .unary_backward[0][UNARY_##name] = name##_backward_f32,                                        \
    .unary_backward[1][UNARY_##name] = name##_backward_f64,                                        \
    .rows_forward[0][UNARY_##name] = name##_rows_forward_f32,                                      \
    .rows_forward[1][UNARY_##name] = name##_rows_forward_f64,                                      \
    .rows_backward[0][UNARY_##name] = name##_rows_backward_f32,                                    \
    .rows_backward[1][UNARY_##name] = name##_rows_backward_f64,
#include "activations.def"
#define UNARY(name, ...)                                                                           \
    .unary_forward[0][UNARY_##name] = name##_forward_f32,                                          \
    .unary_forward[1][UNARY_##name] = name##_forward_f64,                                          \
    .unary_backward[0][UNARY_##name] = name##_backward_f32,                                        \
    .unary_backward[1][UNARY_##name] = name##_backward_f64,
#define BINARY(name, ...)                                                                          \
    .binary[0][BINARY_##name] = name##_forward_f32, .binary[1][BINARY_##name] = name##_forward_f64,
#define COMPARE(name, ...)                                                                         \
    .compare[0][COMPARE_##name] = name##_f32, .compare[1][COMPARE_##name] = name##_f64,
#include "arithmetic.def"
#define REDUCE(name, ...)                                                                          \
    .reduce[0][REDUCE_##name] = name##_reduce_f32, .reduce[1][REDUCE_##name] = name##_reduce_f64,  \
    .reduce_rows[0][REDUCE_##name] = name##_reduce_rows_f32,                                       \
    .reduce_rows[1][REDUCE_##name] = name##_reduce_rows_f64,
#include "reduce.def"
#define LOSS(name, ...)                                                                            \
    .loss_forward[0][LOSS_##name] = name##_forward_f32,                                            \
    .loss_forward[1][LOSS_##name] = name##_forward_f64,                                            \
    .loss_backward[0][LOSS_##name] = name##_backward_f32,                                          \
    .loss_backward[1][LOSS_##name] = name##_backward_f64,                                          \
    .rows_loss[0][LOSS_##name] = name##_rows_loss_f32,                                             \
    .rows_loss[1][LOSS_##name] = name##_rows_loss_f64,
#include "loss.def"
    .softmax_forward = {{softmax_forward_f32, log_softmax_forward_f32},
                        {softmax_forward_f64, log_softmax_forward_f64}},
    .softmax_backward = {{softmax_backward_f32, log_softmax_backward_f32},
                         {softmax_backward_f64, log_softmax_backward_f64}},
    .softmax_columns = {{softmax_columns_f32, log_softmax_columns_f32},
                        {softmax_columns_f64, log_softmax_columns_f64}},
    .softmax_columns_backward = {{softmax_columns_backward_f32, log_softmax_columns_backward_f32},
                                 {softmax_columns_backward_f64, log_softmax_columns_backward_f64}},
    .var_forward = {var_forward_f32, var_forward_f64},
    .var_backward = {var_backward_f32, var_backward_f64},
    .norm_backward = {norm_backward_f32, norm_backward_f64},
    .extreme_backward = {extreme_backward_f32, extreme_backward_f64},
    .prod_backward = {prod_backward_f32, prod_backward_f64},
    .norm_forward = {norm_forward_f32, norm_forward_f64},
    .logsumexp_forward = {logsumexp_forward_f32, logsumexp_forward_f64},
    .logsumexp_backward = {logsumexp_backward_f32, logsumexp_backward_f64},
    .beyond = {beyond_f32, beyond_f64},
    .prelu_forward = {prelu_forward_f32, prelu_forward_f64},
    .prelu_backward = {prelu_backward_f32, prelu_backward_f64},
    .glu_forward = {glu_forward_f32, glu_forward_f64},
    .glu_backward = {glu_backward_f32, glu_backward_f64},
    .glu_backward_rows = {glu_backward_rows_f32, glu_backward_rows_f64},
    .class_forward = {class_forward_f32, class_forward_f64},
    .cross_entropy_backward = {cross_entropy_backward_f32, cross_entropy_backward_f64},
    .nll_backward = {nll_backward_f32, nll_backward_f64},
    .sgd = {sgd_f32, sgd_f64},
    .momentum = {momentum_f32, momentum_f64},
    .adam = {adam_f32, adam_f64},
    .rmsprop = {rmsprop_f32, rmsprop_f64},
    .adagrad = {adagrad_f32, adagrad_f64},
    .clip_value = {clip_value_f32, clip_value_f64},
    .clip_scale = {clip_scale_f32, clip_scale_f64},
    .sum_squares = {sum_squares_f32, sum_squares_f64},
    .gemm = {GEMM_TABLE(f32), GEMM_TABLE(f64)},
    .conv = {CONV_TABLE(f32), CONV_TABLE(f64)},
    .pool = {POOL_TABLE(f32), POOL_TABLE(f64)},
    .depthwise = {{depthwise_forward_f32, depthwise_backward_w_f32},
                  {depthwise_forward_f64, depthwise_backward_w_f64}},
    .standardize = {STANDARDIZE_TABLE(f32), STANDARDIZE_TABLE(f64)},
    .random_uniform = {random_uniform_f32, random_uniform_f64},
    .random_normal = {random_normal_f32, random_normal_f64},
};

#ifdef TARGET
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
