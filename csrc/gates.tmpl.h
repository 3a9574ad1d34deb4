/* gates.tmpl.h: prelu, a leaky relu whose slope is learnt; and glu, a gated half.
 *
 * Parameters: those of vec.h.
 *
 *     prelu   y = x > 0 ? x : w x      gx = x > 0 ? gy : w gy    gw = sum(x > 0 ? 0 : x gy)
 *     glu     y = a sigmoid(b)         ga = gy s                 gb = gy a s (1 - s)
 *
 * with s = sigmoid(b).  The terms of gw are stored, and summed by tga_reduce.  Both treat
 * every element by itself, so a run of elements may be split anywhere.
 */

/* x, y: (n); w: (n), or one element where step_w is 0 */
static void TN(prelu_forward)(int64_t n, const void *px, const void *pw, int64_t step_w, void *py)
{
    const T *x = px, *w = pw;
    T *y = py;
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t here = n - i < VL ? n - i : VL;
        const V vx = here == VL ? v_load(x + i) : v_load_n(x + i, here);
        const V vw = !step_w ? v_splat(*w) : here == VL ? v_load(w + i) : v_load_n(w + i, here);
        const V vy = v_select(v_lt(K(0), vx), vx, vw * vx);
        if (here == VL)
            v_store(y + i, vy);
        else
            v_store_n(y + i, vy, here);
    }
}

/* gy, x, gx, terms (of gw): (n); w as above */
static void TN(prelu_backward)(int64_t n, const void *pgy, const void *px, const void *pw,
                               int64_t step_w, void *pgx, void *pterms)
{
    const T *gy = pgy, *x = px, *w = pw;
    T *gx = pgx, *terms = pterms;
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t here = n - i < VL ? n - i : VL;
        const V g = here == VL ? v_load(gy + i) : v_load_n(gy + i, here);
        const V vx = here == VL ? v_load(x + i) : v_load_n(x + i, here);
        const V vw = !step_w ? v_splat(*w) : here == VL ? v_load(w + i) : v_load_n(w + i, here);
        const M right = v_lt(K(0), vx);
        const V to_x = v_select(right, g, g * vw), to_w = v_select(right, K(0), g * vx);
        if (here == VL) {
            v_store(gx + i, to_x);
            v_store(terms + i, to_w);
        } else {
            v_store_n(gx + i, to_x, here);
            v_store_n(terms + i, to_w, here);
        }
    }
}

/* a, b, y: (n) */
static void TN(glu_forward)(int64_t n, const void *pa, const void *pb, void *py)
{
    const T *a = pa, *b = pb;
    T *y = py;
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(y + i, v_load(a + i) * v_sigmoid(v_load(b + i)));
    if (i < n)
        v_store_n(y + i, v_load_n(a + i, n - i) * v_sigmoid(v_load_n(b + i, n - i)), n - i);
}

/* gy, a, b, ga, gb: (n) */
static void TN(glu_backward)(int64_t n, const void *pgy, const void *pa, const void *pb, void *pga,
                             void *pgb)
{
    const T *gy = pgy, *a = pa, *b = pb;
    T *ga = pga, *gb = pgb;
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t here = n - i < VL ? n - i : VL;
        const V g = here == VL ? v_load(gy + i) : v_load_n(gy + i, here);
        const V va = here == VL ? v_load(a + i) : v_load_n(a + i, here);
        const V vb = here == VL ? v_load(b + i) : v_load_n(b + i, here);
        const V s = v_sigmoid(vb);
        const V to_a = g * s, to_b = g * (va * (s * v_sigmoid(-vb)));
        if (here == VL) {
            v_store(ga + i, to_a);
            v_store(gb + i, to_b);
        } else {
            v_store_n(ga + i, to_a, here);
            v_store_n(gb + i, to_b, here);
        }
    }
}
