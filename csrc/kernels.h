/* kernels.h: what every instruction set provides, and who picks among them.
 *
 * A kernel works on contiguous memory in one thread.  Splitting over threads,
 * walking strided views and choosing the instruction set happen outside, in
 * elementwise.c, reduce.c, gemm.c ...: those files are compiled once.
 */
#ifndef TGA_KERNELS_H
#define TGA_KERNELS_H

#include "tga.h"

/* One number per row of the .def files: UNARY_tanh, BINARY_add, ... */
enum {
#define ACT(name, ...) UNARY_##name,
#include "activations.def"
#define UNARY(name, ...) UNARY_##name,
#include "arithmetic.def"
    UNARY_COUNT
};
enum { /* the rows of activations.def come first */
#define ACT(name, ...) +1
    ACT_COUNT = 0
#include "activations.def"
};
enum {
#define BINARY(name, ...) BINARY_##name,
#include "arithmetic.def"
    BINARY_COUNT
};
enum {
#define COMPARE(name, ...) COMPARE_##name,
#include "arithmetic.def"
    COMPARE_COUNT
};
enum {
#define REDUCE(name, ...) REDUCE_##name,
#include "reduce.def"
    REDUCE_COUNT
};
enum {
#define LOSS(name, ...) LOSS_##name,
#include "loss.def"
    LOSS_COUNT
};

/* x, y, gy, saved, gx: (n) contiguous; a, b: the row's attributes; stream: whether the result is
 * stored round the caches, for which it must be aligned, see v_stream. */
typedef void tga_unary_fn(int64_t n, const void *x, void *y, double a, double b, int stream);
typedef void tga_unary_backward_fn(int64_t n, const void *gy, const void *saved, void *gx, double a,
                                   double b, int stream);
/* step_x, step_y: 1, or 0 for one element that meets all of the other. */
typedef void tga_binary_fn(int64_t n, const void *x, int64_t step_x, const void *y, int64_t step_y,
                           void *z, int stream);
typedef void tga_compare_fn(int64_t n, const void *x, int64_t step_x, const void *y, int64_t step_y,
                            uint8_t *z);
/* Reduce n elements that lie next to each other to one; and rows to a row:
 * y[j] = reduction over i < rows of x[i * step + j], j < n. */
typedef void tga_reduce_fn(int64_t n, const void *x, void *y);
typedef void tga_reduce_rows_fn(int64_t rows, int64_t n, const void *x, int64_t step, void *y);
/* Along lines, which are the columns of `count` matrices of n rows, or rows of n if step is 1.
 * x, t, z: (count, n, columns), a row every `step` elements; gy, y: (count, columns), likewise.
 * A kernel is given NULL for those that it does not need.  The columns of one call take at most
 * TGA_COLUMN_BYTES of a row. */
#define TGA_COLUMN_BYTES 512
typedef void tga_lines_fn(int64_t count, int64_t n, int64_t columns, int64_t step, double number,
                          const void *gy, const void *y, const void *x, const void *t, void *z);
typedef void tga_softmax_fn(int64_t rows, int64_t n, const void *x, void *y);
typedef void tga_softmax_backward_fn(int64_t rows, int64_t n, const void *gy, const void *y, void *gx);
/* rows.tmpl.h, gates.tmpl.h */
typedef void tga_rows_fn(int64_t rows, int64_t n, double number, const void *x, void *y);
/* The first of n that comes before the bound in the order of sort.c, or n. */
typedef int64_t tga_beyond_fn(int64_t n, const void *x, const void *bound, int descending);
typedef void tga_prelu_fn(int64_t n, const void *x, const void *w, int64_t step_w, void *y);
typedef void tga_prelu_backward_fn(int64_t n, const void *gy, const void *x, const void *w,
                                   int64_t step_w, void *gx, void *terms);
typedef void tga_glu_fn(int64_t count, int64_t n, int64_t left, const void *x, void *y, int stream);
typedef void tga_glu_backward_fn(int64_t n, const void *gy, const void *a, const void *b, void *ga,
                                 void *gb, int stream);
typedef void tga_glu_backward_rows_fn(int64_t rows, int64_t n, const void *gy, const void *x,
                                      void *gx, int stream);
#define GLU_BLOCK 1024 /* elements: so long is the longest row that glu_backward_rows takes */
/* The sum of n losses, not scaled: one element; a: the row's attribute. */
typedef void tga_loss_fn(int64_t n, const void *x, const void *t, double a, void *sum);
typedef void tga_loss_backward_fn(int64_t n, double factor, const void *x, const void *t, double a,
                                  void *gx);
/* What the losses of a class share; see loss.tmpl.h. */
typedef struct {
    int64_t n;       /* classes */
    int64_t ignored; /* the label of rows that count nothing */
    double smoothing;
    const void *weight;  /* (classes), or NULL: all 1 */
    double total_weight; /* of all classes */
} tga_classes;
typedef void tga_class_fn(const tga_classes *c, int64_t rows, const void *log_p,
                          const int64_t *labels, void *value, void *sum);
typedef void tga_class_backward_fn(const tga_classes *c, int64_t rows, const int64_t *labels,
                                   const void *factor, int64_t step, void *gx);
/* What an optimizer's kernel is told of its step, see update.tmpl.h. */
typedef struct {
    double lr, weight_decay, momentum, beta1, beta2, alpha, eps, scale, keep;
    int nesterov;
} tga_update_rates;
typedef void tga_update_fn(int64_t n, void *p, const void *g, void *s, void *t,
                           const tga_update_rates *rates);
typedef void tga_clip_fn(int64_t n, void *g, double by);
typedef double tga_sum_squares_fn(int64_t n, const void *g);
/* An argument of a call that was written down, see plan.c. */
typedef union {
    int64_t i;
    double d;
    void *p;
} tga_word;
/* small.tmpl.h: small linear layers, matrices in rows of TGA_ROW elements. */
typedef int tga_small_fn(const tga_word *v);

/* gemm: a block of the product, at most TGA_GEMM_KC deep, as gemm.c hands it to
 * the kernels: C (m, n) = alpha * A @ B + beta * C + bias, bias (n) or NULL. */
#define TGA_GEMM_KC 512

typedef struct {
    int64_t m, n, k;
    int64_t mr;                     /* rows of a tile, at most the kernel's own */
    const void *a;                  /* element (i, p) of panel q, of rows q * mr ...: */
    int64_t a_panel, a_row, a_step; /*     a[q * a_panel + i * a_row + p * a_step] */
    const void *b;
    double alpha, beta;
    void *c;
    int64_t ldc;
    const void *bias;
} tga_gemm_block;

typedef struct {
    int64_t mr, nr; /* the micro-kernel's largest tile */
    /* see gemm.tmpl.h */
    void (*block)(const tga_gemm_block *g);
    void (*direct)(const tga_gemm_block *g, int trans_b, int64_t ldb);
    void (*pack_a)(int trans_a, int64_t lda, void *a_pack, tga_gemm_block *g);
    void (*pack_b)(int trans_b, int64_t n, int64_t k, const void *b, int64_t ldb, void *b_pack);
} tga_gemm_kernels;

/* conv: one group of channels of one image, as conv.c hands it to the kernels; see
 * conv.tmpl.h.  A tap is a place in the window. */

#define TGA_CONV_NARROW_ROWS 8 /* of a tile of conv_narrow */

/* Along one axis pixels [first, last) of the result see through the tap `place` of the
 * window place pixel * step + shift of the image, which is one of [0, in). */
typedef struct {
    int64_t place, shift, first, last;
} tga_conv_tap;

typedef struct {
    int64_t in, out, step;
    int64_t taps;
    const tga_conv_tap *tap; /* (taps), their shifts rising or falling */
} tga_conv_axis;

/* An image with zeros around it: see conv_lay_out. */
typedef struct {
    int64_t channels, in[2], before[2];
    int64_t step;                      /* columns are dealt out by their remainder */
    int64_t rows, width, plane, pitch; /* pitch: from what a row sees to what the next does */
} tga_conv_layout;

/* Forward, or what backward x does with gy. */
typedef struct {
    tga_conv_axis down, across;
    int64_t ci, co;              /* channels of the image and of the result */
    int64_t steps;               /* ci * taps */
    const int64_t *offset;       /* (steps): of what pixel (0, 0) meets at each step */
    int64_t y_plane;             /* pixel (i, j) is y[c * y_plane + i * y_row + j * y_pixel] */
    int64_t y_row, y_pixel;
    int y_whole;                 /* the pixels lie one after the other */
    int64_t band;                /* rows of the result that are stored together */
    size_t image_bytes;
    tga_conv_layout layout;      /* of the image, for conv_narrow */
} tga_conv;

/* Taps, or channels, whose weights are rows of a tile: where they see the image, and the first
 * one's weight. */
typedef struct {
    int64_t image, k;
} tga_conv_place;

typedef struct {
    int64_t k;                   /* weights of an output channel */
    int64_t pixels, depth;       /* of gy; so many at a time */
    const int64_t *offset;       /* (pixels): where in the image their windows begin */
    int64_t rows, row, row_k;    /* of a tile; their distance in the image, and of weights */
    int64_t others;
    const tga_conv_place *other; /* (others): the tiles */
    size_t image_bytes;
} tga_conv_weights;

typedef struct {
    void (*pack)(const tga_conv *g, int64_t lanes, const void *w, int64_t w_lane,
                 int64_t w_channel, int64_t window_columns, int64_t ld, void *pack);
    void (*wide)(const tga_conv *g, const void *image, const void *pack, const void *bias, void *y,
                 const void *next, void *sums);
    void (*narrow)(const tga_conv *g, const void *image, const void *pack, const void *bias,
                   void *y);
    void (*lay_out)(const tga_conv_layout *l, const void *x, void *y);
    void (*backward_w)(const tga_conv_weights *g, int bias, const void *image, int64_t co,
                       const void *gy, const void *next_image, const void *next_gy, void *sums,
                       int64_t ld, void *gy_pack);
    void (*collect)(int64_t parts, size_t part_bytes, int64_t k, int64_t co, int64_t ld,
                    const void *sums, void *gw, void *gb);
} tga_conv_kernels;

/* Pooling of one plane; see pool.tmpl.h. */
#define TGA_MOST_LANES 16 /* of a vector */
#define TGA_POOL_TAPS 64  /* along an axis, where windows are taken in vectors */

typedef struct {
    const tga_window *window;
    int with_padding;
    int two_by_two;   /* windows side by side, done by itself without a layout, but for the
                       * backward of the mean */
    int64_t width;    /* of columns dealt out by their remainder by the stride, and a vector */
    int64_t elements; /* of a plane laid out; 0 where windows are taken one by one */
    int64_t offset[TGA_POOL_TAPS]; /* of what the first window of a row sees through each tap */
} tga_pool;

/* memory: two planes laid out, and two rows of the result, each and a vector */
typedef struct {
    void (*max_forward)(const tga_pool *g, void *memory, const void *x, void *y);
    void (*max_backward)(const tga_pool *g, void *memory, const void *gy, const void *x, void *gx);
    void (*max_index)(const tga_window *w, const void *x, int64_t *index);
    void (*avg_forward)(const tga_pool *g, void *memory, const void *x, void *y);
    void (*avg_backward)(const tga_pool *g, void *memory, const void *gy, void *gx);
} tga_pool_kernels;

/* pool.c: how a plane is laid out for a window, to be set in g beside it. */
void tga_pool_lay_out(tga_pool *g);

/* Convolution of one channel with a window of its own; see depthwise.tmpl.h. */
#define TGA_DEPTHWISE_TAPS 49

typedef struct {
    void (*forward)(const tga_pool *g, int turned, void *memory, const void *x, const void *w,
                    const void *bias, void *y);
    void (*backward_w)(const tga_pool *g, void *memory, int64_t images, int64_t channels,
                       const void *gy, const void *x, void *sums);
} tga_depthwise_kernels;

/* depthwise.c: the entry points of convolution where each channel has a window of its own, if that
 * is one for them: then *status is set. */
int tga_depthwise(int dtype, int64_t n, int64_t channels, const tga_window *window, const void *x,
                  const void *w, const void *b, void *y, int *status);
int tga_depthwise_backward_x(int dtype, int64_t n, int64_t channels, const tga_window *window,
                             const void *gy, const void *w, const void *b, void *gx, int *status);
int tga_depthwise_backward_w(int dtype, int64_t n, int64_t channels, const tga_window *window,
                             const void *gy, const void *x, void *gw, void *gb, int *status);

/* One set to mean 0 and variance 1; see standardize.tmpl.h. */
typedef struct {
    void (*forward)(int64_t outer, int64_t step, int64_t inner, double eps, const void *x, void *y,
                    void *mean, void *variance);
    void (*backward)(int64_t outer, int64_t step, int64_t inner, double eps, const void *gy,
                     const void *x, void *gx);
} tga_standardize_kernels;

/* Random numbers from block number `block` on: uniform in [a, b), or normal of mean
 * a and standard deviation b.  The same on every instruction set. */
typedef void tga_random_fn(uint64_t key, uint64_t block, int64_t n, double a, double b, void *y);

typedef struct {
    const char *name; /* "base", "avx2", "avx512" */
    /* [0] float32, [1] float64 */
    tga_unary_fn *unary_forward[2][UNARY_COUNT];
    tga_unary_backward_fn *unary_backward[2][UNARY_COUNT];
    tga_binary_fn *binary[2][BINARY_COUNT];
    tga_compare_fn *compare[2][COMPARE_COUNT];
    tga_reduce_fn *reduce[2][REDUCE_COUNT];
    tga_reduce_rows_fn *reduce_rows[2][REDUCE_COUNT];
    tga_softmax_fn *softmax_forward[2][2]; /* [dtype][log] */
    tga_softmax_backward_fn *softmax_backward[2][2];
    tga_lines_fn *softmax_columns[2][2], *softmax_columns_backward[2][2];
    tga_rows_fn *var_forward[2], *norm_forward[2], *logsumexp_forward[2];
    tga_lines_fn *var_backward[2], *norm_backward[2], *logsumexp_backward[2];
    tga_lines_fn *extreme_backward[2], *prod_backward[2];
    tga_beyond_fn *beyond[2];
    tga_prelu_fn *prelu_forward[2];
    tga_prelu_backward_fn *prelu_backward[2];
    tga_glu_fn *glu_forward[2];
    tga_glu_backward_fn *glu_backward[2];
    tga_glu_backward_rows_fn *glu_backward_rows[2];
    tga_loss_fn *loss_forward[2][LOSS_COUNT];
    tga_loss_backward_fn *loss_backward[2][LOSS_COUNT];
    tga_class_fn *class_forward[2];
    tga_class_backward_fn *cross_entropy_backward[2], *nll_backward[2];
    tga_update_fn *sgd[2], *momentum[2], *adam[2], *rmsprop[2], *adagrad[2];
    tga_clip_fn *clip_value[2], *clip_scale[2];
    tga_sum_squares_fn *sum_squares[2];
    tga_small_fn *rows_forward[2][ACT_COUNT], *rows_backward[2][ACT_COUNT];
    tga_small_fn *rows_loss[2][LOSS_COUNT];
    tga_gemm_kernels gemm[2];
    tga_conv_kernels conv[2];
    tga_pool_kernels pool[2];
    tga_depthwise_kernels depthwise[2];
    tga_standardize_kernels standardize[2];
    tga_random_fn *random_uniform[2], *random_normal[2];
} tga_kernels;

extern const tga_kernels tga_kernels_base;
#if defined(__x86_64__)
extern const tga_kernels tga_kernels_avx2;
extern const tga_kernels tga_kernels_avx512;
#endif

/* dispatch.c: the table in force.  One atomic load. */
const tga_kernels *tga_kernels_current(void);

/* cpu.c: bit per enum tga_isa that processor and operating system support. */
int tga_cpu_has(int isa);

/* parallel.c: call work(context, begin, end) on parts that cover [0, n).  Parts
 * begin at multiples of `grain`, which alone decides what may be split; with
 * n <= grain, one thread or inside another parallel call it is one plain call.
 * A kernel's result must not depend on where the parts meet. */
void tga_parallel(int64_t n, int64_t grain, void (*work)(void *context, int64_t begin, int64_t end),
                  void *context);

/* gemm.c: tga_gemm, and what is done with a part of C when it is finished and still in
 * a cache: bias (n) is added if there is one, and if there is an activation, y becomes
 * activation(c).  y (m, n) has C's row step, and may be C. */
typedef struct {
    const void *bias;
    tga_unary_fn *activation;
    double a, b; /* its attributes */
    void *y;
} tga_epilogue;
int tga_gemm_epilogue(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k,
                      double alpha, const void *a, int64_t lda, const void *b, int64_t ldb,
                      double beta, void *c, int64_t ldc, tga_epilogue epilogue);

/* reduce.c: results is (parts, n), n <= 512, elements of `size` bytes; combine its
 * rows pairwise, as reduce.tmpl.h does with chunks, into the first. */
void tga_combine_parts(tga_reduce_rows_fn *reduce_rows, size_t size, int64_t parts, int64_t n,
                       void *results);

/* A result of so many bytes is stored round the caches.  Measured where they hold 32 MiB: from
 * here on a chain of ops, each of which reads the result of the one before, is faster so. */
#define STREAM_BYTES ((int64_t)8 << 20)

/* Whether y is to be stored so; x1 and x2: the inputs.  In place nothing is to be gained, and
 * memory of others need not be aligned. */
static inline int tga_streams(int64_t bytes, const void *y, const void *x1, const void *x2)
{
    return bytes >= STREAM_BYTES && (uintptr_t)y % 64 == 0 && y != x1 && y != x2;
}

/* rows.c: call a kernel on all lines of arrays (outer, n, inner), by several threads. */
int tga_along_lines(tga_lines_fn *const *kernel, int dtype, int64_t outer, int64_t n,
                    int64_t inner, double number, const void *gy, const void *y, const void *x,
                    const void *t, void *z);

static inline size_t tga_item_size(int dtype)
{
    return dtype == TGA_FLOAT32 ? 4 : dtype == TGA_FLOAT64 || dtype == TGA_INT64 ? 8 : 1;
}

#endif
