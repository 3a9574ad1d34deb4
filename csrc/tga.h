/* tga.h: the one header.
 *
 * What stands between the two markers is read twice: by the C compiler, and by
 * cffi as the declaration of what Python may call.  So it holds plain
 * declarations only: no #include, no #if, no attributes, no vector types.
 *
 * Conventions
 *   - An op is an index into one of the .def files; tga_unary_find and its
 *     sisters turn the row's name into the index, once, when Python loads.
 *   - dtype is enum tga_dtype; sizes and strides count elements, not bytes.
 *   - Every function that can fail returns enum tga_status.
 *   - No pointer needs an alignment beyond that of its element, and nothing is
 *     read or written beyond the n elements that were named.
 */
#ifndef TGA_H
#define TGA_H

#include <stddef.h>
#include <stdint.h>

/* cdef-begin */
enum tga_status { TGA_OK, TGA_NO_MEMORY, TGA_NO_KERNEL, TGA_BAD_LABEL, TGA_BAD_INDEX };
enum tga_dtype { TGA_FLOAT32, TGA_FLOAT64, TGA_INT64, TGA_BOOL, TGA_UINT8 };
enum tga_isa { TGA_ISA_BASE, TGA_ISA_AVX2, TGA_ISA_AVX512 };

/* Most axes an array may have. */
#define TGA_MAX_DIMS 32

/* How to walk arrays of one common shape: stride[0] belongs to the result,
 * stride[1], [2], [3] to the inputs; 0 repeats an element (broadcasting). */
typedef struct {
    int64_t ndim;
    int64_t shape[TGA_MAX_DIMS];
    int64_t stride[4][TGA_MAX_DIMS];
} tga_layout;

/* How a window moves over an image: [0] down, [1] across.  The output's pixel (i, j) sees,
 * through tap (p, q) of the window, the image at row i * stride[0] - padding[0] +
 * p * dilation[0], and a column likewise; beyond the image there are zeros. */
typedef struct {
    int64_t in[2], out[2]; /* rows and columns of the image and of the output */
    int64_t size[2], stride[2], padding[2], dilation[2];
} tga_window;

/* ---- library: build, instruction sets, threads, memory ------------------ */
const char *tga_source_hash(void);      /* of csrc/ when this was compiled */
int tga_isa_supported(int isa);         /* 1 if this machine can run it */
int tga_isa_use(int isa);               /* switch every kernel; TGA_NO_KERNEL if unsupported */
int tga_isa_current(void);
int tga_threads_get(void);
int tga_threads_set(int n);             /* n >= 1; returns the number in force */
void *tga_alloc(size_t bytes);          /* 64-byte aligned, uninitialised, pooled when large; NULL if none */
void tga_free(void *pointer);
size_t tga_pool_bytes(void);            /* kept for reuse at this moment */
size_t tga_pool_limit(void);
void tga_pool_set_limit(size_t bytes);
void tga_pool_release(void);            /* give everything kept back to the system */

/* ---- elementwise, one input: rows of activations.def and arithmetic.def -------------------------- */
int tga_unary_find(const char *name);           /* -1 if there is no such row */
const char *tga_unary_name(int op);             /* NULL past the last row */
int tga_unary_saves(int op);                    /* 'x', 'y' or '-' : what the backward reads */
int tga_unary_forward(int op, int dtype, int64_t n, const void *x, void *y, double a, double b);
int tga_unary_backward(int op, int dtype, int64_t n, const void *gy, const void *saved, void *gx,
                       double a, double b);
/* the same on strided views: (result, x) and (result, gy, saved) */
int tga_unary_forward_strided(int op, int dtype, const tga_layout *layout, const void *x, void *y,
                              double a, double b);
int tga_unary_backward_strided(int op, int dtype, const tga_layout *layout, const void *gy,
                               const void *saved, void *gx, double a, double b);
/* the float64 row on one number */
double tga_unary_scalar(int op, double x, double a, double b);
double tga_unary_backward_scalar(int op, double gy, double saved, double a, double b);

/* ---- elementwise, two inputs: rows BINARY of arithmetic.def ------------------------ */
int tga_binary_find(const char *name);
const char *tga_binary_name(int op);
/* step_x, step_y: 1, or 0 for a single element that meets all of the other */
int tga_binary_forward(int op, int dtype, int64_t n, const void *x, int64_t step_x, const void *y,
                       int64_t step_y, void *z);
int tga_binary_forward_strided(int op, int dtype, const tga_layout *layout, const void *x,
                               const void *y, void *z);
double tga_binary_scalar(int op, double x, double y);

/* ---- comparisons: rows COMPARE of arithmetic.def, result bool ---------------------- */
int tga_compare_find(const char *name);
const char *tga_compare_name(int op);
int tga_compare_strided(int op, int dtype, const tga_layout *layout, const void *x, const void *y,
                        uint8_t *z);

/* ---- choose, copy, convert, fill ---------------------------------------- */
/* z = condition ? x : y, strides (z, condition, x, y) */
int tga_where_strided(int dtype, const tga_layout *layout, const uint8_t *condition, const void *x,
                      const void *y, void *z);
/* strides (y, x); float to integer truncates as NumPy's astype does */
int tga_copy_strided(int dtype_y, int dtype_x, const tga_layout *layout, const void *x, void *y);
int tga_fill(int dtype, int64_t n, double value, void *y);
int tga_arange(int dtype, int64_t n, double start, double step, void *y);  /* y[i] = start + i*step */

/* ---- reductions: rows of reduce.def ------------------------------------- */
int tga_reduce_find(const char *name);
const char *tga_reduce_name(int op);
/* The first `kept` axes of the layout stay (result contiguous over them), the
 * others are reduced; stride[1] belongs to x.  An empty sum is 0, an empty
 * product 1; max and min of nothing must have been refused by the caller.
 * Every dtype; the result has the same, but the sum and product of bool and
 * uint8, which are int64.  Sums and products of int64 wrap.  The order of the
 * additions depends on the number of elements alone: see reduce.tmpl.h. */
int tga_reduce(int op, int dtype, const tga_layout *layout, int64_t kept, const void *x, void *y);

/* ---- rows of a matrix: softmax and its logarithm ------------------------ */
/* x, y: (rows, n) contiguous.  log != 0 chooses log_softmax. */
int tga_softmax_forward(int dtype, int log, int64_t rows, int64_t n, const void *x, void *y);
int tga_softmax_backward(int dtype, int log, int64_t rows, int64_t n, const void *gy, const void *y,
                         void *gx);
/* The same along columns: x, y, gy, gx are (outer, n, inner), and what adds up to 1 has n. */
int tga_softmax_columns_forward(int dtype, int log, int64_t outer, int64_t n, int64_t inner,
                                const void *x, void *y);
int tga_softmax_columns_backward(int dtype, int log, int64_t outer, int64_t n, int64_t inner,
                                 const void *gy, const void *y, void *gx);
/* maxout: x (n, pieces) -> y (n), pieces >= 1; the first largest piece wins, or the
 * first nan; backward writes all of gx (n, pieces). */
int tga_maxout_forward(int dtype, int64_t n, int64_t pieces, const void *x, void *y);
int tga_maxout_backward(int dtype, int64_t n, int64_t pieces, const void *gy, const void *x, void *gx);

/* ---- gates: prelu and glu ------------------------------------------------- */
/* x, y, gy, gx: (outer, channels, inner); w: (channels); terms: like x, of which the sum over
 * all but the channels is the gradient of w. */
int tga_prelu_forward(int dtype, int64_t outer, int64_t channels, int64_t inner, const void *x,
                      const void *w, void *y);
int tga_prelu_backward(int dtype, int64_t outer, int64_t channels, int64_t inner, const void *gy,
                       const void *x, const void *w, void *gx, void *terms);
/* x, gx: (outer, 2, n), first what passes, then its gate; y, gy: (outer, n) */
int tga_glu_forward(int dtype, int64_t outer, int64_t n, const void *x, void *y);
int tga_glu_backward(int dtype, int64_t outer, int64_t n, const void *gy, const void *x, void *gx);

/* ---- rows of a matrix: x, gx (rows, n) contiguous; y, gy (rows) -------------------------- */
/* y = sum((x - mean)^2) / divisor */
int tga_var_forward(int dtype, int64_t rows, int64_t n, double divisor, const void *x, void *y);
/* the square root of the sum of squares, without overflow */
int tga_norm_forward(int dtype, int64_t rows, int64_t n, const void *x, void *y);
int tga_logsumexp_forward(int dtype, int64_t rows, int64_t n, const void *x, void *y);
/* The place of the first largest (or smallest) of n >= 1, or of the first nan; every dtype. */
int tga_argmax(int dtype, int smallest, int64_t rows, int64_t n, const void *x, int64_t *y);

/* ---- backward of reductions of (outer, n, inner) to (outer, inner), contiguous ------------ */
/* gx = gy * factor * (x - mean) */
int tga_var_backward(int dtype, int64_t outer, int64_t n, int64_t inner, double factor,
                     const void *gy, const void *x, void *gx);
/* gx = gy * x / y, and 0 where y is 0 */
int tga_norm_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                      const void *y, const void *x, void *gx);
/* gx = gy * exp(x - y) */
int tga_logsumexp_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                           const void *y, const void *x, void *gx);
/* of max and min: all that equal y share gy */
int tga_extreme_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                         const void *y, const void *x, void *gx);
/* gx = gy * the product of all others */
int tga_prod_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                      const void *x, void *gx);

/* ---- along an axis: arrays (outer, n, inner) contiguous --------------------------------- */
/* Sums or products of all up to each element, or of all from it on; every dtype, the result
 * of integers and bools is int64. */
int tga_cumulate(int dtype, int product, int reverse, int64_t outer, int64_t n, int64_t inner,
                 const void *x, void *y);
int tga_cumprod_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                         const void *x, void *gx);
/* The places of the first k elements in order, 0 <= k <= n, equal ones as they were; nan as the
 * largest.  y: (outer, k, inner) */
int tga_argsort(int dtype, int descending, int64_t outer, int64_t n, int64_t inner, int64_t k,
                const void *x, int64_t *y);

/* ---- matrix product ------------------------------------------------------ */
/* C (m, n) = alpha * op(A) (m, k) @ op(B) (k, n) + beta * C, then + bias (n) if given.
 * Row-major.  trans_a: A is stored (k, m), lda is the length of a stored row's
 * step; likewise B.  beta == 0 never reads C. */
int tga_gemm(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha,
             const void *a, int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc,
             const void *bias);
/* one product per index of the batch axes in `layout`; strides (c, a, b) */
int tga_gemm_batched(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k,
                     const tga_layout *batch, const void *a, int64_t lda, const void *b, int64_t ldb,
                     void *c, int64_t ldc);

/* y (m, n) = x (m, k) @ w (n, k).T + b (n), all contiguous; and the gradients of x, w
 * and b, NULL for those not wanted.  The same bits as by tga_gemm and tga_reduce. */
int tga_linear_forward(int dtype, int64_t m, int64_t n, int64_t k, const void *x, const void *w,
                       const void *b, void *y);
int tga_linear_backward(int dtype, int64_t m, int64_t n, int64_t k, const void *gy, const void *x,
                        const void *w, void *gx, void *gw, void *gb);
/* The same, and activation(y) of unary row op with its attributes, in one pass: while a part
 * of the product is in a cache.  z (m, n): the product, for a backward that reads it; or NULL. */
int tga_linear_activation_forward(int op, int dtype, int64_t m, int64_t n, int64_t k, const void *x,
                                  const void *w, const void *b, void *z, void *y, double attr_a,
                                  double attr_b);

/* ---- convolution ---------------------------------------------------------- */
/* x: (n, ci, in), w: (co, ci / groups, size), b: (co) or NULL, y: (n, co, out), all contiguous.
 * forward: y = b + sum over the window of w * x.
 * backward_x: gx = what gy brings to x, plus b (ci) if given: a transposed convolution.
 * backward_w: the gradients of w and b; NULL for one that is not wanted. */
int tga_conv_forward(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                     const tga_window *window, const void *x, const void *w, const void *b,
                     void *y);
int tga_conv_backward_x(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                        const tga_window *window, const void *gy, const void *w, const void *b,
                        void *gx);
int tga_conv_backward_w(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                        const tga_window *window, const void *gy, const void *x, void *gw,
                        void *gb);

/* ---- pooling --------------------------------------------------------------- */
/* x: (planes, in), y: (planes, out), contiguous; each window sees at least one element.
 * max: the largest that a window sees, the first of several, a nan before all; index: where it is
 * in its plane.  avg (no dilation): the mean, for which the padding counts or does not. */
int tga_max_pool_forward(int dtype, int64_t planes, const tga_window *window, const void *x,
                         void *y);
int tga_max_pool_backward(int dtype, int64_t planes, const tga_window *window, const void *gy,
                          const void *x, void *gx);
int tga_max_pool_index(int dtype, int64_t planes, const tga_window *window, const void *x,
                       int64_t *index);
int tga_avg_pool_forward(int dtype, int64_t planes, const tga_window *window, int with_padding,
                         const void *x, void *y);
int tga_avg_pool_backward(int dtype, int64_t planes, const tga_window *window, int with_padding,
                          const void *gy, void *gx);

/* ---- normalisation --------------------------------------------------------- */
/* x: (outer, sets, inner), contiguous.  Each set is brought to mean 0 and variance 1, or a little
 * less: y = (x - mean) / sqrt(variance + eps).  mean, variance: (sets).  Of forward's results
 * those may be NULL that are not wanted. */
int tga_standardize_forward(int dtype, int64_t outer, int64_t sets, int64_t inner, double eps,
                            const void *x, void *y, void *mean, void *variance);
int tga_standardize_backward(int dtype, int64_t outer, int64_t sets, int64_t inner, double eps,
                             const void *gy, const void *x, void *gx);
/* running[i] = (1 - rate) * running[i] + rate * factor * value[i] */
int tga_running_update(int dtype, int64_t n, double rate, double factor, const void *value,
                       void *running);

/* ---- indexing by arrays of integers -------------------------------------- */
/* Three axes, (outer, count, inner), strides (y, x, index); along the middle one x has `length`
 * places.  gather: y[o, j, i] = x[o, index[o, j, i], i]; scatter puts y to there, scatter_add adds
 * it (float32, float64, int64).  Indices lie in [lowest, length), where lowest is 0 or -length;
 * negative ones count from the end.  What meets in one place comes in the order of j.
 * TGA_BAD_INDEX if an index does not; nothing has then been written. */
int tga_gather(int dtype, const tga_layout *layout, int64_t lowest, int64_t length, const void *x,
               const int64_t *index, void *y);
int tga_scatter(int dtype, const tga_layout *layout, int64_t lowest, int64_t length, const void *y,
                const int64_t *index, void *x);
int tga_scatter_add(int dtype, const tga_layout *layout, int64_t lowest, int64_t length,
                    const void *y, const int64_t *index, void *x);
/* joined = joined * length + index, or index alone if it is the first: indices of neighbouring axes
 * become one of these axes taken together.  Strides (joined, index), joined contiguous.
 * TGA_BAD_INDEX unless in [-length, length). */
int tga_index_join(const tga_layout *layout, int first, int64_t length, const int64_t *index,
                   int64_t *joined);
/* How many of n are true, and where those `count` are. */
int tga_mask_count(int64_t n, const uint8_t *mask, int64_t *count);
int tga_mask_places(int64_t n, const uint8_t *mask, int64_t count, int64_t *places);

/* ---- losses: rows of loss.def, and the loss of a class -------------------- */
int tga_loss_find(const char *name);
const char *tga_loss_name(int op);
/* scale * sum over i of loss(x[i], t[i], a) -> total[0] */
int tga_loss_forward(int op, int dtype, int64_t n, const void *x, const void *t, double a,
                     double scale, void *total);
/* gx[i] = gy[0] * scale * d loss(x[i], t[i], a) / dx[i] */
int tga_loss_backward(int op, int dtype, int64_t n, const void *gy, const void *x, const void *t,
                      double a, double scale, void *gx);

/* The loss of row i of (rows, classes) is -weight[labels[i]] * log_p[i, labels[i]], and 0 if its
 * label is `ignored`; weight (classes) may be NULL: all 1.  Cross-entropy takes logits, whose
 * log_softmax is log_p, and spreads the part `smoothing` of the target over all classes.
 * y is (rows) for TGA_EACH, else one element: TGA_MEAN divides by the sum of weight[labels[i]].
 * TGA_BAD_LABEL if a label is outside [0, classes) and not ignored. */
enum tga_reduction { TGA_EACH, TGA_SUM, TGA_MEAN };
int tga_nll_forward(int dtype, int reduction, int64_t rows, int64_t classes, const void *log_p,
                    const int64_t *labels, const void *weight, int64_t ignored, void *y);
int tga_nll_backward(int dtype, int reduction, int64_t rows, int64_t classes, const void *gy,
                     const int64_t *labels, const void *weight, int64_t ignored, void *gx);
int tga_cross_entropy_forward(int dtype, int reduction, int64_t rows, int64_t classes,
                              const void *logits, const int64_t *labels, const void *weight,
                              int64_t ignored, double smoothing, void *y);
int tga_cross_entropy_backward(int dtype, int reduction, int64_t rows, int64_t classes,
                               const void *gy, const void *logits, const int64_t *labels,
                               const void *weight, int64_t ignored, double smoothing, void *gx);

/* ---- random numbers ------------------------------------------------------ */
/* state: two uint64, the key of a stream and how many of its blocks have been drawn, which a
 * call moves on.  Element i depends on the state and i alone. */
int tga_random_uniform(int dtype, void *state, int64_t n, double low, double high, void *y);
int tga_random_normal(int dtype, void *state, int64_t n, double mean, double std, void *y);

/* mask[i] = 1 with probability 1 - p, else 0; apply: y[i] = mask[i / inner] ? x[i] * scale + shift
 * : fill, for n * inner elements. */
int tga_dropout_mask(void *state, int64_t n, double p, uint8_t *mask);
int tga_dropout_apply(int dtype, int64_t n, int64_t inner, const uint8_t *mask, const void *x,
                      double scale, double shift, double fill, void *y);

/* ---- parameter updates --------------------------------------------------- */
/* One step of an optimizer, for `count` parameters p of size[j] elements each, with
 * their gradients g and what it remembers of earlier steps, all updated in place.
 * lr, step: one double; step counts the updates and is advanced here.  Rates that
 * stay the same are plain arguments.  The formulas stand in update.tmpl.h. */
int tga_sgd(int dtype, int64_t count, void **p, void **g, const int64_t *size, const double *lr,
            double weight_decay);
int tga_momentum(int dtype, int64_t count, void **p, void **g, void **velocity, const int64_t *size,
                 const double *lr, double momentum, int nesterov, double weight_decay);
/* decoupled: weight decay as in AdamW, on p itself and not through the gradient */
int tga_adam(int dtype, int64_t count, void **p, void **g, void **m, void **v, const int64_t *size,
             const double *lr, double *step, double beta1, double beta2, double eps,
             double weight_decay, int decoupled);
int tga_rmsprop(int dtype, int64_t count, void **p, void **g, void **s, const int64_t *size,
                const double *lr, double alpha, double eps, double weight_decay);
int tga_adagrad(int dtype, int64_t count, void **p, void **g, void **s, const int64_t *size,
                const double *lr, double eps, double weight_decay);

/* Clipping, in place.  By value: into [-bound, bound].  By norm: all gradients are
 * scaled by max_norm / *norm if *norm is above max_norm; tga_sum_squares adds the
 * sum of their squares to *total, from which the norm is the square root. */
int tga_clip_value(int dtype, int64_t count, void **g, const int64_t *size, double bound);
int tga_sum_squares(int dtype, int64_t count, void **g, const int64_t *size, double *total);
int tga_clip_norm(int dtype, int64_t count, void **g, const int64_t *size, const double *norm,
                  double max_norm);

/* ---- small matrices in rows of TGA_ROW elements, for replay: small.tmpl.h ------------ */
/* Such a matrix has at most TGA_ROWS_MOST rows. */
#define TGA_ROW 8
#define TGA_ROWS_MOST 64
#define TGA_ROW_BLOCK 4
/* op: a row of activations.def.  x (m, k), y (m, n); w (n, k), and the same turned: wt (k, n).
 * z, before the activation, may be NULL; of the gradients any, but gw and gwt together.
 * The forward pass computes whole blocks of rows: x, y and z have room for m rounded up to a
 * multiple of TGA_ROW_BLOCK, and nothing depends on what stands in the rows that are too many. */
int tga_rows_forward(int op, int dtype, int64_t m, int64_t k, const void *x, const void *wt,
                     const void *b, void *z, void *y, double a1, double a2);
int tga_rows_backward(int op, int dtype, int64_t m, int64_t n, int64_t k, const void *gy,
                      const void *saved, const void *x, const void *w, void *gx, void *gw, void *gwt,
                      void *gb, double a1, double a2);
int tga_activation_rows(void);          /* how many rows activations.def has: they come first */
/* an elementwise loss of x and t, and its gradient */
int tga_rows_loss(int op, int dtype, int64_t rows, int64_t columns, const void *x, const void *t,
                  double a, double scale, const void *gy, void *total, void *gx);
/* between rows and the usual form: y (rows, columns) from or to x, in rows of TGA_ROW */
int tga_rows_pack(int dtype, int64_t rows, int64_t columns, const void *x, void *y);
int tga_rows_unpack(int dtype, int64_t rows, int64_t columns, const void *x, void *y);

/* ---- batches: batch.c --------------------------------------------------------------- */
/* y[i * step + j] = scale * x[index[i] * width + j] for i < count, j < width, index in
 * [0, rows), else TGA_BAD_LABEL and nothing is written; dtype_x is dtype_y, or TGA_UINT8 for
 * a float y.  A scale of 1 leaves the bits alone. */
int tga_batch(int dtype_y, int dtype_x, int64_t count, int64_t width, int64_t step, int64_t rows,
              const int64_t *index, const void *x, double scale, void *y);

/* ---- replay: plan.c ------------------------------------------------------------------- */
typedef struct tga_plan tga_plan;
/* A call: the entry point, of those in calls.def, and its arguments as 64-bit words: integers,
 * the bits of doubles, addresses.  Lists and layouts must live as long as the plan. */
const char *tga_call_name(int call);            /* NULL past the last */
const char *tga_call_signature(int call);
tga_plan *tga_plan_new(int64_t bytes);          /* with so much memory of its own, zeroed; NULL if none */
void tga_plan_free(tga_plan *plan);
char *tga_plan_memory(tga_plan *plan);
int tga_plan_add(tga_plan *plan, int call, int64_t count, const int64_t *words);
/* A copy of elements of 1, 4 or 8 bytes: rows x columns of them, each side with its own steps,
 * in bytes.  when: before the first step; there, too, but only if it changed since the last run
 * ended; before each step; after each; after the last.  `base`: -1, or which of the addresses given
 * to a run is added to the outer side, which moves on by `advance` bytes each step (or each
 * recorded one); where that address is 0 nothing is copied. */
enum tga_when { TGA_BEGIN, TGA_BEGIN_CHANGED, TGA_BEFORE, TGA_AFTER, TGA_END };
typedef struct {
    int64_t when, base, advance, size, rows, columns;
    int64_t to, to_row, to_column, from, from_row, from_column;
} tga_plan_copy;
int tga_plan_add_copy(tga_plan *plan, const tga_plan_copy *copy);
/* begin, with `done` steps behind it; then runs until `n` are done in all, or about `seconds` are
 * over; then end. */
void tga_plan_begin(tga_plan *plan, int64_t done, const int64_t *bases);
int tga_plan_run(tga_plan *plan, int64_t n, int64_t record_every, double seconds,
                 const int64_t *bases);
void tga_plan_end(tga_plan *plan, const int64_t *bases);
/* begin, one step, end; unchanged: nobody has written to what the last run left */
int tga_plan_once(tga_plan *plan, const int64_t *bases, int unchanged);
int64_t tga_plan_done(const tga_plan *plan);
int64_t tga_plan_failed(const tga_plan *plan);  /* the number of the call that failed, or -1 */
/* cdef-end */

#endif
