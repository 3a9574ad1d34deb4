/* limits.c: what the processor and the memory can do at most.
 *
 *   limits fma_float32 THREADS        fused multiply-adds from registers, operations a second
 *   limits fma_float64 THREADS
 *   limits read  THREADS BYTES        one array of so many bytes is read: bytes a second
 *   limits copy  THREADS BYTES        y = x: bytes read and written, arrays of BYTES each
 *   limits triad THREADS BYTES        w = y * z: three arrays
 *   limits copy_triad THREADS BYTES   y = x, then w = y * z: five arrays, of which one twice
 *
 * Prints one number.  Of arithmetic it is the best of many repetitions; of memory, whose speed
 * varies with what the neighbours on the machine do, the median, as for all that is compared
 * with it.  Each thread works on its own part of the arrays.  Three ways are tried, and the
 * best counts: plain stores, stores that go round the caches, and those with inputs fetched
 * ahead.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VBYTES 64
#define STREAM(p, x) _mm512_stream_ps((float *)(p), x)
#define FENCE() _mm_sfence()
#elif defined(__AVX__)
#define VBYTES 32
#define STREAM(p, x) _mm256_stream_ps((float *)(p), x)
#define FENCE() _mm_sfence()
#else
#define VBYTES 16
#define STREAM(p, x) (*(p) = (x))
#define FENCE()
#endif
typedef float VF __attribute__((vector_size(VBYTES)));
typedef double VD __attribute__((vector_size(VBYTES)));

#define MAX_THREADS 256
#define SECONDS_IN_ALL 0.25
#define MAX_REPETITIONS 256
#define SECONDS_OF_ONE 0.002 /* of a repetition: long against the clock and the barrier */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* ---- arithmetic ------------------------------------------------------------------------ */

/* CHAINS independent sums hide the latency of one.  They begin with unlike numbers, else the
 * compiler sees that they are equal and computes fewer. */
#define CHAINS 16
#define DEFINE_FMA(name, VECTOR)                                            \
    static double name(size_t rounds)                                       \
    {                                                                       \
        VECTOR sum[CHAINS];                                                 \
        const VECTOR a = {0.5f}, b = {1.5f};                                \
        for (int i = 0; i < CHAINS; i++)                                    \
            sum[i] = (VECTOR){0} + (float)(rounds + i);                     \
        for (size_t r = 0; r < rounds; r++) {                               \
            _Pragma("GCC unroll 16") for (int i = 0; i < CHAINS; i++)       \
                sum[i] = sum[i] * a + b;                                    \
        }                                                                   \
        for (int i = 1; i < CHAINS; i++)                                    \
            sum[0] += sum[i];                                               \
        return (double)sum[0][0];                                           \
    }
DEFINE_FMA(fma_float32, VF)
DEFINE_FMA(fma_float64, VD)

/* ---- memory ------------------------------------------------------------------------------ */

static double read_array(const VF *x, size_t n)
{
    VF s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (size_t i = 0; i + 4 <= n; i += 4) {
        s0 += x[i];
        s1 += x[i + 1];
        s2 += x[i + 2];
        s3 += x[i + 3];
    }
    s0 += s1 + s2 + s3;
    return (double)s0[0];
}

#define FOR_FOUR(statement)                                                 \
    for (size_t i = 0; i + 4 <= n; i += 4) {                                \
        _Pragma("GCC unroll 4") for (size_t j = i; j < i + 4; j++)          \
            statement;                                                      \
    }

#define AHEAD 16384 /* bytes */
#define FETCH(p) __builtin_prefetch((const void *)((uintptr_t)(p) + AHEAD))

typedef enum { PLAIN, STREAMED, FETCHED, WAYS } way;

static void copy(way how, VF *y, const VF *x, size_t n)
{
    if (how == PLAIN)
        FOR_FOUR(y[j] = x[j])
    else if (how == STREAMED)
        FOR_FOUR(STREAM(y + j, x[j]))
    else
        FOR_FOUR((FETCH(x + j), STREAM(y + j, x[j])))
    FENCE();
}

static void triad(way how, VF *w, const VF *y, const VF *z, size_t n)
{
    if (how == PLAIN)
        FOR_FOUR(w[j] = y[j] * z[j])
    else if (how == STREAMED)
        FOR_FOUR(STREAM(w + j, y[j] * z[j]))
    else
        FOR_FOUR((FETCH(y + j), FETCH(z + j), STREAM(w + j, y[j] * z[j])))
    FENCE();
}

/* ---- one thread's part ------------------------------------------------------------------- */

typedef enum { FMA_FLOAT32, FMA_FLOAT64, READ, COPY, TRIAD, COPY_TRIAD } what;
static const char *names[] = {"fma_float32", "fma_float64", "read", "copy", "triad", "copy_triad"};

typedef struct {
    what what;
    way how;
    size_t n;      /* vectors in each array of this thread */
    size_t repeat; /* how often in one repetition */
    VF *x, *y, *z, *w;
    double begin, end; /* of the last repetition */
    double sink;       /* keeps results alive */
} part;

static pthread_barrier_t barrier;
static atomic_int done;

static void compute(part *p)
{
    if (p->what == FMA_FLOAT32 || p->what == FMA_FLOAT64) {
        p->sink += p->what == FMA_FLOAT32 ? fma_float32(p->repeat) : fma_float64(p->repeat);
        return;
    }
    for (size_t r = 0; r < p->repeat; r++) {
        if (p->what == READ)
            p->sink += read_array(p->x, p->n);
        if (p->what == COPY || p->what == COPY_TRIAD)
            copy(p->how, p->y, p->x, p->n);
        if (p->what == TRIAD || p->what == COPY_TRIAD)
            triad(p->how, p->w, p->y, p->z, p->n);
        __asm__ volatile("" ::: "memory"); /* each pass happens */
    }
}

static void work(part *p)
{
    p->begin = now();
    compute(p);
    p->end = now();
}

static void *follow(void *argument)
{
    for (;;) {
        pthread_barrier_wait(&barrier);
        if (atomic_load(&done))
            return NULL;
        work(argument);
        pthread_barrier_wait(&barrier);
    }
}

/* The seconds of one repetition: from where the first thread begins to where the last one ends.
 * A clock of one thread alone would not do: it may come out of the barrier long after another. */
static double repetition(part *parts, int threads)
{
    pthread_barrier_wait(&barrier);
    work(&parts[0]);
    pthread_barrier_wait(&barrier);
    double begin = parts[0].begin, end = parts[0].end;
    for (int t = 1; t < threads; t++) {
        begin = parts[t].begin < begin ? parts[t].begin : begin;
        end = parts[t].end > end ? parts[t].end : end;
    }
    return end - begin;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Filled with numbers from 1 to 2 that look random: there are processors that move zeros faster. */
static VF *array(size_t bytes)
{
    size_t page = (size_t)1 << 21;
    bytes = (bytes + page - 1) / page * page;
    void *memory = aligned_alloc(page, bytes);
    if (!memory)
        exit(2);
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    float *numbers = memory;
    uint32_t state = 1;
    for (size_t i = 0; i < bytes / sizeof *numbers; i++) {
        state = state * 1664525u + 1013904223u; /* Press et al., Numerical Recipes, 7.1 */
        numbers[i] = 1 + (float)(state >> 8) / (1 << 24);
    }
    return memory;
}

int main(int argc, char **argv)
{
    int chosen = 0;
    while (argc > 2 && chosen <= COPY_TRIAD && strcmp(argv[1], names[chosen]))
        chosen++;
    int threads = argc > 2 ? atoi(argv[2]) : 0;
    size_t bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    if (chosen > COPY_TRIAD || threads < 1 || threads > MAX_THREADS || (chosen >= READ && !bytes)) {
        fprintf(stderr, "usage: limits WHAT THREADS [BYTES], see limits.c\n");
        return 2;
    }

    static part parts[MAX_THREADS];
    static pthread_t ids[MAX_THREADS];
    size_t n = (bytes / threads + 4 * VBYTES - 1) / (4 * VBYTES) * 4;
    pthread_barrier_init(&barrier, NULL, threads);
    for (int t = 0; t < threads; t++) {
        parts[t] = (part){.what = chosen, .n = n, .repeat = 1};
        if (chosen >= READ) {
            parts[t].x = array(n * VBYTES);
            parts[t].y = array(n * VBYTES);
            parts[t].z = array(n * VBYTES);
            parts[t].w = array(n * VBYTES);
        }
        if (t > 0)
            pthread_create(&ids[t], NULL, follow, &parts[t]);
    }

    double arrays = chosen == READ ? 1 : chosen == COPY ? 2 : chosen == TRIAD ? 3 : 5;
    double amount = arrays * n * VBYTES * threads; /* of one pass */
    if (chosen == FMA_FLOAT32 || chosen == FMA_FLOAT64)
        amount = 2.0 * CHAINS * VBYTES / (chosen == FMA_FLOAT32 ? 4 : 8) * threads;

    double best = 0;
    for (way how = PLAIN; how < (chosen >= COPY ? WAYS : PLAIN + 1); how++) {
        static double found[MAX_REPETITIONS];
        size_t repeat = 1;
        int count = 0;
        double stop = now() + SECONDS_IN_ALL;
        do {
            for (int t = 0; t < threads; t++) {
                parts[t].how = how;
                parts[t].repeat = repeat;
            }
            double seconds = repetition(parts, threads);
            if (seconds < SECONDS_OF_ONE)
                repeat *= 2;
            else
                found[count++] = amount * repeat / seconds;
        } while (now() < stop && count < MAX_REPETITIONS);
        qsort(found, count, sizeof *found, ascending);
        double middle = found[chosen < READ ? count - 1 : count / 2];
        best = middle > best ? middle : best;
    }
    atomic_store(&done, 1);
    pthread_barrier_wait(&barrier);
    for (int t = 1; t < threads; t++)
        pthread_join(ids[t], NULL);
    printf("%.6g\n", best);
    return parts[0].sink == 0.123; /* read, so that it must be computed */
}
