/* depthwise.tmpl.h: convolution of one channel with a window of its own.
 *
 * Parameters: those of vec.h.
 *
 * There is nothing to be summed but the taps, too little for a tile of conv.tmpl.h.  So this is
 * done as pooling is: the pixels of a row of the result take the lanes, of a plane that is laid
 * out with zeros to its left and right, see pool.tmpl.h.
 */

/* Where the taps are, from the row on where a window begins. */
static inline void TN(depthwise_places)(const tga_pool *g, int64_t *place)
{
    const tga_window *w = g->window;
    for (int64_t p = 0; p < w->size[0]; p++)
        for (int64_t q = 0; q < w->size[1]; q++)
            *place++ = p * w->dilation[0] * w->stride[1] * g->width + g->offset[q];
}

/* x: (in), w: (size), bias: (1) or NULL, y: (out); turned: w is read from its end.  memory: a
 * plane laid out */
static void TN(depthwise_forward)(const tga_pool *g, int turned, void *memory, const void *px,
                                  const void *pw, const void *bias, void *py)
{
    const tga_window *window = g->window;
    const int64_t taps = window->size[0] * window->size[1];
    T *laid = memory, *y = py, w[TGA_DEPTHWISE_TAPS];
    for (int64_t k = 0; k < taps; k++)
        w[k] = ((const T *)pw)[turned ? taps - 1 - k : k];
    TN(pool_lay_out)(g, 0, px, laid);
    const V b = bias ? v_splat(*(const T *)bias) : K(0);
    int64_t place[TGA_DEPTHWISE_TAPS];
    TN(depthwise_places)(g, place);
    for (int64_t i = 0; i < window->out[0]; i++, y += window->out[1]) {
        const pool_taps down = pool_clip(window, 0, i);
        const int64_t first = down.first * window->size[1], last = down.last * window->size[1];
        const int64_t row = down.begin * window->stride[1] * g->width;
        int64_t j = 0;
        for (; j + VL < window->out[1]; j += 2 * VL) {
            V sum[2] = {K(0), K(0)};
            for (int64_t k = first; k < last; k++) {
                const T *seen = laid + (row + place[k] + j);
                sum[0] = v_fma(v_splat(w[k]), v_load(seen), sum[0]);
                sum[1] = v_fma(v_splat(w[k]), v_load(seen + VL), sum[1]);
            }
            v_store(y + j, sum[0] + b);
            TN(store_some)(y + j + VL, sum[1] + b, window->out[1] - j - VL);
        }
        if (j < window->out[1]) {
            V sum = K(0);
            for (int64_t k = first; k < last; k++)
                sum = v_fma(v_splat(w[k]), v_load(laid + (row + place[k] + j)), sum);
            TN(store_some)(y + j, sum + b, window->out[1] - j);
        }
    }
}

/* gy: (images, channels, out), x: (images, channels, in), of which the first channel is
 * meant; sums: (taps and the bias).  memory: a plane laid out */
static void TN(depthwise_backward_w)(const tga_pool *g, void *memory, int64_t images,
                                     int64_t channels, const void *pgy, const void *px,
                                     void *psums)
{
    const tga_window *w = g->window;
    const int64_t taps = w->size[0] * w->size[1];
    const int64_t in = w->in[0] * w->in[1], out = w->out[0] * w->out[1];
    const T *gy = pgy, *x = px;
    T *laid = memory, *sums = psums;
    V lanes[TGA_DEPTHWISE_TAPS + 1];
    int64_t place[TGA_DEPTHWISE_TAPS];
    TN(depthwise_places)(g, place);
    for (int64_t k = 0; k <= taps; k++)
        lanes[k] = K(0);
    for (int64_t image = 0; image < images; image++) {
        TN(pool_lay_out)(g, 0, x + image * channels * in, laid);
        const T *from = gy + image * channels * out;
        for (int64_t i = 0; i < w->out[0]; i++, from += w->out[1]) {
            const pool_taps down = pool_clip(w, 0, i);
            const int64_t first = down.first * w->size[1], last = down.last * w->size[1];
            const int64_t row = down.begin * w->stride[1] * g->width;
            for (int64_t j = 0; j < w->out[1]; j += VL) {
                const int64_t n = w->out[1] - j;
                const V here = TN(pool_load)(from + j, n);
                if (n >= VL)
                    for (int64_t k = first; k < last; k++)
                        lanes[k] = v_fma(here, v_load(laid + (row + place[k] + j)), lanes[k]);
                else /* what a tap does not see may be infinite */
                    for (int64_t k = first; k < last; k++)
                        lanes[k] = v_fma(here, v_load_n(laid + (row + place[k] + j), n), lanes[k]);
                lanes[taps] = lanes[taps] + here;
            }
        }
    }
    for (int64_t k = 0; k <= taps; k++)
        sums[k] = v_hsum(lanes[k]);
}
