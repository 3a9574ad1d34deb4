/* conv.tmpl.h: convolution of one image, as far as it depends on vectors and dtype.
 *
 * Parameters: those of vec.h and of gemm.tmpl.h.
 *
 * Each pass of a convolution is a sum of products over many steps, and all that differs is
 * what stands for rows, steps and lanes of the tile that is kept in registers:
 *
 *                            lanes: GEMM_NV vectors
 *                            +------------------+
 *                     steps  |       pack       |  a row for each step,
 *                            |                  |  read as whole vectors
 *             steps          +------------------+
 *         +-----------+      +------------------+
 *    rows |   image   |      |       tile       |  tile[r][l] = sum over p of
 *         +-----------+      +------------------+    image[offset[p] + r * row] * pack[p][l]
 *
 *                   rows                      steps                     lanes
 *     forward       pixels of a row of y      channels in * taps        w: channels out
 *     backward x    pixels of a row of gx     channels out * taps       w: channels in
 *     backward w    channels in, or taps      pixels of y               gy: channels out
 *
 * Of the image single elements are read, each repeated in all lanes, so it may lie as it
 * is: neighbouring pixels, seen through the same tap, are neighbours in the image.  Only
 * the lanes are packed: the weights once, gy image by image; finished tiles are turned
 * when they are stored, since images have their pixels, not channels, next to each other.
 * One core of 253 GFLOP/s (Zen 5) does 128 images of 32 x 26 x 26, 64 filters of 3 x 3, in 12.2
 * ms forward, 12.4 back to x and 12.4 back to w, which is 223, 219 and 219 GFLOP/s:
 * `python -m benchmarks cnn`.
 *
 * Backward x is a forward pass over gy with the window turned round.  With a stride of s,
 * pixels of gx that leave the same remainder by s are seen through the same taps: there
 * are s x s such passes, each over its own taps.
 *
 * In these padding is nowhere in memory: a pixel near the border is summed over those taps
 * alone that are inside.  So steps are ordered by tap columns, then tap rows, then channels:
 * those that a pixel skips are then few pieces.  A piece goes on with the sums of the one
 * before, and each element of y and gx is one chain of fma over its steps in their order.
 *
 * Results of few channels would leave most lanes empty, and sums of few steps take less time
 * than their turning round.  Then pixels take the lanes; see conv_narrow.  That, and backward w,
 * lay an image out with zeros around it where the window reaches beyond it.
 */
#ifndef TGA_CONV_TMPL_H
#define TGA_CONV_TMPL_H

/* What a tile does with the sums that are in memory. */
enum { CONV_WRITE, CONV_CONTINUE, CONV_ADD };

/* Lines of memory that will be needed soon: of the result, `step` bytes apart, and of what
 * is read for the next image.  A tile asks for one of each at every eighth step; asked for
 * all at once they would hold up the tile's own loads. */
typedef struct {
    const char *line;
    int64_t step, count;
} conv_lines;

typedef struct {
    conv_lines result, next[2];
} conv_soon;

static ALWAYS_INLINE void conv_ask(conv_soon *soon)
{
    if (soon->result.count > 0) {
        __builtin_prefetch(soon->result.line, 1);
        soon->result.line += soon->result.step;
        soon->result.count--;
    }
    for (int i = 0; i < 2; i++)
        if (soon->next[i].count > 0) {
            __builtin_prefetch(soon->next[i].line, 0, 2); /* into the L2 cache */
            soon->next[i].line += 64;
            soon->next[i].count--;
        }
}

/* All lines of `bytes` from `at` on, or none if that is NULL. */
static inline conv_lines conv_lines_of(const void *at, size_t bytes)
{
    return (conv_lines){at, 64, at ? (int64_t)(bytes / 64) + 1 : 0};
}

/* Bytes from where conv_few writes to where it will soon. */
#define CONV_AHEAD 512

/* The height of panels of m rows: all equal, but for the last. */
static int64_t conv_panel(int64_t m, int64_t mr)
{
    const int64_t panels = (m + mr - 1) / mr;
    return (m + panels - 1) / panels;
}

static int64_t conv_min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t conv_max(int64_t a, int64_t b) { return a > b ? a : b; }

#define CONV_TABLE(suffix)                                                                         \
    {                                                                                              \
        .pack = conv_pack_##suffix, .wide = conv_wide_##suffix, .narrow = conv_narrow_##suffix,    \
        .lay_out = conv_lay_out_##suffix, .backward_w = conv_backward_w_##suffix,                  \
        .collect = conv_collect_##suffix,                                                          \
    }

#endif

/* ---- the tile -------------------------------------------------------------------------- */

/* sums (mr, nv vectors), rows ld apart; pack: (steps, GEMM_NR) */
static ALWAYS_INLINE void TN(conv_tile)(const int mr, const int nv, int64_t steps, const T *image,
                                        int64_t start, const int64_t *offset, int64_t row,
                                        const T *pack, T *sums, int64_t ld, int how,
                                        conv_soon *soon)
{
    V acc[GEMM_MR][GEMM_NV];
    GEMM_UNROLL
    for (int i = 0; i < mr; i++)
        GEMM_UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = how == CONV_CONTINUE ? v_load(sums + i * ld + v * VL) : (V){0};

    int64_t odd[(GEMM_MR + 1) / 2]; /* multiples of the row's length: see gemm_tile */
    GEMM_UNROLL
    for (int i = 0; i < mr; i += 2)
        odd[i / 2] = (i + 1) * row * (int64_t)sizeof(T);

    for (int64_t p = 0; p < steps;) {
        const int64_t end = steps - p < 8 ? steps : p + 8;
        conv_ask(soon);
        for (; p < end; p++) {
            const char *a_p = (const char *)(image + (start + offset[p]));
            V b_p[GEMM_NV];
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                b_p[v] = v_load(pack + p * GEMM_NR + v * VL);
            GEMM_UNROLL
            for (int i = 0; i < mr; i += 2)
                GEMM_KEEP(odd[i / 2]);
            GEMM_UNROLL
            for (int i = 0; i < mr; i++) {
                const int twos = i ? __builtin_ctz((unsigned)i) : 0;
                const int64_t r = i ? odd[i >> twos >> 1] << twos : 0;
                const V a_ip = v_splat(*(const T *)(a_p + r));
                GEMM_UNROLL
                for (int v = 0; v < nv; v++)
                    acc[i][v] = v_fma(a_ip, b_p[v], acc[i][v]);
            }
        }
    }

    GEMM_UNROLL
    for (int i = 0; i < mr; i++)
        GEMM_UNROLL
        for (int v = 0; v < nv; v++) {
            T *to = sums + i * ld + v * VL;
            v_store(to, how == CONV_ADD ? acc[i][v] + v_load(to) : acc[i][v]);
        }
}

/* One function for each height and width, as of the gemm. */
typedef void TN(conv_tile_fn)(int64_t steps, const T *image, int64_t start, const int64_t *offset,
                              int64_t row, const T *pack, T *sums, int64_t ld, int how,
                              conv_soon *soon);
#define CONV_TILE(mr, nv)                                                                          \
    static void TN(conv_tile_##mr##x##nv)(int64_t steps, const T *image, int64_t start,            \
                                          const int64_t *offset, int64_t row, const T *pack,       \
                                          T *sums, int64_t ld, int how, conv_soon *soon)         \
    {                                                                                              \
        TN(conv_tile)(mr, nv, steps, image, start, offset, row, pack, sums, ld, how, soon);       \
    }
#define CONV_ROW(mr) CONV_TILE(mr, 1) CONV_TILE(mr, 2)
CONV_ROW(1)
CONV_ROW(2)
CONV_ROW(3)
CONV_ROW(4)
CONV_ROW(5)
CONV_ROW(6)
#if GEMM_MR > 6
CONV_ROW(7)
CONV_ROW(8)
CONV_ROW(9)
CONV_ROW(10)
CONV_ROW(11)
CONV_ROW(12)
CONV_ROW(13)
CONV_ROW(14)
#endif
#undef CONV_TILE
#undef CONV_ROW

#define CONV_ROW(mr) {TN(conv_tile_##mr##x1), TN(conv_tile_##mr##x2)}
static TN(conv_tile_fn) *const TN(conv_tiles)[GEMM_MR][GEMM_NV] = {
    CONV_ROW(1),  CONV_ROW(2),  CONV_ROW(3),  CONV_ROW(4),
    CONV_ROW(5),  CONV_ROW(6),
#if GEMM_MR > 6
    CONV_ROW(7),  CONV_ROW(8),  CONV_ROW(9),  CONV_ROW(10),
    CONV_ROW(11), CONV_ROW(12), CONV_ROW(13), CONV_ROW(14),
#endif
};
#undef CONV_ROW

/* ---- forward and backward x ----------------------------------------------------------- */

/* Weights of lanes [0, lanes): w[lane * w_lane + channel * w_channel + tap] to
 * pack: (steps, ld), 0 in the lanes that are left */
static void TN(conv_pack)(const tga_conv *g, int64_t lanes, const void *w, int64_t w_lane,
                          int64_t w_channel, int64_t window_columns, int64_t ld, void *ppack)
{
    T *pack = ppack;
    for (int64_t q = 0; q < g->across.taps; q++)
        for (int64_t p = 0; p < g->down.taps; p++) {
            const int64_t tap = g->down.tap[p].place * window_columns + g->across.tap[q].place;
            for (int64_t c = 0; c < g->ci; c++, pack += ld) {
                const T *from = (const T *)w + c * w_channel + tap;
                for (int64_t l = 0; l < ld; l++)
                    pack[l] = l < lanes ? from[l * w_lane] : 0;
            }
        }
}

/* Pixels [p, p + n) of a channel, n <= VL.  y: where the channel begins */
static ALWAYS_INLINE void TN(conv_put)(const tga_conv *g, T *y, int64_t p, V x, int64_t n)
{
    if (g->y_whole) {
        if (n < VL)
            v_store_n(y + p, x, n);
        else
            v_store(y + p, x);
        return;
    }
    T lanes[VBYTES / sizeof(T)];
    v_store(lanes, x);
    int64_t i = p / g->across.out, j = p % g->across.out;
    for (int64_t l = 0; l < n; l++) {
        y[i * g->y_row + j * g->y_pixel] = lanes[l];
        if (++j == g->across.out) {
            j = 0;
            i++;
        }
    }
}

/* Sums of pixels [first, first + n), (n, GEMM_NR), turned round into y: (lanes, ...) */
static inline void TN(conv_turn)(const tga_conv *g, int64_t first, int64_t n, int64_t lanes,
                                 const T *sums, const T *bias, T *y)
{
    for (int64_t p = 0; p < n; p += VL) {
        int64_t row[VBYTES / sizeof(T)];
        TN(gemm_rows)(p, n, GEMM_NR, row);
        const int64_t pixels = conv_min(n - p, VL);
        for (int64_t l = 0; l < lanes; l += VL) {
            V column[VBYTES / sizeof(T)];
            TN(gemm_transpose)(VBYTES / 16, sums + l, row, column);
            for (int64_t c = 0; c < conv_min(lanes - l, VL); c++)
                TN(conv_put)(g, y + (l + c) * g->y_plane, first + p,
                             bias ? column[c] + v_splat(bias[l + c]) : column[c], pixels);
        }
    }
}

/* The sums of row i of the result, (columns, GEMM_NR), for one block of lanes. */
static inline void TN(conv_row)(const tga_conv *g, int64_t i, int64_t nv, const T *image,
                                const T *pack, T *sums, T *y, int64_t lanes, conv_soon *soon)
{
    /* Tap rows [above, below) are inside the image; pixels [left, right) see every column. */
    const tga_conv_axis *down = &g->down, *across = &g->across;
    int64_t above = 0, below = down->taps, left = 0, right = across->out;
    while (above < below && (i < down->tap[above].first || i >= down->tap[above].last))
        above++;
    while (above < below && (i < down->tap[below - 1].first || i >= down->tap[below - 1].last))
        below--;
    for (int64_t q = 0; q < across->taps; q++) {
        left = conv_max(left, across->tap[q].first);
        right = conv_min(right, across->tap[q].last);
    }
    const int64_t row = across->step, start = i * down->step * across->in;
    const int64_t mr = conv_panel(across->out, GEMM_MR);
    for (int64_t j = 0; j < across->out; j += mr) {
        const int64_t end = conv_min(j + mr, across->out);
        soon->result = (conv_lines){(const char *)(y + (i * g->y_row + (end - 1) * g->y_pixel)),
                                    g->y_plane * (int64_t)sizeof(T), lanes};
        if (below - above == down->taps && left <= j && end <= right) {
            TN(conv_tiles)[end - j - 1][nv - 1](g->steps, image, start + j * row, g->offset, row,
                                                pack, sums + j * GEMM_NR, GEMM_NR, CONV_WRITE,
                                                soon);
            continue;
        }
        memset(sums + j * GEMM_NR, 0, (size_t)((end - j) * GEMM_NR) * sizeof(T));
        for (int64_t q = 0; q < across->taps && above < below; q++) {
            const int64_t from = conv_max(j, across->tap[q].first);
            const int64_t to = conv_min(end, across->tap[q].last);
            const int64_t step = (q * down->taps + above) * g->ci;
            if (from < to)
                TN(conv_tiles)[to - from - 1][nv - 1]((below - above) * g->ci, image,
                                                      start + from * row, g->offset + step, row,
                                                      pack + step * GEMM_NR,
                                                      sums + from * GEMM_NR, GEMM_NR,
                                                      CONV_CONTINUE, soon);
        }
    }
}

/* image: (ci, rows, columns); pack: (co / GEMM_NR rounded up, steps, GEMM_NR); bias: (co) or
 * NULL; y: (co, ...); next: the image that comes next, or NULL;
 * sums: workspace (band rows, columns of y, GEMM_NR) */
static void TN(conv_wide)(const tga_conv *g, const void *image, const void *pack, const void *pbias,
                          void *py, const void *next, void *sums)
{
    const T *bias = pbias;
    conv_soon soon = {.next = {conv_lines_of(next, g->image_bytes)}};
    for (int64_t c = 0; c < g->co; c += GEMM_NR) {
        const int64_t lanes = conv_min(g->co - c, GEMM_NR), nv = (lanes + VL - 1) / VL;
        T *y = (T *)py + c * g->y_plane;
        for (int64_t i = 0; i < g->down.out; i += g->band) {
            const int64_t end = conv_min(i + g->band, g->down.out);
            for (int64_t r = i; r < end; r++)
                TN(conv_row)(g, r, nv, image, (const T *)pack + c * g->steps,
                             (T *)sums + (r - i) * g->across.out * GEMM_NR, y, lanes, &soon);
            TN(conv_turn)(g, i * g->across.out, (end - i) * g->across.out, lanes, sums,
                          bias ? bias + c : NULL, y);
        }
    }
}

/* ---- the image, laid out with zeros around it -------------------------------------------- */

/* Places of the image are `before` from the left; those of one remainder by the step lie
 * together.  Of remainder r: those with first <= q < last are in the image. */
static inline void TN(conv_columns)(const tga_conv_layout *l, int64_t r, int64_t *first,
                                    int64_t *last)
{
    const int64_t s = l->step, before = l->before[1], end = before + l->in[1];
    *last = end > r ? conv_min((end - r + s - 1) / s, l->width) : 0;
    *first = conv_min(before > r ? (before - r + s - 1) / s : 0, *last);
}

/* x: (channels, in[0], in[1]) -> y: (channels, rows, step, width), channels `plane` apart */
static void TN(conv_lay_out)(const tga_conv_layout *l, const void *px, void *py)
{
    for (int64_t c = 0; c < l->channels; c++) {
        T *y = (T *)py + c * l->plane;
        for (int64_t i = 0; i < l->rows; i++) {
            const int64_t row = i - l->before[0];
            const int inside = row >= 0 && row < l->in[0];
            const T *x = (const T *)px + (c * l->in[0] + (inside ? row : 0)) * l->in[1];
            for (int64_t r = 0; r < l->step; r++, y += l->width) {
                int64_t first = l->width, last = l->width;
                if (inside)
                    TN(conv_columns)(l, r, &first, &last);
                for (int64_t q = 0; q < first; q++)
                    y[q] = 0;
                if (l->step == 1 && first < last)
                    memcpy(y + first, x + (first - l->before[1]), (size_t)(last - first) * sizeof(T));
                else
                    for (int64_t q = first; q < last; q++)
                        y[q] = x[q * l->step + r - l->before[1]];
                for (int64_t q = last; q < l->width; q++)
                    y[q] = 0;
            }
        }
    }
}

/* ---- forward and backward x of few channels, or few steps -------------------------------- */

/* Lanes are pixels of a row here, rows of the tile channels of the result or, if there is
 * but one, rows of the result; nothing needs to be turned.  A tile at channel c, pixel (i, j).
 * What it computes beyond the result is not kept. */
static ALWAYS_INLINE void TN(conv_few)(const int mr, const int nv, const int by_channels,
                                       const tga_conv *g, int64_t c, int64_t i, int64_t j,
                                       const T *image, const T *w, const T *bias, T *y)
{
    const int64_t columns = g->across.out, row = by_channels ? 0 : g->layout.pitch;
    const int64_t w_row = by_channels ? g->steps : 0;
    const int64_t kept = by_channels ? g->co - c : g->down.out - i;
    image += i * g->layout.pitch + j;
    w += c * g->steps;
    y += c * g->y_plane;
    V acc[TGA_CONV_NARROW_ROWS][2];
    GEMM_UNROLL
    for (int r = 0; r < mr; r++)
        GEMM_UNROLL
        for (int v = 0; v < nv; v++)
            acc[r][v] = (V){0};
    for (int64_t p = 0; p < g->steps; p++, w++)
        GEMM_UNROLL
        for (int r = 0; r < mr; r++)
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                acc[r][v] = v_fma(v_splat(w[r * w_row]),
                                  v_load(image + g->offset[p] + r * row + v * VL), acc[r][v]);
    GEMM_UNROLL
    for (int r = 0; r < mr; r++) {
        if (r >= kept)
            break;
        T *to = y + (by_channels ? r * g->y_plane : 0);
        const int64_t p = (by_channels ? i : i + r) * columns + j;
        __builtin_prefetch((const char *)(to + p) + CONV_AHEAD, 1);
        GEMM_UNROLL
        for (int v = 0; v < nv; v++)
            if (j + v * VL < columns)
                TN(conv_put)(g, to, p + v * VL,
                             bias ? acc[r][v] + v_splat(bias[by_channels ? c + r : c]) : acc[r][v],
                             conv_min(columns - j - v * VL, VL));
    }
}

/* image: laid out; pack: (co, steps), and so many more that a tile is whole; bias: (co) or
 * NULL; y: (co, ...) */
static void TN(conv_narrow)(const tga_conv *g, const void *image, const void *pack,
                            const void *bias, void *y)
{
    const int64_t columns = g->across.out, nv = columns > VL ? 2 : 1, mr = TGA_CONV_NARROW_ROWS / nv;
    const int by_channels = g->co > 1;
    for (int64_t c = 0; c < g->co; c += by_channels ? mr : 1)
        for (int64_t i = 0; i < g->down.out; i += by_channels ? 1 : mr)
            for (int64_t j = 0; j < columns; j += nv * VL)
                if (by_channels && nv == 2)
                    TN(conv_few)(4, 2, 1, g, c, i, j, image, pack, bias, y);
                else if (by_channels)
                    TN(conv_few)(8, 1, 1, g, c, i, j, image, pack, bias, y);
                else if (nv == 2)
                    TN(conv_few)(4, 2, 0, g, c, i, j, image, pack, bias, y);
                else
                    TN(conv_few)(8, 1, 0, g, c, i, j, image, pack, bias, y);
}

/* ---- backward w ------------------------------------------------------------------------- */

/* sums (nv vectors) += those of n rows of pack, (n, GEMM_NR) */
static inline void TN(conv_count)(int64_t n, int64_t nv, const T *pack, T *sums)
{
    for (int64_t v = 0; v < nv; v++, pack += VL, sums += VL) {
        V part[4] = {{0}, {0}, {0}, {0}};
        int64_t p = 0;
        for (; p + 4 <= n; p += 4)
            GEMM_UNROLL
            for (int64_t i = 0; i < 4; i++)
                part[i] += v_load(pack + (p + i) * GEMM_NR);
        for (; p < n; p++)
            part[0] += v_load(pack + p * GEMM_NR);
        v_store(sums, v_load(sums) + ((part[0] + part[1]) + (part[2] + part[3])));
    }
}

/* The share of one image in the gradient of w for output channels [0, co), and of the bias,
 * which is row k of the result, if there is one.  Rows of the tile are the channels, the columns
 * of the window or, of an image laid out once for each tap, both.
 * image: laid out, or NULL if the bias alone is wanted; gy: (co, pixels); next: those that
 * come next, or NULL; sums: (k + bias, ld), is added to; gy_pack: workspace
 * (co / GEMM_NR rounded up, steps at a time, GEMM_NR) */
static void TN(conv_backward_w)(const tga_conv_weights *g, int bias, const void *image, int64_t co,
                                const void *pgy, const void *next_image, const void *next_gy,
                                void *psums, int64_t ld, void *pgy_pack)
{
    const T *gy = pgy;
    T *sums = psums, *gy_pack = pgy_pack;
    conv_soon soon = {.next = {
        conv_lines_of(next_image, g->image_bytes),
        conv_lines_of(next_gy, (size_t)(co * g->pixels) * sizeof(T)),
    }};
    const int64_t mr = conv_panel(g->rows, GEMM_MR);
    for (int64_t p = 0; p < g->pixels; p += g->depth) {
        const int64_t depth = conv_min(g->pixels - p, g->depth);
        for (int64_t j = 0; j < co; j += GEMM_NR) {
            const int64_t n = conv_min(co - j, GEMM_NR), nv = (n + VL - 1) / VL;
            TN(gemm_pack_strip)(1, n, depth, gy + j * g->pixels + p, g->pixels, gy_pack);
            if (bias)
                TN(conv_count)(depth, nv, gy_pack, sums + g->k * ld + j);
            for (int64_t other = 0; image && other < g->others; other++) {
                const tga_conv_place *at = &g->other[other];
                for (int64_t r = 0; r < g->rows; r += mr)
                    TN(conv_tiles)[conv_min(g->rows - r, mr) - 1][nv - 1](
                        depth, image, at->image + r * g->row, g->offset + p, g->row, gy_pack,
                        sums + (at->k + r * g->row_k) * ld + j, g->row_k * ld, CONV_ADD,
                        &soon);
            }
        }
    }
}

/* sums: (parts, ...), each (k + 1, ld) or, without gb, (k, ld); gw: (co, k); gb: (co) or NULL */
static void TN(conv_collect)(int64_t parts, size_t part_bytes, int64_t k, int64_t co, int64_t ld,
                             const void *sums, void *pgw, void *pgb)
{
    T *gw = pgw, *gb = pgb;
    for (int64_t i = 0; i < k + (gb != NULL); i++)
        for (int64_t j = 0; j < co; j += VL) {
            V total = {0};
            for (int64_t part = 0; part < parts; part++)
                total += v_load((const T *)((const char *)sums + (size_t)part * part_bytes) +
                                i * ld + j);
            T lanes[VBYTES / sizeof(T)];
            v_store(lanes, total);
            for (int64_t lane = 0; lane < conv_min(co - j, VL); lane++)
                *(i < k ? gw + (j + lane) * k + i : gb + j + lane) = lanes[lane];
        }
}
