/* conv.tmpl.h: convolution of one image, as far as it depends on vectors and dtype.
 *
 * Parameters: those of vec.h and of gemm.tmpl.h, whose micro-kernel does the work.
 *
 * A convolution is a matrix product with the patches of the image: column p of the
 * patches holds what the window sees at output pixel p, row k what weight k meets.
 *
 *                      P pixels                        P pixels
 *                   +------------+     +------+     +------------+
 *     forward    co |     y      |  =  |  w   |  @  |  patches   | K = ci * taps
 *                   +------------+     +------+     +------------+
 *     backward x    patches' gradient = w^T @ gy, gathered where the patches were read
 *     backward w    gw^T = patches @ gy^T, summed over the images
 *
 * The patches are never in memory as a whole.  conv.c lays the image out so that the
 * patch of row k at pixel (i, j) is image[offset[k] + i * pitch + j]: neighbours in a
 * row of the output are neighbours in the image, at any stride.  So a row of the
 * patches is made of runs, which are copied when the micro-kernel is about to read
 * them, into the panel that the gemm would have packed anyway.
 *
 * Sums: y and the patches' gradient are one chain of fma over all of K, or over blocks
 * of TGA_GEMM_KC; gw is a chain over the pixels of an image, cut likewise, and the
 * images are added in order.
 */
#ifndef TGA_CONV_TMPL_H
#define TGA_CONV_TMPL_H

/* Output pixels [pixel, pixel + n) of a block: in one row, at most a vector of them.
 * Their patches begin at image[offset[k] + start]. */
typedef struct {
    int64_t pixel, n, start;
} conv_run;

/* The runs of n pixels from pixel p on; returns how many. */
static int64_t conv_runs(const tga_conv *g, int64_t p, int64_t n, int64_t vl, conv_run *run)
{
    int64_t count = 0, i = p / g->columns, j = p % g->columns;
    for (int64_t done = 0; done < n; count++) {
        int64_t length = g->columns - j < n - done ? g->columns - j : n - done;
        if (length > vl)
            length = vl;
        run[count] = (conv_run){done, length, i * g->pitch + j};
        done += length;
        j += length;
        if (j == g->columns) {
            i++;
            j = 0;
        }
    }
    return count;
}

/* The height of panels of m rows: all equal, but for the last. */
static int64_t conv_panel(int64_t m, int64_t mr)
{
    const int64_t panels = (m + mr - 1) / mr;
    return (m + panels - 1) / panels;
}

#define CONV_TABLE(suffix)                                                                         \
    {                                                                                              \
        .pad = conv_pad_##suffix, .crop = conv_crop_##suffix, .forward = conv_forward_##suffix,    \
        .backward_x = conv_backward_x_##suffix, .backward_w = conv_backward_w_##suffix,            \
        .collect = conv_collect_##suffix,                                                          \
    }

#endif

/* ---- the image, laid out ------------------------------------------------------------ */

/* Columns of the image are padding[1] from the left; those of one remainder by the
 * stride lie together.  Of remainder r: those with first <= q < last are in x. */
static inline void TN(conv_columns)(const tga_window *w, int64_t r, int64_t width, int64_t *first,
                                    int64_t *last)
{
    const int64_t s = w->stride[1], pad = w->padding[1];
    const int64_t begin = pad > r ? (pad - r + s - 1) / s : 0;
    const int64_t end = pad + w->in[1] > r ? (pad + w->in[1] - r + s - 1) / s : 0;
    *last = end < width ? end : width;
    *first = begin < *last ? begin : *last;
}

/* x: (ci, in[0], in[1]) -> padded: (ci, rows, stride[1], width), 0 around x */
static void TN(conv_pad)(const tga_conv *g, const tga_window *w, const void *px, void *ppadded)
{
    const int64_t s = w->stride[1];
    T *padded = ppadded;
    for (int64_t c = 0; c < g->ci; c++)
        for (int64_t i = 0; i < g->rows; i++) {
            const int64_t row = i - w->padding[0];
            const int inside = row >= 0 && row < w->in[0];
            const T *x = (const T *)px + (c * w->in[0] + (inside ? row : 0)) * w->in[1];
            for (int64_t r = 0; r < s; r++, padded += g->width) {
                int64_t first = g->width, last = g->width;
                if (inside)
                    TN(conv_columns)(w, r, g->width, &first, &last);
                for (int64_t q = 0; q < first; q++)
                    padded[q] = 0;
                for (int64_t q = first; q < last; q++)
                    padded[q] = x[q * s + r - w->padding[1]];
                for (int64_t q = last; q < g->width; q++)
                    padded[q] = 0;
            }
        }
}

/* The way back.  What of gx no window has seen gets the bias (ci), or 0. */
static void TN(conv_crop)(const tga_conv *g, const tga_window *w, const void *ppadded,
                          const void *bias, void *pgx)
{
    const int64_t s = w->stride[1];
    T *gx = pgx;
    for (int64_t c = 0; c < g->ci; c++) {
        const T fill = bias ? ((const T *)bias)[c] : 0;
        for (int64_t row = 0; row < w->in[0]; row++, gx += w->in[1]) {
            const int64_t i = row + w->padding[0];
            for (int64_t j = 0; j < w->in[1]; j++)
                gx[j] = fill;
            if (i >= g->rows)
                continue;
            const T *padded = (const T *)ppadded + (c * g->rows + i) * s * g->width;
            for (int64_t r = 0; r < s; r++, padded += g->width) {
                int64_t first, last;
                TN(conv_columns)(w, r, g->width, &first, &last);
                for (int64_t q = first; q < last; q++)
                    gx[q * s + r - w->padding[1]] = padded[q];
            }
        }
    }
}

/* ---- patches -------------------------------------------------------------------------- */

static ALWAYS_INLINE void TN(conv_store)(T *p, V x, int64_t n)
{
    if (n < VL)
        v_store_n(p, x, n);
    else
        v_store(p, x);
}

/* patches: (k, ld), of the pixels of the runs.  Two runs that fill a vector together are
 * stored together: before the second, in the image, lies what is behind the first one's
 * beginning, so a whole vector can be read there. */
static inline void TN(conv_pack)(int64_t runs, const conv_run *run, int64_t k,
                                 const int64_t *offset, const T *image, T *patches, int64_t ld)
{
    for (int64_t r = 0; r < runs; r++) {
        const T *x = image + run[r].start;
        T *y = patches + run[r].pixel;
        const int64_t n = run[r].n;
        if (n == VL) {
            for (int64_t p = 0; p < k; p++)
                v_store(y + p * ld, v_load(x + offset[p]));
        } else if (r + 1 < runs && n + run[r + 1].n == VL) {
            const T *rest = image + run[++r].start - n;
            for (int64_t p = 0; p < k; p++)
                v_store(y + p * ld, v_load_or(x + offset[p], n, v_load(rest + offset[p])));
        } else {
            for (int64_t p = 0; p < k; p++)
                v_store_n(y + p * ld, v_load_n(x + offset[p], n), n);
        }
    }
}

/* n ones: the patch that the bias is the weight of */
static inline void TN(conv_ones)(int64_t n, T *patch)
{
    for (int64_t i = 0; i < n; i += VL)
        v_store(patch + i, v_splat(1));
}

/* ---- forward ---------------------------------------------------------------------------- */

/* image: laid out; w: (co, k + bias), the bias in the last column if there is one;
 * y: (co, pixels); patches: workspace (TGA_GEMM_KC, GEMM_NR) */
static void TN(conv_forward)(const tga_conv *g, const void *image, const void *w, int bias, void *y,
                             void *patches)
{
    conv_run run[GEMM_NV * VBYTES / sizeof(T)];
    const int64_t k = g->k + bias, blocks = (k + TGA_GEMM_KC - 1) / TGA_GEMM_KC;
    const int64_t kc = (k + blocks - 1) / blocks;
    tga_gemm_block block = {
        .m = g->co,
        .mr = conv_panel(g->co, GEMM_MR),
        .a_row = k,
        .a_step = 1,
        .alpha = 1,
        .ldc = g->pixels,
    };
    block.a_panel = block.mr * k;
    for (int64_t j = 0; j < g->pixels; j += GEMM_NR) {
        const int64_t n = g->pixels - j < GEMM_NR ? g->pixels - j : GEMM_NR;
        const int64_t runs = conv_runs(g, j, n, VL, run);
        for (int64_t p = 0; p < k; p += kc) {
            block.k = k - p < kc ? k - p : kc;
            block.a = (const T *)w + p;
            block.beta = p > 0;
            const int64_t seen = bias && p + block.k == k ? block.k - 1 : block.k;
            TN(conv_pack)(runs, run, seen, g->offset + p, image, patches, GEMM_NR);
            if (seen < block.k)
                TN(conv_ones)(GEMM_NR, (T *)patches + seen * GEMM_NR);
            TN(gemm_strip)(&block, n, patches, GEMM_NR, (T *)y + j, NULL);
        }
    }
}

/* ---- backward x ------------------------------------------------------------------------- */

/* The rows of a channel's image from the gradient of its patches, (taps, ld): each element
 * is the sum over the windows that have seen it.  Of a vector of patches those lanes count
 * that belong to the row; the others are masked. */
static inline void TN(conv_gather)(const tga_conv *g, const tga_conv_row *row,
                                   const tga_conv_row *end, const T *patches, V bias, T *gimage)
{
    const I *mask = g->mask;
    for (; row < end; row++)
        for (int64_t q = 0; q < g->width; q += VL) {
            T *at = gimage + row->to + q;
            const int64_t n = g->width - q;
            V sum = row->add ? TN(gemm_load)(at, n) : bias;
            for (const tga_conv_tap *tap = row->first; tap < row->last; tap++) {
                VI inside;
                memcpy(&inside, mask + tap->mask + q, sizeof inside);
                sum += (V)((VI)v_load(patches + tap->from + q) & inside);
            }
            TN(conv_store)(at, sum, n);
        }
}

/* gy: (co, pixels); w: (co, k); bias: (ci) or NULL; gimage: laid out, all of it is written;
 * gy_pack: workspace (pixels of a band / GEMM_NR rounded up, co, GEMM_NR);
 * patches: workspace (channels * taps, ld), and `width` and a vector before and behind it */
static void TN(conv_backward_x)(const tga_conv *g, const void *pgy, const void *w, const void *bias,
                                void *pgimage, void *pgy_pack, void *ppatches)
{
    T *gy_pack = pgy_pack, *patches = ppatches;
    const tga_conv_row *row = g->row;
    for (int64_t j0 = 0; j0 < g->pixels; j0 += g->band) {
        const int64_t pixels = g->pixels - j0 < g->band ? g->pixels - j0 : g->band;
        const T *gy = (const T *)pgy + j0;
        const tga_conv_row *end = row;
        while (end->band == row->band)
            end++;
        for (int64_t j = 0; j < pixels; j += GEMM_NR)
            TN(gemm_pack_strip)(0, pixels - j < GEMM_NR ? pixels - j : GEMM_NR, g->co, gy + j,
                                g->pixels, gy_pack + j * g->co);
        for (int64_t c = 0; c < g->ci; c += g->channels) {
            const int64_t channels = g->ci - c < g->channels ? g->ci - c : g->channels;
            const int64_t k = channels * g->taps, mr = conv_panel(k, GEMM_MR);
            for (int64_t j = 0; j < pixels; j += GEMM_NR) {
                const int64_t nv = pixels - j < GEMM_NR ? (pixels - j + VL - 1) / VL : GEMM_NV;
                for (int64_t i = 0; i < k; i += mr)
                    for (int64_t p = 0; p < g->co; p += TGA_GEMM_KC) {
                        const int64_t m = k - i < mr ? k - i : mr;
                        TN(gemm_tiles)[m - 1][nv - 1](
                            g->co - p < TGA_GEMM_KC ? g->co - p : TGA_GEMM_KC,
                            (const T *)w + p * g->k + c * g->taps + i, 1, g->k,
                            gy_pack + j * g->co + p * GEMM_NR, GEMM_NR, patches + i * g->ld + j,
                            g->ld, nv * VL, p > 0);
                    }
            }
            for (int64_t i = 0; i < channels; i++)
                TN(conv_gather)(g, row, end, patches + i * g->taps * g->ld,
                                bias ? v_splat(((const T *)bias)[c + i]) : (V){0},
                                (T *)pgimage + (c + i) * g->plane);
        }
        row = end;
    }
}

/* ---- backward w ------------------------------------------------------------------------- */

/* The share of one image in the gradient of w for output channels [0, co), and of the
 * bias, which is the weight of a patch of ones: row k of the result, if `bias`.
 * image: laid out; gy: (co, pixels); gw: (k + bias, co), is added to if `add`;
 * patches: workspace (GEMM_MR, TGA_GEMM_KC + 2 VL - 1);
 * gy_pack: workspace (co / GEMM_NR rounded up, TGA_GEMM_KC, GEMM_NR) */
static void TN(conv_backward_w)(const tga_conv *g, int bias, const void *image, int64_t co,
                                const void *pgy, void *pgw, int add, void *ppatches, void *pgy_pack)
{
    const T *gy = pgy;
    T *gw = pgw, *patches = ppatches, *gy_pack = pgy_pack;
    conv_run run[TGA_GEMM_KC];
    const int64_t rows = (image ? g->k : 0) + bias, mr = conv_panel(rows, GEMM_MR);
    const int64_t blocks = (g->pixels + TGA_GEMM_KC - 1) / TGA_GEMM_KC;
    const int64_t pc = (g->pixels + blocks - 1) / blocks;
    for (int64_t p = 0; p < g->pixels; p += pc, add = 1) {
        const int64_t depth = g->pixels - p < pc ? g->pixels - p : pc;
        const int64_t runs = conv_runs(g, p, depth, VL, run);
        const int64_t ld = ((depth + VL - 1) / VL | 1) * VL; /* as in gemm_pack_a */
        for (int64_t j = 0; j < co; j += GEMM_NR)
            TN(gemm_pack_strip)(1, co - j < GEMM_NR ? co - j : GEMM_NR, depth,
                                gy + j * g->pixels + p, g->pixels, gy_pack + j * depth);
        for (int64_t k = 0; k < rows; k += mr) {
            const int64_t m = rows - k < mr ? rows - k : mr;
            const int64_t seen = bias && k + m == rows ? m - 1 : m; /* not of ones */
            TN(conv_pack)(runs, run, seen, g->offset + k, image, patches, ld);
            if (seen < m)
                TN(conv_ones)(depth, patches + seen * ld);
            for (int64_t j = 0; j < co; j += GEMM_NR) {
                const int64_t n = co - j < GEMM_NR ? co - j : GEMM_NR;
                TN(gemm_tiles)[m - 1][(n + VL - 1) / VL - 1](depth, patches, ld, 1,
                                                             gy_pack + j * depth, GEMM_NR,
                                                             gw + k * co + j, co, n, add);
            }
        }
    }
}

/* sums: (parts, ...), each (k + 1, co) or, without gb, (k, co); gw: (co, k); gb: (co) or NULL */
static void TN(conv_collect)(int64_t parts, size_t part_bytes, int64_t k, int64_t co,
                             const void *sums, void *pgw, void *pgb)
{
    T *gw = pgw, *gb = pgb;
    for (int64_t i = 0; i < k + (gb != NULL); i++)
        for (int64_t j = 0; j < co; j += VL) {
            const int64_t n = co - j < VL ? co - j : VL;
            V total = {0};
            for (int64_t part = 0; part < parts; part++)
                total += TN(gemm_load)(
                    (const T *)((const char *)sums + (size_t)part * part_bytes) + i * co + j, n);
            T lanes[VBYTES / sizeof(T)];
            v_store(lanes, total);
            for (int64_t lane = 0; lane < n; lane++)
                *(i < k ? gw + (j + lane) * k + i : gb + j + lane) = lanes[lane];
        }
}
