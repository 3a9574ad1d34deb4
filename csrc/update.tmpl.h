/* update.tmpl.h: one step of an optimizer on one tensor, in place.
 *
 * Parameters: those of vec.h.
 */

/* p = p - lr * g; p, g: (n).  A product and a difference, each rounded, as the
 * same step written with tensors. */
static void TN(sgd)(int64_t n, void *pp, const void *pg, double lr)
{
    T *p = pp;
    const T *g = pg;
    const V step = v_splat((T)lr);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(p + i, v_load(p + i) - step * v_load(g + i));
    if (i < n)
        v_store_n(p + i, v_load_n(p + i, n - i) - step * v_load_n(g + i, n - i), n - i);
}
