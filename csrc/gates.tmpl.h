/* gates.tmpl.h: prelu, a leaky relu whose slope is learnt; and glu, a gated half.
 *
 * Parameters: those of vec.h.
 *
 *     prelu   y = x > 0 ? x : w x      gx = x > 0 ? gy : w gy    gw = sum(x > 0 ? 0 : x gy)
 *     glu     y = a sigmoid(b)         ga = gy s                 gb = gy a s (1 - s)
 *
 * with s = sigmoid(b).  The terms of gw are stored, and summed by tga_reduce.  Both treat
 * every element by itself, so a run of elements may be split anywhere.  `stream` as in
 * elementwise.tmpl.h.
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

/* A vector of results of glu may belong to several rows of x.  Seen from its own lane, what each
 * row has for it begins n elements after what the row before has: so one row after the other is
 * loaded from there, as a whole, and the lanes that are its own are kept.  The second half of a
 * row begins where the first half of the next one would: every vector serves both. */

/* The next `count` <= VL elements of both halves.  *x is where the first of them stands, *left how
 * many more its row has; afterwards, the same for those that follow. */
static ALWAYS_INLINE void TN(glu_take)(const T **x, int64_t *left, int64_t n, int64_t count, V *a,
                                       V *b)
{
#define LOAD(p) (count == VL ? v_load(p) : v_load_n(p, count))
    const T *from = *x;
    V first = LOAD(from), second = LOAD(from + n);
    int64_t done = *left;
    *a = first, *b = second;
    for (; done < count; done += n) {
        from += n;
        first = second, second = LOAD(from + n);
        *a = v_join(*a, first, done), *b = v_join(*b, second, done);
    }
    *x = from + count + (done == count ? n : 0);
    *left = done == count ? n : done - count;
#undef LOAD
}

/* x: (rows, 2, n), or from any place in a first half on, whose row has `left` more; y: (count) */
static void TN(glu_forward)(int64_t count, int64_t n, int64_t left, const void *px, void *py,
                            int stream)
{
    const T *x = px;
    T *y = py;
    V a, b;
    int64_t i = 0;
    for (; i + VL <= count; i += VL) {
        const T *start = x;
        TN(glu_take)(&x, &left, n, VL, &a, &b);
        TN(store)(stream, y + i, a * v_sigmoid(b), start, start + (n < VL ? VL : n));
    }
    if (i < count) {
        TN(glu_take)(&x, &left, n, count - i, &a, &b);
        v_store_n(y + i, a * v_sigmoid(b), count - i);
    }
    if (stream)
        v_stream_end();
}

static ALWAYS_INLINE void TN(glu_gradients)(V gy, V a, V b, V *ga, V *gb)
{
    /* 1 - s loses no digits where s < 1/2; elsewhere it is e s, with e = exp(-b). */
    const V e = v_exp_negative(b), s = v_sigmoid(b);
    const V complement = v_select(v_lt(b, K(0)), K(1) - s, e * s);
    *ga = gy * s;
    *gb = gy * (a * (s * complement));
}

/* A run in one row.  gy, a, b, ga, gb: (n) */
static void TN(glu_backward)(int64_t n, const void *pgy, const void *pa, const void *pb, void *pga,
                             void *pgb, int stream)
{
    const T *gy = pgy, *a = pa, *b = pb;
    T *ga = pga, *gb = pgb;
    V to_a, to_b;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        TN(glu_gradients)(v_load(gy + i), v_load(a + i), v_load(b + i), &to_a, &to_b);
        TN(store)(stream, ga + i, to_a, a + i, gy + i);
        TN(store)(stream, gb + i, to_b, b + i, b + i);
    }
    if (i < n) {
        const int64_t rest = n - i;
        TN(glu_gradients)(v_load_n(gy + i, rest), v_load_n(a + i, rest), v_load_n(b + i, rest),
                          &to_a, &to_b);
        v_store_n(ga + i, to_a, rest);
        v_store_n(gb + i, to_b, rest);
    }
    if (stream)
        v_stream_end();
}

/* gx out of a block that holds ga and gb: the next `count` <= VL elements, put together in the way
 * of glu_take.  In the block, *place is where the half row stands of which *left elements are to
 * come, and *next where the other half would, seen from its own lane; afterwards, the same for
 * those that follow. */
static ALWAYS_INLINE V TN(glu_give)(const T *block, int64_t *place, int64_t *next, int64_t *left,
                                    int64_t n, int64_t count)
{
    int64_t from = *place, other = *next, done = *left;
    V v = v_load(block + from);
    for (; done < count; done += n) {
        const int64_t after = from - n;
        from = other, other = after;
        v = v_join(v, v_load(block + from), done);
    }
    *place = (done == count ? other : from) + count;
    *next = (done == count ? from - n : other) + count;
    *left = done == count ? n : done - count;
    return v;
}

/* Whole rows, short ones: n <= GLU_BLOCK.  As many as fit have their gradients computed into a
 * block, whence they go to gx in whole vectors.  gy: (rows, n), x and gx: (rows, 2, n) */
static void TN(glu_backward_rows)(int64_t rows, int64_t n, const void *pgy, const void *px,
                                  void *pgx, int stream)
{
    const T *gy = pgy, *x = px;
    T *gx = pgx;
    /* glu_give loads from up to VL elements before or behind what it takes. */
    T block[2 * GLU_BLOCK + 4 * VBYTES / sizeof(T)];
    v_store(block, K(0));
    for (int64_t todo = rows, here; todo > 0; todo -= here) {
        here = GLU_BLOCK / n < todo ? GLU_BLOCK / n : todo;
        const int64_t count = here * n, room = (count + VL - 1) / VL * VL;
        T *ga = block + VL, *gb = ga + room;
        V a, b, to_a, to_b;
        int64_t left = n, i = 0;
        for (; i + VL <= count; i += VL) {
            if (stream) {
                fetch_ahead(gy + i);
                fetch_ahead(x);
                fetch_ahead(x + (n < VL ? VL : n));
            }
            TN(glu_take)(&x, &left, n, VL, &a, &b);
            TN(glu_gradients)(v_load(gy + i), a, b, &to_a, &to_b);
            v_store(ga + i, to_a);
            v_store(gb + i, to_b);
        }
        if (i < count) {
            TN(glu_take)(&x, &left, n, count - i, &a, &b);
            TN(glu_gradients)(v_load_n(gy + i, count - i), a, b, &to_a, &to_b);
            v_store(ga + i, to_a);
            v_store(gb + i, to_b);
        }
        v_store(gb + room, K(0));

        const int64_t size = 2 * count;
        const int64_t lead = stream ? (int64_t)(-(uintptr_t)gx % VBYTES / sizeof(T)) : 0;
        int64_t place = VL, next = VL + room - n, k = 0;
        left = n;
        if (lead && lead < size) {
            v_store_n(gx, TN(glu_give)(block, &place, &next, &left, n, lead), lead);
            k = lead;
        }
        for (; k + VL <= size; k += VL) {
            const V v = TN(glu_give)(block, &place, &next, &left, n, VL);
            if (stream)
                v_stream(gx + k, v);
            else
                v_store(gx + k, v);
        }
        if (k < size)
            v_store_n(gx + k, TN(glu_give)(block, &place, &next, &left, n, size - k), size - k);
        gy += count;
        gx += size;
    }
    if (stream)
        v_stream_end();
}
