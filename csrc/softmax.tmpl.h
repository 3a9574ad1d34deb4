/* softmax.tmpl.h: softmax and log-softmax of the rows of a matrix.
 *
 * Parameters: those of vec.h.  A row's result depends on that row alone, and
 * its sums are those of reduce.tmpl.h.
 */

/* y[i] = exp(x[i] - top) */
static inline void TN(softmax_exp)(int64_t n, const T *x, T top, T *y)
{
    const V vtop = v_splat(top);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(y + i, v_exp(v_load(x + i) - vtop));
    if (i < n)
        v_store_n(y + i, v_exp(v_load_n(x + i, n - i) - vtop), n - i);
}

/* x, y: (rows, n) */
static void TN(softmax_forward)(int64_t rows, int64_t n, const void *px, void *py)
{
    const T *x = px;
    T *y = py;
    for (int64_t row = 0; row < rows; row++, x += n, y += n) {
        T top, sum;
        TN(max_reduce)(n, x, &top);
        TN(softmax_exp)(n, x, top, y);
        TN(sum_reduce)(n, y, &sum);
        const T scale = 1 / sum;
        for (int64_t i = 0; i < n; i++)
            y[i] *= scale;
    }
}

static void TN(log_softmax_forward)(int64_t rows, int64_t n, const void *px, void *py)
{
    const T *x = px;
    T *y = py;
    for (int64_t row = 0; row < rows; row++, x += n, y += n) {
        T top, sum;
        TN(max_reduce)(n, x, &top);
        TN(softmax_exp)(n, x, top, y);
        TN(sum_reduce)(n, y, &sum);
        const T log_sum = v_log(v_splat(sum))[0];
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - top) - log_sum;
    }
}

/* gx = y * (gy - sum(gy * y)); gy, y, gx: (rows, n) */
static void TN(softmax_backward)(int64_t rows, int64_t n, const void *pgy, const void *py, void *pgx)
{
    const T *gy = pgy, *y = py;
    T *gx = pgx;
    for (int64_t row = 0; row < rows; row++, gy += n, y += n, gx += n) {
        T sum;
        for (int64_t i = 0; i < n; i++)
            gx[i] = gy[i] * y[i];
        TN(sum_reduce)(n, gx, &sum);
        for (int64_t i = 0; i < n; i++)
            gx[i] = y[i] * (gy[i] - sum);
    }
}

/* gx = gy - exp(y) * sum(gy) */
static void TN(log_softmax_backward)(int64_t rows, int64_t n, const void *pgy, const void *py,
                                     void *pgx)
{
    const T *gy = pgy, *y = py;
    T *gx = pgx;
    for (int64_t row = 0; row < rows; row++, gy += n, y += n, gx += n) {
        T sum;
        TN(sum_reduce)(n, gy, &sum);
        TN(softmax_exp)(n, y, 0, gx);
        for (int64_t i = 0; i < n; i++)
            gx[i] = gy[i] - gx[i] * sum;
    }
}
