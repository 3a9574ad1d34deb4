/* limits.c: what the processor and the memory can do at most.
 *
 *   limits fma_float32 THREADS        fused multiply-adds from registers, operations a second
 *   limits fma_float64 THREADS
 *   limits read  THREADS BYTES        one array of so many bytes is read: bytes a second
 *   limits copy  THREADS BYTES        y = x: bytes read and written, arrays of BYTES each
 *   limits triad THREADS BYTES        w = y * z: three arrays
 *   limits copy_triad THREADS BYTES   y = x, then w = y * z: five arrays, of which one twice
 *
 * Prints one number: the best of many repetitions.  Each thread works on its own part of
 * the arrays.  Stores that go round the caches are tried too, and the better way counts.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
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

static void copy(VF *y, const VF *x, size_t n) { FOR_FOUR(y[j] = x[j]) }
static void copy_stream(VF *y, const VF *x, size_t n) { FOR_FOUR(STREAM(y + j, x[j])) FENCE(); }
static void triad(VF *w, const VF *y, const VF *z, size_t n) { FOR_FOUR(w[j] = y[j] * z[j]) }
static void triad_stream(VF *w, const VF *y, const VF *z, size_t n)
{
    FOR_FOUR(STREAM(w + j, y[j] * z[j])) FENCE();
}

/* ---- one thread's part ------------------------------------------------------------------- */

typedef enum { FMA_FLOAT32, FMA_FLOAT64, READ, COPY, TRIAD, COPY_TRIAD } what;
static const char *names[] = {"fma_float32", "fma_float64", "read", "copy", "triad", "copy_triad"};

typedef struct {
    what what;
    int stream;    /* stores go round the caches */
    size_t n;      /* vectors in each array of this thread */
    size_t repeat; /* how often in one repetition */
    VF *x, *y, *z, *w;
    double sink; /* keeps results alive */
} part;

static pthread_barrier_t barrier;
static atomic_int done;

static void work(part *p)
{
    if (p->what == FMA_FLOAT32 || p->what == FMA_FLOAT64) {
        p->sink += p->what == FMA_FLOAT32 ? fma_float32(p->repeat) : fma_float64(p->repeat);
        return;
    }
    for (size_t r = 0; r < p->repeat; r++) {
        if (p->what == READ)
            p->sink += read_array(p->x, p->n);
        if (p->what == COPY || p->what == COPY_TRIAD)
            (p->stream ? copy_stream : copy)(p->y, p->x, p->n);
        if (p->what == TRIAD || p->what == COPY_TRIAD)
            (p->stream ? triad_stream : triad)(p->w, p->y, p->z, p->n);
        __asm__ volatile("" ::: "memory"); /* each pass happens */
    }
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

/* The seconds of one repetition, all threads together. */
static double repetition(part *mine)
{
    pthread_barrier_wait(&barrier);
    double start = now();
    work(mine);
    pthread_barrier_wait(&barrier);
    return now() - start;
}

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
    memset(memory, 0, bytes);
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
    for (int stream = 0; stream <= (chosen >= COPY); stream++) {
        size_t repeat = 1;
        double end = now() + SECONDS_IN_ALL;
        do {
            for (int t = 0; t < threads; t++) {
                parts[t].stream = stream;
                parts[t].repeat = repeat;
            }
            double seconds = repetition(&parts[0]);
            if (seconds < SECONDS_OF_ONE)
                repeat *= 2;
            else if (amount * repeat / seconds > best)
                best = amount * repeat / seconds;
        } while (now() < end);
    }
    atomic_store(&done, 1);
    pthread_barrier_wait(&barrier);
    for (int t = 1; t < threads; t++)
        pthread_join(ids[t], NULL);
    printf("%.6g\n", best);
    return parts[0].sink == 0.123; /* read, so that it must be computed */
}
