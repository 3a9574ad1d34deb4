/* update.c: parameter updates and clipping, in place, for lists of tensors in one call. */
#include <math.h>

#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

/* ---- one step of an optimizer ---------------------------------------------- */

typedef struct {
    size_t size;
    tga_update_fn *update;
    char *p, *s, *t; /* of one tensor; s, t: NULL if the update remembers nothing */
    const char *g;
    tga_update_rates rates;
} job;

static void update_some(void *context, int64_t begin, int64_t end)
{
    const job *u = context;
    const size_t skip = (size_t)begin * u->size;
    u->update(end - begin, u->p + skip, u->g + skip, u->s ? u->s + skip : NULL,
              u->t ? u->t + skip : NULL, &u->rates);
}

static int update_all(tga_update_fn *const update[2], int dtype, int64_t count, void **p, void **g,
                      void **s, void **t, const int64_t *size, const tga_update_rates *rates)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    job u = {.size = tga_item_size(dtype), .update = update[dtype], .rates = *rates};
    for (int64_t j = 0; j < count; j++) {
        u.p = p[j];
        u.g = g[j];
        u.s = s ? s[j] : NULL;
        u.t = t ? t[j] : NULL;
        tga_parallel(size[j], GRAIN, update_some, &u);
    }
    return TGA_OK;
}

int tga_sgd(int dtype, int64_t count, void **p, void **g, const int64_t *size, const double *lr,
            double weight_decay)
{
    const tga_update_rates rates = {.lr = *lr, .weight_decay = weight_decay};
    return update_all(tga_kernels_current()->sgd, dtype, count, p, g, NULL, NULL, size, &rates);
}

int tga_momentum(int dtype, int64_t count, void **p, void **g, void **velocity, const int64_t *size,
                 const double *lr, double momentum, int nesterov, double weight_decay)
{
    const tga_update_rates rates = {
        .lr = *lr, .momentum = momentum, .nesterov = nesterov, .weight_decay = weight_decay};
    return update_all(tga_kernels_current()->momentum, dtype, count, p, g, velocity, NULL, size,
                      &rates);
}

int tga_adam(int dtype, int64_t count, void **p, void **g, void **m, void **v, const int64_t *size,
             const double *lr, double *step, double beta1, double beta2, double eps,
             double weight_decay, int decoupled)
{
    *step += 1;
    const double correction1 = 1 - pow(beta1, *step), correction2 = 1 - pow(beta2, *step);
    const tga_update_rates rates = {
        .lr = *lr / correction1,
        .scale = 1 / sqrt(correction2),
        .beta1 = beta1,
        .beta2 = beta2,
        .eps = eps,
        .keep = decoupled ? 1 - *lr * weight_decay : 1,
        .weight_decay = decoupled ? 0 : weight_decay,
    };
    return update_all(tga_kernels_current()->adam, dtype, count, p, g, m, v, size, &rates);
}

int tga_rmsprop(int dtype, int64_t count, void **p, void **g, void **s, const int64_t *size,
                const double *lr, double alpha, double eps, double weight_decay)
{
    const tga_update_rates rates = {
        .lr = *lr, .alpha = alpha, .eps = eps, .weight_decay = weight_decay};
    return update_all(tga_kernels_current()->rmsprop, dtype, count, p, g, s, NULL, size, &rates);
}

int tga_adagrad(int dtype, int64_t count, void **p, void **g, void **s, const int64_t *size,
                const double *lr, double eps, double weight_decay)
{
    const tga_update_rates rates = {.lr = *lr, .eps = eps, .weight_decay = weight_decay};
    return update_all(tga_kernels_current()->adagrad, dtype, count, p, g, s, NULL, size, &rates);
}

/* ---- clipping of gradients --------------------------------------------------- */

typedef struct {
    size_t size;
    tga_clip_fn *clip;
    tga_sum_squares_fn *sum_squares;
    char *g;
    double by;
    double *parts; /* one for each GRAIN elements */
} clip_job;

static void clip_some(void *context, int64_t begin, int64_t end)
{
    const clip_job *c = context;
    c->clip(end - begin, c->g + (size_t)begin * c->size, c->by);
}

int tga_clip_value(int dtype, int64_t count, void **g, const int64_t *size, double bound)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    clip_job c = {.size = tga_item_size(dtype), .clip = tga_kernels_current()->clip_value[dtype]};
    c.by = bound;
    for (int64_t j = 0; j < count; j++) {
        c.g = g[j];
        tga_parallel(size[j], GRAIN, clip_some, &c);
    }
    return TGA_OK;
}

int tga_clip_norm(int dtype, int64_t count, void **g, const int64_t *size, const double *norm,
                  double max_norm)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    clip_job c = {.size = tga_item_size(dtype), .clip = tga_kernels_current()->clip_scale[dtype]};
    if (!(*norm > max_norm)) /* small enough, or nan */
        return TGA_OK;
    c.by = max_norm / *norm;
    for (int64_t j = 0; j < count; j++) {
        c.g = g[j];
        tga_parallel(size[j], GRAIN, clip_some, &c);
    }
    return TGA_OK;
}

/* Parts begin at multiples of GRAIN, so each piece of that length is summed by
 * itself whoever does it, and the pieces are then added in order. */
static void sum_some(void *context, int64_t begin, int64_t end)
{
    const clip_job *c = context;
    for (; begin < end; begin += GRAIN)
        c->parts[begin / GRAIN] = c->sum_squares(end - begin < GRAIN ? end - begin : GRAIN,
                                                 c->g + (size_t)begin * c->size);
}

int tga_sum_squares(int dtype, int64_t count, void **g, const int64_t *size, double *total)
{
    enum { PARTS = 256 };
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    double parts[PARTS];
    clip_job c = {.size = tga_item_size(dtype), .parts = parts};
    c.sum_squares = tga_kernels_current()->sum_squares[dtype];
    for (int64_t j = 0; j < count; j++)
        for (int64_t first = 0; first < size[j]; first += PARTS * GRAIN) {
            const int64_t left = size[j] - first, n = left < PARTS * GRAIN ? left : PARTS * GRAIN;
            c.g = (char *)g[j] + (size_t)first * c.size;
            tga_parallel(n, GRAIN, sum_some, &c);
            for (int64_t i = 0; i * GRAIN < n; i++)
                *total += parts[i];
        }
    return TGA_OK;
}
