/* gemm.c: the matrix product: the outer loops, the choice of path, threads.
 *
 * k is cut into blocks of at most TGA_GEMM_KC, by k alone.  Within a block each
 * element of C is one chain of fma, k ascending; the blocks are added to C in
 * order.  An element is so a function of its row of A, its column of B and of
 * k: how m and n are cut, what is packed and who computes it changes no bit.
 */
#include "kernels.h"

#define MC 336  /* rows of A that stay in the L2 cache */
#define NC 2048 /* columns of B that stay in the L3 cache */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return a / b + (a % b != 0); }

typedef struct {
    int trans_a, trans_b;
    int64_t m, n, k;
    double alpha;
    const char *a;
    int64_t lda;
    const char *b;
    int64_t ldb;
    double beta;
    char *c;
    int64_t ldc;
    const char *bias;
    int64_t size; /* bytes of an element */
    const tga_gemm_kernels *kernels;
} product;

/* m rows in equal panels, none higher than the kernel's tile: fewer rows in each
 * cost nothing, a narrow last panel would. */
static int64_t panel_rows(int64_t m, int64_t mr) { return div_up(m, div_up(m, mr)); }

/* The length of the blocks of k. */
static int64_t block_depth(int64_t k) { return k ? div_up(k, div_up(k, TGA_GEMM_KC)) : 1; }

static void direct(const product *g)
{
    const int64_t kc = block_depth(g->k);
    tga_gemm_block block = {
        .m = g->m,
        .n = g->n,
        .mr = panel_rows(g->m, g->kernels->mr),
        .a_panel = g->trans_a ? 1 : g->lda,
        .a_row = g->trans_a ? 1 : g->lda,
        .a_step = g->trans_a ? g->lda : 1,
        .alpha = g->alpha,
        .c = g->c,
        .ldc = g->ldc,
    };
    /* LOOP 4: split k (A, B) */
    int64_t p = 0;
    do {
        block.k = min64(kc, g->k - p);
        block.a = g->a + p * block.a_step * g->size;
        block.b = g->b + p * (g->trans_b ? 1 : g->ldb) * g->size;
        block.beta = p == 0 ? g->beta : 1;
        block.bias = p + block.k == g->k ? g->bias : NULL;
        g->kernels->direct(&block, g->trans_b, g->ldb);
        p += kc;
    } while (p < g->k);
}

static void blocked(const product *g, char *workspace)
{
    const tga_gemm_kernels *kernels = g->kernels;
    const int64_t size = g->size, kc = block_depth(g->k);
    char *a_pack = workspace, *b_pack = workspace + MC * TGA_GEMM_KC * size;

    /* LOOP 5: split n (B, C) */
    for (int64_t j = 0; j < g->n; j += NC) {
        const int64_t nc = min64(NC, g->n - j);
        /* LOOP 4: split k (A, B) */
        for (int64_t p = 0; p < g->k; p += kc) {
            const int64_t depth = min64(kc, g->k - p);
            kernels->pack_b(g->trans_b, nc, depth,
                            g->b + (g->trans_b ? j * g->ldb + p : p * g->ldb + j) * size, g->ldb,
                            b_pack);
            /* LOOP 3: split m (A, C) */
            for (int64_t i = 0; i < g->m; i += MC) {
                const int64_t mc = min64(MC, g->m - i), mr = panel_rows(mc, kernels->mr);
                kernels->pack_a(g->trans_a, mc, depth, mr,
                                g->a + (g->trans_a ? p * g->lda + i : i * g->lda + p) * size,
                                g->lda, a_pack);
                const tga_gemm_block block = {
                    .m = mc,
                    .n = nc,
                    .k = depth,
                    .mr = mr,
                    .a = a_pack,
                    .a_panel = depth,
                    .a_row = 1,
                    .a_step = mr,
                    .b = b_pack,
                    .alpha = g->alpha,
                    .beta = p == 0 ? g->beta : 1,
                    .c = g->c + (i * g->ldc + j) * size,
                    .ldc = g->ldc,
                    .bias = g->bias && p + depth == g->k ? g->bias + j * size : NULL,
                };
                kernels->block(&block);
            }
        }
    }
}

int tga_gemm(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha,
             const void *a, int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc,
             const void *bias)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    if (m <= 0 || n <= 0)
        return TGA_OK;
    const product g = {
        .trans_a = trans_a, .trans_b = trans_b, .m = m,       .n = n,     .k = k,
        .alpha = alpha,     .a = a,             .lda = lda,   .b = b,     .ldb = ldb,
        .beta = beta,       .c = c,             .ldc = ldc,   .bias = bias,
        .size = (int64_t)tga_item_size(dtype),
        .kernels = &tga_kernels_current()->gemm[dtype == TGA_FLOAT64],
    };
    if (k == 0 || (double)m * (double)n * (double)k <= 64. * 64 * 64 || m < 32) {
        direct(&g);
        return TGA_OK;
    }
    const size_t size = (size_t)(g.size * TGA_GEMM_KC * (MC + g.kernels->mr + NC + g.kernels->nr));
    char *workspace = tga_alloc(size);
    if (!workspace)
        return TGA_NO_MEMORY;
    blocked(&g, workspace);
    tga_free(workspace);
    return TGA_OK;
}

int tga_gemm_batched(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k,
                     const tga_layout *batch, const void *a, int64_t lda, const void *b, int64_t ldb,
                     void *c, int64_t ldc)
{
    const int64_t size = (int64_t)tga_item_size(dtype);
    int64_t count = 1;
    for (int64_t d = 0; d < batch->ndim; d++)
        count *= batch->shape[d];
    for (int64_t item = 0; item < count; item++) {
        int64_t offset[3] = {0, 0, 0};
        for (int64_t d = batch->ndim - 1, rest = item; d >= 0; d--) {
            const int64_t index = rest % batch->shape[d];
            rest /= batch->shape[d];
            for (int i = 0; i < 3; i++)
                offset[i] += index * batch->stride[i][d];
        }
        const int status = tga_gemm(dtype, trans_a, trans_b, m, n, k, 1.0,
                                    (const char *)a + offset[1] * size, lda,
                                    (const char *)b + offset[2] * size, ldb, 0.0,
                                    (char *)c + offset[0] * size, ldc, NULL);
        if (status != TGA_OK)
            return status;
    }
    return TGA_OK;
}
