/* update.c: parameter updates, in place, for lists of tensors in one call. */
#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

typedef struct {
    size_t size;
    char *p;
    const char *g;
    double lr;
    tga_sgd_fn *sgd;
} update;

static void sgd_some(void *context, int64_t begin, int64_t end)
{
    const update *u = context;
    const size_t offset = (size_t)begin * u->size;
    u->sgd(end - begin, u->p + offset, u->g + offset, u->lr);
}

int tga_sgd(int dtype, int64_t count, void **p, void **g, const int64_t *size, double lr)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    update u = {.size = tga_item_size(dtype), .lr = lr, .sgd = tga_kernels_current()->sgd[dtype]};
    for (int64_t j = 0; j < count; j++) {
        u.p = p[j];
        u.g = g[j];
        tga_parallel(size[j], GRAIN, sgd_some, &u);
    }
    return TGA_OK;
}
