/* gemm.c: the matrix product: the outer loops, the choice of path, threads.
 *
 * k is cut into blocks of at most TGA_GEMM_KC, by k alone.  Within a block each
 * element of C is one chain of fma, k ascending; the blocks are added to C in
 * order.  So an element is a function of its row of A, its column of B and k:
 * how m and n are cut, what is packed and who computes it changes no bit.
 *
 * Packing is therefore a matter of speed alone.  It is done only where it pays,
 * and where its workspace cannot be had the product is computed in place.
 *
 * The loops carry the numbers of the BLIS papers: LOOP 5 to 3 are here, 2 and 1
 * and the micro-kernel in gemm.tmpl.h.
 */
#include "kernels.h"

/* Rows of A that are used at a time, give or take a half: multiples of the heights of
 * the tiles, 6 and 14.  512 deep, MC floats are 252 KiB of the L2 cache.  With B packed,
 * more of that cache belongs to B and C: MC_BYTES, in a column of A, make 168 KiB. */
#define MC 126
#define MC_MAX (MC + MC / 2)
#define MC_BYTES 336
/* Bytes in a row of the part of B that is packed at a time: 512 deep, 4 MiB. */
#define NC_BYTES 8192
/* A block of B that fits into the L2 cache is read in place. */
#define B_IN_PLACE_BYTES (1 << 20)
/* m * n * k that is worth a thread: about 5 microseconds of one. */
#define THREAD_WORK 500000.0
/* An activation of one element takes as long as so many steps of k, or thereabouts. */
#define ACTIVATION_STEPS 16

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
/* For a >= 0, b > 0; the common small cases without a division. */
static int64_t div_up(int64_t a, int64_t b) { return a <= b ? a > 0 : (a - 1) / b + 1; }

typedef struct {
    int trans_a, trans_b;
    int64_t m, n, k, kc; /* kc: the blocks of k */
    double alpha;
    const char *a;
    int64_t lda;
    const char *b;
    int64_t ldb;
    double beta;
    char *c;
    int64_t ldc;
    tga_epilogue epilogue;
    int64_t size; /* bytes of an element */
    const tga_gemm_kernels *kernels;
    int pack_a;
} product;

/* ---- one block of k, in one thread ------------------------------------------- */

static const char *a_at(const product *g, int64_t i, int64_t p)
{
    return g->a + (g->trans_a ? p * g->lda + i : i * g->lda + p) * g->size;
}

static const char *b_at(const product *g, int64_t p, int64_t j)
{
    return g->b + (g->trans_b ? j * g->ldb + p : p * g->ldb + j) * g->size;
}

/* The epilogue's activation of m rows from i on, n columns from j on, of the finished C. */
static void activate(const product *g, int64_t i, int64_t m, int64_t j, int64_t n)
{
    const tga_epilogue *e = &g->epilogue;
    if (n == g->ldc) { /* rows without gaps are one long row */
        n *= m;
        m = 1;
    }
    for (int64_t at = (i * g->ldc + j) * g->size; m > 0; m--, at += g->ldc * g->size)
        e->activation(n, g->c + at, (char *)e->y + at, e->a, e->b, 0);
}

/* NULL, then nothing is packed, if there is no need or no memory. */
static char *a_workspace(const product *g)
{
    return g->pack_a ? tga_alloc((size_t)(g->size * (MC_MAX + 32) * (TGA_GEMM_KC + 32))) : NULL;
}

/* Rows [i0, i1), columns [j0, j1) of C, block of k that begins at p.
 * a_pack: workspace or NULL; b_pack: these columns of B, packed, or NULL. */
static void block(const product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, int64_t p,
                  char *a_pack, const char *b_pack)
{
    const tga_gemm_kernels *kernels = g->kernels;
    const int last = p + g->kc >= g->k;
    const char *bias = g->epilogue.bias;
    tga_gemm_block block = {
        .n = j1 - j0,
        .k = min64(g->kc, g->k - p),
        .b = b_pack ? b_pack : b_at(g, p, j0),
        .alpha = g->alpha,
        .beta = p == 0 ? g->beta : 1,
        .ldc = g->ldc,
        .bias = bias && last ? bias + j0 * g->size : NULL,
    };
    int64_t mc = b_pack ? MC_BYTES / g->size : MC;
    mc = i1 - i0 < mc + mc / 2 ? i1 - i0 : div_up(i1 - i0, (i1 - i0 + mc / 2) / mc);
    /* LOOP 3: split m (A, C) */
    for (int64_t i = i0; i < i1; i += mc) {
        block.m = min64(mc, i1 - i);
        /* Panels of equal height: all a little lower costs nothing, one much lower
         * than the others would. */
        const int64_t panels = div_up(block.m, kernels->mr);
        block.mr = panels == 1 ? block.m : div_up(block.m, panels);
        block.a = a_at(g, i, p);
        block.c = g->c + (i * g->ldc + j0) * g->size;
        if (a_pack) {
            kernels->pack_a(g->trans_a, g->lda, a_pack, &block);
        } else {
            block.a_row = g->trans_a ? 1 : g->lda;
            block.a_step = g->trans_a ? g->lda : 1;
            block.a_panel = block.mr * block.a_row;
        }
        if (b_pack)
            kernels->block(&block);
        else
            kernels->direct(&block, g->trans_b, g->ldb);
        if (last && g->epilogue.activation)
            activate(g, i, block.m, j0, block.n);
    }
}

/* ---- B in place: C is cut into a grid of tasks, all of k in each ---------------- */

/* Rows [i0, i1), columns [j0, j1) of C. */
static void in_place(const product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, char *a_pack)
{
    /* LOOP 4: split k (A, B); k == 0 is one empty block */
    int64_t p = 0;
    do {
        block(g, i0, i1, j0, j1, p, a_pack, NULL);
        p += g->kc;
    } while (p < g->k);
}

typedef struct {
    const product *g;
    int64_t rows, columns; /* of a task */
    int64_t across;        /* tasks beside each other */
} grid;

static void grid_tasks(void *context, int64_t begin, int64_t end)
{
    const grid *t = context;
    const product *g = t->g;
    char *a_pack = a_workspace(g);
    for (int64_t task = begin; task < end; task++) {
        const int64_t i = task / t->across * t->rows, j = task % t->across * t->columns;
        in_place(g, i, min64(i + t->rows, g->m), j, min64(j + t->columns, g->n), a_pack);
    }
    tga_free(a_pack);
}

static void in_place_parallel(const product *g, double work)
{
    const int64_t threads = tga_threads_get(), mr = g->kernels->mr, nr = g->kernels->nr;
    /* Two tasks for a thread, so that a slow one can leave work to the others. */
    const int64_t tasks = threads == 1 ? 1 : (int64_t)(work / THREAD_WORK < 2.0 * (double)threads
                                                           ? work / THREAD_WORK
                                                           : 2.0 * (double)threads);
    /* Each task packs the strips of a transposed B for itself, so then columns are
     * split first, else rows. */
    int64_t down = g->trans_b ? 1 : min64(tasks, div_up(g->m, mr));
    const int64_t across = min64(div_up(tasks, down), div_up(g->n, nr));
    if (g->trans_b)
        down = min64(div_up(tasks, across), div_up(g->m, mr));
    grid t = {.g = g, .rows = div_up(g->m, down), .columns = div_up(div_up(g->n, across), nr) * nr};
    t.across = div_up(g->n, t.columns);
    tga_parallel(t.across * div_up(g->m, t.rows), 1, grid_tasks, &t);
}

/* ---- B packed, once for all threads ----------------------------------------------- */

typedef struct {
    const product *g;
    int64_t j, n, p; /* columns [j, j + n), block of k at p */
    char *b_pack;
} packed;

/* Strips [begin, end) of the columns. */
static void pack_strips(void *context, int64_t begin, int64_t end)
{
    const packed *s = context;
    const product *g = s->g;
    const int64_t nr = g->kernels->nr, k = min64(g->kc, g->k - s->p), j = begin * nr;
    g->kernels->pack_b(g->trans_b, min64(end * nr, s->n) - j, k, b_at(g, s->p, s->j + j), g->ldb,
                       s->b_pack + j * k * g->size);
}

/* Rows [begin, end) of C. */
static void packed_rows(void *context, int64_t begin, int64_t end)
{
    const packed *s = context;
    char *a_pack = a_workspace(s->g);
    block(s->g, begin, end, s->j, s->j + s->n, s->p, a_pack, s->b_pack);
    tga_free(a_pack);
}

static void packed_parallel(const product *g, char *b_pack)
{
    const int64_t nc = NC_BYTES / g->size;
    /* LOOP 5: split n (B, C) */
    for (int64_t j = 0; j < g->n; j += nc) {
        packed s = {.g = g, .j = j, .n = min64(nc, g->n - j), .b_pack = b_pack};
        /* LOOP 4: split k (A, B) */
        for (; s.p < g->k; s.p += g->kc) {
            tga_parallel(div_up(s.n, g->kernels->nr), 4, pack_strips, &s);
            tga_parallel(g->m, 42 /* a multiple of both heights of a tile, 6 and 14 */, packed_rows,
                         &s);
        }
    }
}

/* ---- one product --------------------------------------------------------------------- */

/* Rows a multiple of 4096 bytes apart, or nearly, meet in the same few lines of the
 * caches and drive each other out. */
static int rows_collide(int64_t ld, int64_t size)
{
    return ld >= 4096 / size - 2 && ((ld + 2) * size & 4095) <= 4 * size;
}

static void multiply(product *g)
{
    const double steps = (double)g->k + (g->epilogue.activation ? ACTIVATION_STEPS : 0);
    const double work = (double)g->m * (double)g->n * steps;
    if (work < 2 * THREAD_WORK) {
        in_place(g, 0, g->m, 0, g->n, NULL);
        return;
    }
    /* A copy of A pays if its rows collide and enough strips read it; a transposed A
     * that is read by whole lines does without.  A copy of B pays if enough panels read
     * it and it is too large for the cache, collides or is read by single lines.  A
     * transposed B is copied in any case, here or strip by strip. */
    const int64_t mr = g->kernels->mr, nr = g->kernels->nr;
    const int one_line = nr * g->size <= 64;
    const double b_bytes = (double)g->kc * (double)g->n * (double)g->size;
    const int b_far = b_bytes > B_IN_PLACE_BYTES || rows_collide(g->ldb, g->size);
    g->pack_a = rows_collide(g->lda, g->size) && g->n >= (g->trans_a ? 4 : 8) * nr &&
                (one_line || !g->trans_a);
    const int pack_b = g->trans_b ? g->m >= MC_MAX
                                  : g->m >= 8 * MC || (g->m >= 8 * mr && (one_line || b_far));
    char *b_pack = NULL;
    if (pack_b)
        b_pack = tga_alloc((size_t)(g->kc * min64(NC_BYTES, div_up(g->n, nr) * nr * g->size)));
    if (b_pack)
        packed_parallel(g, b_pack);
    else
        in_place_parallel(g, work);
    tga_free(b_pack);
}

int tga_gemm_epilogue(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k,
                      double alpha, const void *a, int64_t lda, const void *b, int64_t ldb,
                      double beta, void *c, int64_t ldc, tga_epilogue epilogue)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    if (m <= 0 || n <= 0)
        return TGA_OK;
    product g = {
        .trans_a = trans_a,
        .trans_b = trans_b,
        .m = m,
        .n = n,
        .k = k,
        .kc = k <= TGA_GEMM_KC ? k : div_up(k, div_up(k, TGA_GEMM_KC)),
        .alpha = alpha,
        .a = a,
        .lda = lda,
        .b = b,
        .ldb = ldb,
        .beta = beta,
        .c = c,
        .ldc = ldc,
        .epilogue = epilogue,
        .size = dtype == TGA_FLOAT32 ? 4 : 8,
        .kernels = &tga_kernels_current()->gemm[dtype == TGA_FLOAT64],
    };
    if (k == 0) { /* of A and B nothing is read: they may be NULL */
        g.a = g.b = c;
        g.lda = g.ldb = 0;
    }
    if (k > 0 && n == 1 && m >= 32 && ldc == 1 && !epilogue.bias) {
        /* A single column is the single row of B^T @ A^T, and vectors are full. */
        g.trans_a = !trans_b, g.a = b, g.lda = ldb;
        g.trans_b = !trans_a, g.b = a, g.ldb = lda;
        g.m = 1, g.n = m;
    }
    multiply(&g);
    return TGA_OK;
}

int tga_gemm(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha,
             const void *a, int64_t lda, const void *b, int64_t ldb, double beta, void *c,
             int64_t ldc, const void *bias)
{
    return tga_gemm_epilogue(dtype, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc,
                             (tga_epilogue){.bias = bias});
}

/* ---- a batch of products ------------------------------------------------------------- */

typedef struct {
    int dtype, trans_a, trans_b;
    int64_t m, n, k;
    const tga_layout *batch;
    int64_t ndim; /* of the batch axes, the first that are walked */
    const char *a;
    int64_t lda;
    const char *b;
    int64_t ldb;
    char *c;
    int64_t ldc;
} batched;

/* Batch indices [begin, end), counted with the last axis fastest. */
static void batch_items(void *context, int64_t begin, int64_t end)
{
    const batched *g = context;
    const tga_layout *batch = g->batch;
    const int64_t size = (int64_t)tga_item_size(g->dtype);
    int64_t index[TGA_MAX_DIMS], c = 0, a = 0, b = 0;
    for (int64_t d = g->ndim - 1, rest = begin; d >= 0; d--) {
        index[d] = rest % batch->shape[d];
        rest /= batch->shape[d];
        c += index[d] * batch->stride[0][d];
        a += index[d] * batch->stride[1][d];
        b += index[d] * batch->stride[2][d];
    }
    for (int64_t item = begin; item < end; item++) {
        tga_gemm(g->dtype, g->trans_a, g->trans_b, g->m, g->n, g->k, 1, g->a + a * size, g->lda,
                 g->b + b * size, g->ldb, 0, g->c + c * size, g->ldc, NULL);
        for (int64_t d = g->ndim - 1; d >= 0; d--) {
            const int carry = ++index[d] == batch->shape[d];
            const int64_t step = carry ? 1 - batch->shape[d] : 1;
            c += step * batch->stride[0][d];
            a += step * batch->stride[1][d];
            b += step * batch->stride[2][d];
            if (!carry)
                break;
            index[d] = 0;
        }
    }
}

int tga_gemm_batched(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k,
                     const tga_layout *batch, const void *a, int64_t lda, const void *b,
                     int64_t ldb, void *c, int64_t ldc)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    batched g = {
        .dtype = dtype,
        .trans_a = trans_a,
        .trans_b = trans_b,
        .m = m,
        .n = n,
        .k = k,
        .batch = batch,
        .ndim = batch->ndim,
        .a = a,
        .lda = lda,
        .b = b,
        .ldb = ldb,
        .c = c,
        .ldc = ldc,
    };
    /* Items that share B and follow each other in A and C are one item of more rows. */
    for (; g.ndim > 0 && !trans_a; g.ndim--) {
        const int64_t d = g.ndim - 1;
        if (batch->stride[2][d] != 0 || batch->stride[1][d] != g.m * lda ||
            batch->stride[0][d] != g.m * ldc)
            break;
        g.m *= batch->shape[d];
    }
    int64_t count = 1;
    for (int64_t d = 0; d < g.ndim; d++)
        count *= batch->shape[d];
    if (count <= 0 || g.m <= 0 || n <= 0)
        return TGA_OK;
    /* Small items are shared out among the threads, large ones share the threads. */
    const double work = (double)g.m * (double)n * (double)k;
    if (work * (double)count < 2 * THREAD_WORK || work > 64 * THREAD_WORK)
        batch_items(&g, 0, count);
    else
        tga_parallel(count, 1 + (int64_t)(THREAD_WORK / (work + 1)), batch_items, &g);
    return TGA_OK;
}
