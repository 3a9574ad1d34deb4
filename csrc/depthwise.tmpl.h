/* depthwise.tmpl.h: convolution of one channel with a window of its own.
 *
 * Parameters: those of vec.h.
 *
 * There is nothing to be summed but the taps, too little for a tile of conv.tmpl.h.  So this is
 * done as pooling is: the pixels of a row of the result take the lanes, of a plane that is laid
 * out with zeros to its left and right, see pool.tmpl.h.
 */

/* What rows [i, end) of the result have in common. */
typedef struct {
    int64_t end;
    int64_t rows; /* of a window that are inside */
    int64_t tap;  /* the first that is */
    int64_t seen; /* where, in the plane laid out, it is for the first of the rows */
    int64_t step; /* from there to where it is for the next */
} TN(depthwise_run);

/* All rows whose windows are inside are taken together, others one by one. */
static inline TN(depthwise_run) TN(depthwise_rows)(const tga_pool *g, int64_t i)
{
    const tga_window *w = g->window;
    const int64_t line = w->stride[1] * g->width, last = (w->size[0] - 1) * w->dilation[0];
    const pool_taps down = pool_clip(w, 0, i);
    TN(depthwise_run) run = {.end = i + 1, .step = w->stride[0] * line};
    if (down.last > down.first) {
        run.rows = down.last - down.first;
        run.tap = down.first * w->size[1];
        run.seen = (down.begin + down.first * w->dilation[0]) * line;
    }
    if (run.rows == w->size[0])
        while (run.end < w->out[0] && down.begin + (run.end - i) * w->stride[0] + last < w->in[0])
            run.end++;
    return run;
}

/* x: (in) laid out, w: (taps), y: (out).  A window has rows x columns that are inside: constants
 * for the common size, so that its weights stay in registers. */
static ALWAYS_INLINE void TN(depthwise_forward_rows)(const tga_pool *g, TN(depthwise_run) run,
                                                     int64_t rows, int64_t columns, int64_t i,
                                                     const T *laid, const T *w, V b, T *y)
{
    const tga_window *window = g->window;
    const int64_t line = window->dilation[0] * window->stride[1] * g->width, n = window->out[1];
    V weight[TGA_DEPTHWISE_TAPS];
    int64_t place[TGA_DEPTHWISE_TAPS];
    for (int64_t p = 0; p < rows; p++)
        for (int64_t q = 0; q < columns; q++) {
            weight[p * columns + q] = v_splat(w[run.tap + p * columns + q]);
            place[p * columns + q] = p * line + g->offset[q];
        }
    laid += run.seen;
    for (y += i * n; i < run.end; i++, y += n, laid += run.step) {
        int64_t j = 0;
        for (; j + VL < n; j += 2 * VL) {
            V sum[2] = {K(0), K(0)};
            for (int64_t k = 0; k < rows * columns; k++) {
                sum[0] = v_fma(weight[k], v_load(laid + (place[k] + j)), sum[0]);
                sum[1] = v_fma(weight[k], v_load(laid + (place[k] + j + VL)), sum[1]);
            }
            v_store(y + j, sum[0] + b);
            TN(store_some)(y + j + VL, sum[1] + b, n - j - VL);
        }
        if (j < n) {
            V sum = K(0);
            for (int64_t k = 0; k < rows * columns; k++)
                sum = v_fma(weight[k], v_load(laid + (place[k] + j)), sum);
            TN(store_some)(y + j, sum + b, n - j);
        }
    }
}

/* x: (in), w: (size), bias: (1) or NULL, y: (out); turned: w is read from its end.  memory: a
 * plane laid out */
static void TN(depthwise_forward)(const tga_pool *g, int turned, void *memory, const void *px,
                                  const void *pw, const void *bias, void *py)
{
    const int64_t columns = g->window->size[1], taps = g->window->size[0] * columns;
    T w[TGA_DEPTHWISE_TAPS];
    for (int64_t k = 0; k < taps; k++)
        w[k] = ((const T *)pw)[turned ? taps - 1 - k : k];
    TN(pool_lay_out)(g, 0, px, memory);
    const V b = bias ? v_splat(*(const T *)bias) : K(0);
    TN(depthwise_run) run;
    for (int64_t i = 0; i < g->window->out[0]; i = run.end) {
        run = TN(depthwise_rows)(g, i);
        if (run.rows == 3 && columns == 3)
            TN(depthwise_forward_rows)(g, run, 3, 3, i, memory, w, b, py);
        else
            TN(depthwise_forward_rows)(g, run, run.rows, columns, i, memory, w, b, py);
    }
}

/* gy: (out), x: (in) laid out, sums: (taps and the bias, VL) */
static ALWAYS_INLINE void TN(depthwise_backward_w_rows)(const tga_pool *g, TN(depthwise_run) run,
                                                        int64_t rows, int64_t columns, int64_t i,
                                                        const T *gy, const T *laid, V *sums)
{
    const tga_window *window = g->window;
    const int64_t taps = rows * columns, n = window->out[1];
    const int64_t line = window->dilation[0] * window->stride[1] * g->width;
    V sum[TGA_DEPTHWISE_TAPS], all = sums[window->size[0] * columns];
    int64_t place[TGA_DEPTHWISE_TAPS];
    for (int64_t p = 0; p < rows; p++)
        for (int64_t q = 0; q < columns; q++) {
            sum[p * columns + q] = sums[run.tap + p * columns + q];
            place[p * columns + q] = p * line + g->offset[q];
        }
    laid += run.seen;
    for (gy += i * n; i < run.end; i++, gy += n, laid += run.step) {
        int64_t j = 0;
        for (; j + VL <= n; j += VL) {
            const V here = v_load(gy + j);
            for (int64_t k = 0; k < taps; k++)
                sum[k] = v_fma(here, v_load(laid + (place[k] + j)), sum[k]);
            all = all + here;
        }
        if (j < n) { /* what a tap does not see may be infinite */
            const V here = v_load_n(gy + j, n - j);
            for (int64_t k = 0; k < taps; k++)
                sum[k] = v_fma(here, v_load_n(laid + (place[k] + j), n - j), sum[k]);
            all = all + here;
        }
    }
    for (int64_t k = 0; k < taps; k++)
        sums[run.tap + k] = sum[k];
    sums[window->size[0] * columns] = all;
}

/* gy: (images, channels, out), x: (images, channels, in), of which the first channel is
 * meant; sums: (taps and the bias).  memory: a plane laid out */
static void TN(depthwise_backward_w)(const tga_pool *g, void *memory, int64_t images,
                                     int64_t channels, const void *pgy, const void *px,
                                     void *psums)
{
    const tga_window *w = g->window;
    const int64_t columns = w->size[1], taps = w->size[0] * columns;
    const T *gy = pgy, *x = px;
    T *sums = psums;
    V lanes[TGA_DEPTHWISE_TAPS + 1];
    for (int64_t k = 0; k <= taps; k++)
        lanes[k] = K(0);
    for (int64_t image = 0; image < images; image++) {
        TN(pool_lay_out)(g, 0, x, memory);
        TN(depthwise_run) run;
        for (int64_t i = 0; i < w->out[0]; i = run.end) {
            run = TN(depthwise_rows)(g, i);
            if (run.rows == 3 && columns == 3)
                TN(depthwise_backward_w_rows)(g, run, 3, 3, i, gy, memory, lanes);
            else
                TN(depthwise_backward_w_rows)(g, run, run.rows, columns, i, gy, memory, lanes);
        }
        gy += channels * w->out[0] * w->out[1];
        x += channels * w->in[0] * w->in[1];
    }
    for (int64_t k = 0; k <= taps; k++)
        sums[k] = v_hsum(lanes[k]);
}
