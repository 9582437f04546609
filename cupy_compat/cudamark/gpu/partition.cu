// The scattering pass of a samplesort, and a check of the order of sorted keys.
//
// A block of threads reads a tile of keys, groups them by bucket in shared memory, reserves room in
// every bucket with one atomic addition, and writes each group contiguously, so that writes to
// global memory coalesce.
//
// Each dtype is compiled to a module of its own, with these macros. Word: an unsigned type for the
// bits of a key, or of a part of it. PARTS: 2 for complex numbers, else 1. UNSIGNED, SIGNED, DATE or
// FLOAT: the kind of key; a float has MANTISSA bits. BUCKETS: the maximum number of buckets. SPANS:
// how many contiguous ranges of keys one launch takes. THREADS: the threads of a block. ITEMS: the
// keys of a thread.

typedef unsigned long long Count;

struct __align__(PARTS * sizeof(Word)) Key {
    Word part[PARTS];
};

// Contiguous ranges of keys, each for a row of blocks. Passed by value.
struct Spans {
    struct {
        const Key* keys;
        Count size;
    } span[SPANS];
};

// The buckets that `partition.py` chooses from a sample. Passed by value.
struct Plan {
    Key* bins;                   // the room of all buckets, one after another
    Count* filled;               // how many keys belong to each bucket
    Count starts[BUCKETS + 1];   // where each bucket's room begins and ends, in keys
    Count buckets;
    Word splitters[BUCKETS - 1];  // bucket b has the ranks in [splitters[b - 1], splitters[b])
};

// Returns an unsigned number that orders keys as NumPy does; see `rank` in `order.py`.
__device__ Word rank(const Key& key) {
    Word bits = key.part[0];
#ifdef UNSIGNED
    return bits;
#else
    const Word sign = (Word)((Word)1 << (8 * sizeof(Word) - 1));
#ifdef SIGNED
    return (Word)(bits ^ sign);
#elif defined(DATE)  // NaT is the least integer
    return bits + (sign - 1);
#else
    const Word infinity = (Word)(sign - ((Word)1 << MANTISSA));
    for (int i = 0; i < PARTS; ++i)
        if ((Word)(key.part[i] & ~sign) > infinity)
            return (Word)~(Word)0;
    if (bits == sign)
        bits = 0;
    return (Word)(bits & sign ? ~bits : bits | sign);
#endif
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS)
partition(const Spans spans, const Plan plan) {
    const int tile = THREADS * ITEMS;
    const Key* const keys = spans.span[blockIdx.y].keys;
    const Count size = spans.span[blockIdx.y].size;
    const Count first = (Count)blockIdx.x * tile;
    if (first >= size)
        return;

    __shared__ Key grouped[tile];
    __shared__ unsigned char bucket_of[tile];
    __shared__ Word limits[BUCKETS];
    __shared__ int found[BUCKETS], begins[BUCKETS];
    __shared__ Count target[BUCKETS];
    __shared__ bool fits[BUCKETS];

    const int thread = threadIdx.x, buckets = (int)plan.buckets;
    const int here = (int)(size - first < tile ? size - first : tile);

    if (thread < buckets) {
        found[thread] = 0;
        if (thread + 1 < buckets)
            limits[thread] = plan.splitters[thread];
    }
    __syncthreads();

    Key key[ITEMS];
    int bucket[ITEMS], place[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; ++i) {
        const int at = thread + i * THREADS;
        if (at >= here)
            continue;
        key[i] = keys[first + at];
        const Word ranked = rank(key[i]);
        int b = 0;
        for (int s = 0; s + 1 < buckets; ++s)
            b += limits[s] <= ranked;
        bucket[i] = b;
        place[i] = atomicAdd(&found[b], 1);
    }
    __syncthreads();

    if (thread == 0) {
        int running = 0;
        for (int b = 0; b < buckets; ++b) {
            begins[b] = running;
            running += found[b];
        }
    }
    if (thread < buckets) {
        const Count before = atomicAdd(&plan.filled[thread], (Count)found[thread]);
        target[thread] = plan.starts[thread] + before;
        // Keys that do not fit are counted, but not written. The host checks the counts.
        fits[thread] = target[thread] + found[thread] <= plan.starts[thread + 1];
    }
    __syncthreads();

#pragma unroll
    for (int i = 0; i < ITEMS; ++i)
        if (thread + i * THREADS < here) {
            const int at = begins[bucket[i]] + place[i];
            grouped[at] = key[i];
            bucket_of[at] = (unsigned char)bucket[i];
        }
    __syncthreads();

    for (int at = thread; at < here; at += THREADS) {
        const int b = bucket_of[at];
        if (fits[b])
            plan.bins[target[b] + at - begins[b]] = grouped[at];
    }
}

// Sets *found if a key ranks above the next one.
extern "C" __global__ void find_descent(const Key* keys, Count size, int* found) {
    const Count stride = (Count)gridDim.x * blockDim.x;
    for (Count i = (Count)blockIdx.x * blockDim.x + threadIdx.x; i + 1 < size; i += stride)
        if (rank(keys[i + 1]) < rank(keys[i]))
            *found = 1;
}
