/* conv.c: convolution in two dimensions, forward and backward: what sees what, the division
 * of the work, threads.
 *
 * Images are (n, channels, rows, columns).  A task is one group of channels of one
 * image, or, for the gradient of the weights, of a few images.  Which images belong
 * together is decided by the shape alone and their sums are added in order, so the
 * number of threads changes no bit.
 */
#include <stdbool.h>
#include <string.h>

#include "kernels.h"

/* Pixels whose sums wait in the L1 cache until they are stored together. */
#define BAND_PIXELS 64
/* Sums of so few steps are left to conv_narrow. */
#define FEW_STEPS 32
/* For the gradient of w, images of fewer channels are laid out once for each tap, if that
 * takes no more than LAID_OUT_BYTES of the L2 cache. */
#define FEW_CHANNELS 8
#define LAID_OUT_BYTES 524288
/* Pixels of gy that the gradient of w is summed over at a time: their channels stay in the
 * L1 cache. */
#define DEPTH 256
/* Output channels whose weights' gradient is one task's. */
#define CHANNELS 64
/* The gradient of the weights is the sum of so many parts, one for a share of the
 * images; fewer where they would take more than PARTS_BYTES. */
#define PARTS 16
#define PARTS_BYTES ((int64_t)16 << 20)

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Rows a multiple of 4096 bytes apart meet in the same few lines of the L1 cache. */
static bool rows_collide(int64_t bytes)
{
    return bytes >= 4096 && (bytes + 64) % 4096 <= 128;
}

/* An image laid out so that all is inside that pixels of the result see. */
static tga_conv_layout layout_of(int64_t channels, const tga_conv_axis *down,
                                 const tga_conv_axis *across, int64_t step)
{
    tga_conv_layout l = {.channels = channels, .step = step};
    const tga_conv_axis *axis[2] = {down, across};
    int64_t places[2];
    for (int d = 0; d < 2; d++) {
        int64_t first = 0, last = 0;
        for (int64_t t = 0; t < axis[d]->taps; t++) {
            const int64_t shift = axis[d]->tap[t].shift;
            first = min64(first, shift);
            last = max64(last, (axis[d]->out - 1) * axis[d]->step + shift);
        }
        l.in[d] = axis[d]->in;
        l.before[d] = -first;
        places[d] = last + 1 - first;
    }
    l.rows = places[0];
    l.width = div_up(places[1], step);
    l.pitch = down->step * step * l.width;
    l.plane = l.rows * step * l.width;
    return l;
}

/* A window of one tap that takes every pixel sees an image as one long row. */
static tga_window flattened(const tga_window *w)
{
    tga_window flat = *w;
    for (int d = 0; d < 2; d++)
        if (w->size[d] != 1 || w->stride[d] != 1 || w->padding[d] != 0 || w->in[d] != w->out[d])
            return flat;
    flat.in[1] = flat.out[1] = w->in[0] * w->in[1];
    flat.in[0] = flat.out[0] = 1;
    return flat;
}

/* ---- one axis --------------------------------------------------------------------------- */

static void clip(tga_conv_axis *a, tga_conv_tap *tap)
{
    for (int64_t t = 0; t < a->taps; t++) {
        tap[t].first = tap[t].shift < 0 ? div_up(-tap[t].shift, a->step) : 0;
        const int64_t after = a->in - tap[t].shift;
        tap[t].last = after > 0 ? min64(a->out, div_up(after, a->step)) : 0;
    }
    a->tap = tap;
}

/* Pixels of y see x. */
static tga_conv_axis forward_axis(const tga_window *w, int d, tga_conv_tap *tap)
{
    tga_conv_axis a = {w->in[d], w->out[d], w->stride[d], w->size[d], NULL};
    for (int64_t t = 0; t < a.taps; t++)
        tap[t] = (tga_conv_tap){.place = t, .shift = t * w->dilation[d] - w->padding[d]};
    clip(&a, tap);
    return a;
}

/* Pixels of gx, those that leave the remainder r by the stride, see gy. */
static tga_conv_axis backward_axis(const tga_window *w, int d, int64_t r, tga_conv_tap *tap)
{
    const int64_t s = w->stride[d];
    tga_conv_axis a = {w->out[d], w->in[d] > r ? div_up(w->in[d] - r, s) : 0, 1, 0, NULL};
    for (int64_t t = 0; t < w->size[d]; t++) {
        const int64_t from = r + w->padding[d] - t * w->dilation[d];
        if (from % s == 0)
            tap[a.taps++] = (tga_conv_tap){.place = t, .shift = from / s};
    }
    clip(&a, tap);
    return a;
}

/* ---- forward and backward x ----------------------------------------------------------------- */

typedef struct {
    tga_conv g; /* one group */
    const tga_conv_kernels *kernels;
    int64_t nr;  /* lanes of a tile */
    size_t size; /* bytes of an element */
    int64_t n, groups;
    bool narrow;
    const char *image, *w, *bias;
    int64_t w_lane, w_channel, window_columns; /* distances in w */
    size_t w_group, y_group, pack_group;       /* bytes of a group */
    char *pack, *y;
    _Atomic int status; /* of the tasks */
} product;

/* Packs for groups [begin, end). */
static void pack_groups(void *context, int64_t begin, int64_t end)
{
    const product *c = context;
    const tga_conv *g = &c->g;
    const int64_t width = c->narrow ? 1 : c->nr;
    for (int64_t group = begin; group < end; group++)
        for (int64_t lane = 0; lane < g->co; lane += width)
            c->kernels->pack(g, min64(width, g->co - lane),
                             c->w + (size_t)group * c->w_group +
                                 (size_t)(lane * c->w_lane) * c->size,
                             c->w_lane, c->w_channel, c->window_columns, width,
                             c->pack + (size_t)group * c->pack_group +
                                 (size_t)(lane * g->steps) * c->size);
}

static void images_of(void *context, int64_t begin, int64_t end)
{
    product *c = context;
    const tga_conv *g = &c->g;
    /* A tile of conv_narrow may reach beyond the image. */
    const int64_t elements = c->narrow ? g->ci * g->layout.plane + TGA_CONV_NARROW_ROWS * g->layout.pitch +
                                             2 * c->nr
                                       : g->band * g->across.out * c->nr;
    char *workspace = tga_alloc((size_t)elements * c->size);
    if (!workspace) {
        c->status = TGA_NO_MEMORY;
        return;
    }
    if (c->narrow)
        memset(workspace, 0, (size_t)elements * c->size);
    for (int64_t task = begin; task < end; task++) {
        const size_t group = (size_t)(task % c->groups);
        const char *image = c->image + (size_t)task * g->image_bytes;
        const char *pack = c->pack + group * c->pack_group;
        const char *bias = c->bias ? c->bias + group * (size_t)g->co * c->size : NULL;
        char *y = c->y + (size_t)task * c->y_group;
        if (c->narrow) {
            c->kernels->lay_out(&g->layout, image, workspace);
            c->kernels->narrow(g, workspace, pack, bias, y);
        } else {
            c->kernels->wide(g, image, pack, bias, y,
                             task + 1 < end ? image + g->image_bytes : NULL, workspace);
        }
    }
    tga_free(workspace);
}

/* Whether some pixels see less than all taps. */
static bool is_cut(const tga_conv_axis *a)
{
    for (int64_t t = 0; t < a->taps; t++)
        if (a->tap[t].first > 0 || a->tap[t].last < a->out)
            return true;
    return false;
}

static bool all_finite(int64_t n, size_t size, const void *w)
{
    int wrong = 0; /* without an early end, so that it takes vectors */
    if (size == sizeof(float))
        for (int64_t i = 0; i < n; i++)
            wrong |= !(((const float *)w)[i] * 0 == 0);
    else
        for (int64_t i = 0; i < n; i++)
            wrong |= !(((const double *)w)[i] * 0 == 0);
    return !wrong;
}

/* Whether pixels take the lanes.  conv_narrow sees zeros beyond the border, where conv_wide sees
 * nothing: with an infinite weight that would not be the same. */
static bool is_narrow(const product *c)
{
    const tga_conv *g = &c->g;
    const int64_t weights = c->groups * (int64_t)(c->w_group / c->size);
    return (4 * g->co <= c->nr || g->steps <= FEW_STEPS) &&
           ((!is_cut(&g->down) && !is_cut(&g->across)) || all_finite(weights, c->size, c->w));
}

/* g's axes and its place in y are set; the rest follows from them. */
static void multiply(product *c)
{
    tga_conv *g = &c->g;
    g->steps = g->ci * g->down.taps * g->across.taps;
    g->band = g->y_whole ? max64(1, BAND_PIXELS / g->across.out) : 1;
    g->image_bytes = (size_t)(g->ci * g->down.in * g->across.in) * c->size;
    c->narrow = is_narrow(c);
    int64_t row = g->across.in, plane = g->down.in * row;
    if (c->narrow) {
        g->layout = layout_of(g->ci, &g->down, &g->across, g->across.step);
        row = g->layout.step * g->layout.width;
        plane = g->layout.plane;
    }
    const int64_t width = c->narrow ? TGA_CONV_NARROW_ROWS : c->nr;
    c->pack_group = (size_t)(div_up(g->co, width) * width * g->steps) * c->size;
    int64_t *offset = tga_alloc((size_t)(g->steps + 1) * sizeof(int64_t));
    c->pack = tga_alloc((size_t)c->groups * c->pack_group + 1);
    if (offset && c->pack) {
        g->offset = offset;
        for (int64_t q = 0; q < g->across.taps; q++) {
            int64_t column = g->across.tap[q].shift;
            if (c->narrow) {
                const int64_t place = column + g->layout.before[1], step = g->layout.step;
                column = place % step * g->layout.width + place / step;
            }
            for (int64_t p = 0; p < g->down.taps; p++)
                for (int64_t channel = 0; channel < g->ci; channel++)
                    *offset++ = channel * plane + column +
                                (g->down.tap[p].shift + (c->narrow ? g->layout.before[0] : 0)) * row;
        }
        tga_parallel(c->groups, 1, pack_groups, c);
        tga_parallel(c->n * c->groups, 1, images_of, c);
    } else {
        c->status = TGA_NO_MEMORY;
    }
    tga_free(c->pack);
    tga_free((void *)g->offset);
}

/* TGA_OK: c is set as far as forward and backward x agree; *taps, which the caller must free,
 * has room for those of an axis down and one across. */
static int begin(product *c, int dtype, int64_t n, int64_t groups, const tga_window *w,
                 tga_conv_tap **taps)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    c->kernels = &tga_kernels_current()->conv[dtype];
    c->nr = tga_kernels_current()->gemm[dtype].nr;
    c->size = tga_item_size(dtype);
    c->n = n;
    c->groups = groups;
    c->window_columns = w->size[1];
    *taps = tga_alloc((size_t)(w->size[0] + w->size[1]) * sizeof(tga_conv_tap));
    return *taps ? TGA_OK : TGA_NO_MEMORY;
}

/* Each channel by itself, with a window of its own: left to depthwise.c. */
static bool is_depthwise(int64_t groups, int64_t ci, int64_t co)
{
    return groups > 1 && ci == groups && co == groups;
}

int tga_conv_forward(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                     const tga_window *window, const void *x, const void *w, const void *b, void *y)
{
    const tga_window flat = flattened(window);
    window = &flat;
    int done = TGA_OK;
    if (is_depthwise(groups, ci, co) &&
        tga_depthwise(dtype, n, groups, window, x, w, b, y, &done))
        return done;
    tga_conv_tap *taps;
    product c = {.image = x, .w = w, .bias = b, .y = y};
    const int status = begin(&c, dtype, n, groups, window, &taps);
    if (status)
        return status;
    tga_conv *g = &c.g;
    g->ci = ci / groups;
    g->co = co / groups;
    g->down = forward_axis(window, 0, taps);
    g->across = forward_axis(window, 1, taps + window->size[0]);
    g->y_plane = window->out[0] * window->out[1];
    g->y_row = window->out[1];
    g->y_pixel = g->y_whole = 1;
    c.w_channel = window->size[0] * window->size[1];
    c.w_lane = g->ci * c.w_channel;
    c.w_group = (size_t)(g->co * c.w_lane) * c.size;
    c.y_group = (size_t)(g->co * g->y_plane) * c.size;
    multiply(&c);
    tga_free(taps);
    return c.status;
}

int tga_conv_backward_x(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                        const tga_window *window, const void *gy, const void *w, const void *b,
                        void *gx)
{
    const tga_window flat = flattened(window);
    window = &flat;
    int done = TGA_OK;
    if (is_depthwise(groups, ci, co) &&
        tga_depthwise_backward_x(dtype, n, groups, window, gy, w, b, gx, &done))
        return done;
    tga_conv_tap *taps;
    product c = {.image = gy, .w = w, .bias = b};
    const int status = begin(&c, dtype, n, groups, window, &taps);
    if (status)
        return status;
    tga_conv *g = &c.g;
    const int64_t *stride = window->stride;
    g->ci = co / groups;
    g->co = ci / groups;
    g->y_plane = window->in[0] * window->in[1];
    g->y_row = stride[0] * window->in[1];
    g->y_pixel = stride[1];
    g->y_whole = stride[0] == 1 && stride[1] == 1;
    c.w_lane = window->size[0] * window->size[1];
    c.w_channel = g->co * c.w_lane;
    c.w_group = (size_t)(g->ci * c.w_channel) * c.size;
    c.y_group = (size_t)(g->co * g->y_plane) * c.size;
    for (int64_t i = 0; i < min64(stride[0], window->in[0]) && c.status == TGA_OK; i++)
        for (int64_t j = 0; j < min64(stride[1], window->in[1]) && c.status == TGA_OK; j++) {
            g->down = backward_axis(window, 0, i, taps);
            g->across = backward_axis(window, 1, j, taps + window->size[0]);
            c.y = (char *)gx + (size_t)(i * window->in[1] + j) * c.size;
            multiply(&c);
        }
    tga_free(taps);
    return c.status;
}

/* ---- backward w ------------------------------------------------------------------------- */

typedef struct {
    tga_conv_weights g; /* one group */
    const tga_conv_kernels *kernels;
    int64_t nr;
    size_t size;
    int64_t n, groups, co;
    const tga_window *window;
    bool in_place, by_taps; /* the images need no other layout; or one for each tap */
    tga_conv_layout layout;
    int64_t tap_plane;
    int64_t parts, share;           /* the sum's parts, and images in each */
    int64_t blocks;                 /* of output channels, in a group */
    int64_t ld;                     /* lanes of a block */
    size_t block_bytes, part_bytes; /* of sums */
    char *sums;                     /* (parts, groups, blocks, k and the bias, ld) */
    const char *x, *gy;
    char *gw, *gb;
    _Atomic int status; /* of the tasks */
} weights;

static void lay_out(const weights *c, const char *image, char *to)
{
    const tga_window *w = c->window;
    if (!c->by_taps) {
        c->kernels->lay_out(&c->layout, image, to);
        return;
    }
    tga_conv_layout l = c->layout;
    for (int64_t t = 0; t < w->size[0] * w->size[1]; t++, to += (size_t)c->tap_plane * c->size) {
        l.before[0] = w->padding[0] - t / w->size[1] * w->dilation[0];
        l.before[1] = w->padding[1] - t % w->size[1] * w->dilation[1];
        c->kernels->lay_out(&l, image, to);
    }
}

/* Sums of one part, group and block of channels. */
static void backward_w_tasks(void *context, int64_t begin, int64_t end)
{
    weights *c = context;
    const tga_conv_weights *g = &c->g;
    const size_t gy_bytes = (size_t)(g->depth * c->nr) * c->size;
    const size_t plane = (size_t)g->pixels * c->size;
    const size_t laid_out =
        c->in_place ? 0 : (size_t)(c->layout.channels * c->layout.plane) * c->size;
    char *gy_pack = tga_alloc(gy_bytes + laid_out), *space = gy_pack + gy_bytes;
    if (!gy_pack) {
        c->status = TGA_NO_MEMORY;
        return;
    }
    for (int64_t task = begin; task < end; task++) {
        const int64_t channel = task % c->blocks * CHANNELS, part = task / c->blocks / c->groups;
        const size_t group = (size_t)(task / c->blocks % c->groups);
        const int64_t last = min64(c->n, (part + 1) * c->share);
        char *sums = c->sums + (size_t)task * c->block_bytes;
        memset(sums, 0, c->block_bytes);
        for (int64_t i = part * c->share; i < last; i++) {
            const size_t item = (size_t)i * (size_t)c->groups + group;
            const size_t to_next = i + 1 < last ? (size_t)c->groups : 0;
            const char *image = c->gw ? c->x + item * g->image_bytes : NULL;
            const char *gy = c->gy + (item * (size_t)c->co + (size_t)channel) * plane;
            const char *next = image && to_next ? image + to_next * g->image_bytes : NULL;
            if (image && !c->in_place) {
                lay_out(c, image, space);
                image = space;
            }
            c->kernels->backward_w(g, c->gb != NULL, image, min64(CHANNELS, c->co - channel), gy,
                                   next, to_next ? gy + to_next * (size_t)c->co * plane : NULL,
                                   sums, c->ld, gy_pack);
        }
    }
    tga_free(gy_pack);
}

/* The parts added up and turned round, of groups and blocks [begin, end). */
static void collect_blocks(void *context, int64_t begin, int64_t end)
{
    const weights *c = context;
    for (int64_t i = begin; i < end; i++) {
        const int64_t channel = i % c->blocks * CHANNELS, k = c->gw ? c->g.k : 0;
        const size_t first = (size_t)(i / c->blocks * c->co + channel) * c->size;
        c->kernels->collect(c->parts, c->part_bytes, k, min64(CHANNELS, c->co - channel), c->ld,
                            c->sums + (size_t)i * c->block_bytes,
                            c->gw ? c->gw + first * (size_t)k : NULL,
                            c->gb ? c->gb + first : NULL);
    }
}

/* The images' layout: as they are, or with padding, or a plane for each channel and tap. */
static int choose_layout(weights *c, int64_t ci)
{
    const tga_window *w = c->window;
    const int64_t size = (int64_t)c->size, taps = w->size[0] * w->size[1];
    tga_conv_layout *l = &c->layout;
    c->by_taps = taps > 1 && ci < FEW_CHANNELS && w->stride[0] == 1 && w->stride[1] == 1 &&
                 c->g.k * c->g.pixels * size <= LAID_OUT_BYTES;
    if (c->by_taps) {
        *l = (tga_conv_layout){.channels = ci, .in = {w->in[0], w->in[1]}, .step = 1,
                               .rows = w->out[0], .width = w->out[1]};
        c->tap_plane = c->g.pixels + (rows_collide(c->g.pixels * size) ? 128 / size : 0);
        l->plane = taps * c->tap_plane;
        return TGA_OK;
    }
    tga_conv_tap *tap = tga_alloc((size_t)(w->size[0] + w->size[1]) * sizeof(tga_conv_tap));
    if (!tap)
        return TGA_NO_MEMORY;
    const tga_conv_axis down = forward_axis(w, 0, tap);
    const tga_conv_axis across = forward_axis(w, 1, tap + w->size[0]);
    *l = layout_of(ci, &down, &across, 1);
    c->in_place = l->before[0] == 0 && l->before[1] == 0 && l->rows <= w->in[0] &&
                  l->width <= w->in[1] && !rows_collide(w->in[0] * w->in[1] * size);
    if (c->in_place) {
        l->width = w->in[1];
        l->plane = w->in[0] * w->in[1];
    } else if (rows_collide(l->plane * size)) {
        l->plane += 128 / size;
    }
    tga_free(tap);
    return TGA_OK;
}

/* Where pixels and taps see the images as they are laid out: the tables, to be freed, or NULL. */
static void *plan_tiles(weights *c, int64_t ci)
{
    const tga_window *w = c->window;
    tga_conv_weights *g = &c->g;
    const int64_t taps = w->size[0] * w->size[1];
    const int64_t width = c->layout.width, plane = c->layout.plane;
    const int64_t down = w->dilation[0] * width, across = w->dilation[1];
    const bool by_channels = ci >= w->size[1];
    g->rows = c->by_taps ? g->k : by_channels ? ci : w->size[1];
    g->row = c->by_taps ? c->tap_plane : by_channels ? plane : across;
    g->row_k = !c->by_taps && by_channels ? taps : 1;
    g->others = g->k / g->rows;
    int64_t *offset = tga_alloc((size_t)g->pixels * sizeof(int64_t) +
                                (size_t)g->others * sizeof(tga_conv_place));
    if (!offset)
        return NULL;
    tga_conv_place *other = (tga_conv_place *)(offset + g->pixels);
    g->offset = offset;
    g->other = other;
    for (int64_t i = 0; i < w->out[0]; i++)
        for (int64_t j = 0; j < w->out[1]; j++)
            *offset++ = i * w->stride[0] * width + j * w->stride[1];
    if (c->by_taps) {
        *other = (tga_conv_place){0, 0};
        return (void *)g->offset;
    }
    for (int64_t channel = 0; channel < (by_channels ? 1 : ci); channel++)
        for (int64_t p = 0; p < w->size[0]; p++)
            for (int64_t q = 0; q < (by_channels ? w->size[1] : 1); q++)
                *other++ = (tga_conv_place){channel * plane + p * down + q * across,
                                            channel * taps + p * w->size[1] + q};
    return (void *)g->offset;
}

int tga_conv_backward_w(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                        const tga_window *window, const void *gy, const void *x, void *gw, void *gb)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    const tga_window flat = flattened(window);
    window = &flat;
    int done = TGA_OK;
    if (is_depthwise(groups, ci, co) &&
        tga_depthwise_backward_w(dtype, n, groups, window, gy, x, gw, gb, &done))
        return done;
    weights c = {.x = x, .gy = gy, .gw = gw, .gb = gb, .n = n, .groups = groups,
                 .window = window};
    tga_conv_weights *g = &c.g;
    c.kernels = &tga_kernels_current()->conv[dtype];
    c.nr = tga_kernels_current()->gemm[dtype].nr;
    c.size = tga_item_size(dtype);
    c.co = co / groups;
    ci /= groups;
    g->k = ci * window->size[0] * window->size[1];
    g->pixels = window->out[0] * window->out[1];
    g->depth = div_up(g->pixels, div_up(g->pixels, DEPTH));
    g->image_bytes = (size_t)(ci * window->in[0] * window->in[1]) * c.size;
    const int64_t rows = (gw ? g->k : 0) + (gb != NULL);
    if (rows == 0)
        return TGA_OK;
    const int status = choose_layout(&c, ci);
    if (status)
        return status;

    c.blocks = div_up(c.co, CHANNELS);
    c.ld = min64(CHANNELS, div_up(c.co, c.nr) * c.nr);
    c.block_bytes = (size_t)(rows * c.ld) * c.size;
    c.part_bytes = (size_t)(groups * c.blocks) * c.block_bytes;
    c.parts = max64(1, min64(min64(PARTS, n), PARTS_BYTES / (int64_t)(c.part_bytes + 1)));
    c.share = div_up(n, c.parts);
    c.parts = n ? div_up(n, c.share) : 1;
    void *plan = plan_tiles(&c, ci);
    if (!gw)
        g->k = 0; /* the bias is the first row */
    c.sums = tga_alloc((size_t)c.parts * c.part_bytes);
    if (plan && c.sums) {
        tga_parallel(c.parts * groups * c.blocks, 1, backward_w_tasks, &c);
        if (c.status == TGA_OK)
            tga_parallel(groups * c.blocks, 1, collect_blocks, &c);
    } else {
        c.status = TGA_NO_MEMORY;
    }
    tga_free(c.sums);
    tga_free(plan);
    return c.status;
}
