// The exact nearest codeword: a screen scores every codeword, the definition decides among few.
//
// With a = z - centre and b = e - centre, |z - e|^2 = |a|^2 + 2 s for s = |b|^2 / 2 - a.b. The
// screen keeps the lowest s of each group of 32 codewords only. `decide` rescans the groups that
// lie within the margin of a row's lowest, and what survives there is evaluated in float64.
//
// There are two screens: in the type of the arrays, for every card ("own"), and where PAIRS, the
// number of 32 dimensions, is defined, in bf16 on tensor cores. A codebook is packed in blocks of
// four groups; scores of rows, `minima`, lie as [row / 8][group][row % 8], for both.

const int THREADS = 256, WARPS = THREADS / 32, GROUP = 32, BLOCK = 128;

template <class T> struct alignas(16) Four { T x[4]; };
template <class T> struct Number;
template <> struct Number<float> {
    static constexpr double eps = 0x1p-23, tiny = 0x1p-126, top = 0x1.fffffep127;
};
template <> struct Number<double> {
    static constexpr double eps = 0x1p-52, tiny = 0x1p-1022, top = 0x1.fffffffffffffp1023;
};

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

// Whether rows of `dims` entries can be read by 16 bytes.
template <class T>
__device__ inline bool aligned(const T* rows, int dims) {
    return (unsigned long long)rows % 16 == 0 && dims * sizeof(T) % 16 == 0;
}

// Entries d to d + 3 of a row; zeros past its end.
template <class T>
__device__ inline Four<T> four(const T* row, int d, int dims, bool wide) {
    Four<T> found = {};
    if (wide && d + 4 <= dims) return *(const Four<T>*)(row + d);
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (d + i < dims) found.x[i] = row[d + i];
    return found;
}

// The same of z - centre; the centre has zeros past its end.
template <class T>
__device__ inline Four<T> centred(const T* z, const T* centre, int d, int dims, bool wide) {
    Four<T> a = four(z, d, dims, wide), c = *(const Four<T>*)(centre + d);
#pragma unroll
    for (int i = 0; i < 4; i++) a.x[i] -= c.x[i];
    return a;
}

// --- Preparation ----------------------------------------------------------------------------

// The mean of some 256 codewords, in columns of 32 a block; any point near them all would do.
// `bounds` is made ready: the smallest and the largest |b|, and the largest |b - b'| / |b|.
template <class T>
__device__ inline void mean(const T* codebook, int size, int dims, T* centre, double* bounds) {
    __shared__ double sums[WARPS][32];
    int y = threadIdx.x / 32, x = threadIdx.x % 32, d = blockIdx.x * 32 + x;
    int step = (size + 255) / 256, count = (size + step - 1) / step;
    double sum = 0;
    for (int n = y; d < dims && n < count; n += WARPS)
        sum += codebook[(long long)n * step * dims + d];
    sums[y][x] = sum;
    __syncthreads();
    if (y == 0 && d < dims) {
        for (int i = 1; i < WARPS; i++) sum += sums[i][x];
        centre[d] = T(sum / count);
    }
    if (blockIdx.x == 0 && threadIdx.x < 3) bounds[threadIdx.x] = threadIdx.x ? 0 : infinity();
}

// Where the entries of a codeword go, and what rounding takes from them.
template <class T>
struct Own {  // groups: a line of |b|^2 / 2, and one of -b for each dimension
    T *line;
    __device__ Own(T* packed, long long k, int dims)
        : line(packed + k / GROUP * (dims + 1) * GROUP + k % GROUP) {}
    __device__ void half(T h) { line[0] = h; }
    __device__ T put(int d, T b) { line[(d + 1) * GROUP] = -b; return 0; }
    static __device__ int width(int dims) { return dims; }
};

#ifdef PAIRS

// A record holds the 8 codewords of a tile: by 32 dimensions, and by codeword, bf16 entries of b;
// then their |b|^2 / 2. A thread of a warp reads 16 bytes at a time, eight entries. The products
// sum over those in an order of their own, the same in a and in b.
const int RECORD = PAIRS * 128 + 8, RECORDS = BLOCK / 8;  // words; of a block

// The 16 tiles of a block make 4 groups: the two columns that a thread holds of each are one group.
__device__ inline int record_of(long long k) { return k / BLOCK * RECORDS + k % GROUP / 2; }
__device__ inline int column_of(long long k) { return k % BLOCK / GROUP * 2 + k % 2; }

__device__ inline float as_bf16(float x) { return __uint_as_float(round_bf16(0, x) & 0xffff0000u); }

struct Tensor {
    unsigned* record;
    int column;
    __device__ Tensor(unsigned* packed, long long k, int dims)
        : record(packed + (long long)record_of(k) * RECORD), column(column_of(k)) {}
    __device__ void half(float h) { ((float*)record)[PAIRS * 128 + column] = h; }
    __device__ float put(int d, float b) {
        unsigned short* entries = (unsigned short*)(record + d / 32 * 128 + column * 16);
        entries[d % 32] = round_bf16(0, b) >> 16;
        return b - as_bf16(b);
    }
    static __device__ int width(int) { return PAIRS * 32; }
};

#endif

// A warp for each codeword; past the last, infinite ones fill the last block.
template <class Place, class T, class Packed>
__device__ inline void pack(
    const T* codebook, const T* centre, int size, int dims, Packed* packed, double* bounds
) {
    int lane = threadIdx.x % 32, count = (size + BLOCK - 1) / BLOCK * BLOCK;
    double least = infinity(), most = 0, ratio = 0;
    for (int k = blockIdx.x * WARPS + threadIdx.x / 32; k < count; k += gridDim.x * WARPS) {
        Place place(packed, k, dims);
        double square = 0, lost = 0;
        for (int d = lane; d < Place::width(dims); d += 32) {
            bool inside = k < size && d < dims;
            T b = inside ? codebook[(long long)k * dims + d] - centre[d] : T(0);
            double rest = place.put(d, b);
            square += (double)b * b, lost += rest * rest;
        }
        for (int n = 16; n; n /= 2) {
            square += __shfl_xor_sync(WARP, square, n);
            lost += __shfl_xor_sync(WARP, lost, n);
        }
        if (lane == 0) place.half(k < size ? T(0.5 * square) : T(infinity()));
        if (k < size) {
            double norm = sqrt(square);
            least = norm < least ? norm : least, most = norm > most ? norm : most;
            // bf16 is off by 2^-8 at most, but where it overflows or underflows
            if (lost > 0) ratio = max(ratio, min(sqrt(lost) / norm, 0x1p-8));
        }
    }
    if (lane == 0) {  // numbers that are not negative lie in the order of their bits
        unsigned long long* bits = (unsigned long long*)bounds;
        atomicMin(bits, (unsigned long long)__double_as_longlong(least));
        atomicMax(bits + 1, (unsigned long long)__double_as_longlong(most));
        atomicMax(bits + 2, (unsigned long long)__double_as_longlong(ratio));
    }
}

// --- The screens ----------------------------------------------------------------------------

// A tile of 16 * ROWS rows by a block of codewords: each thread has ROWS by 8 of the scores.
template <class T, int ROWS>
__device__ inline void screen_own(
    const T* vectors, const T* centre, const T* packed, long long rows, int dims, int blocks,
    T* minima
) {
    const int SLAB = 16;
    __shared__ Four<T> left[SLAB][4 * ROWS + 1], right[SLAB][BLOCK / 4];
    int x = threadIdx.x % 16, y = threadIdx.x / 16;
    long long first = (long long)blockIdx.x * 16 * ROWS, depth = (dims + 1) * GROUP;
    int begin = (long long)blocks * blockIdx.y / gridDim.y;
    int end = (long long)blocks * (blockIdx.y + 1) / gridDim.y;
    for (int block = begin; block < end; block++) {
        const T* groups = packed + 4 * block * depth;
        T score[ROWS][8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            int k = j / 4 * 64 + x * 4 + j % 4;
            T half = groups[k / GROUP * depth + k % GROUP];
#pragma unroll
            for (int i = 0; i < ROWS; i++) score[i][j] = half;
        }
        for (int from = 0; from < dims; from += SLAB) {
            __syncthreads();  // the last slab has been read
            for (int i = threadIdx.x; i < SLAB * 16 * ROWS; i += THREADS) {
                int r = i / SLAB, d = i % SLAB;
                const T* z = vectors + min(first + r, rows - 1) * dims;
                left[d][r / 4].x[r % 4] = from + d < dims ? z[from + d] - centre[from + d] : T(0);
            }
            for (int i = threadIdx.x; i < SLAB * BLOCK; i += THREADS) {
                int k = i % BLOCK, d = i / BLOCK;
                const T* line = groups + k / GROUP * depth + (from + d + 1) * GROUP;
                right[d][k / 4].x[k % 4] = from + d < dims ? line[k % GROUP] : T(0);
            }
            __syncthreads();
#pragma unroll 1
            for (int d = 0; d < min(SLAB, dims - from); d++) {
                Four<T> a[ROWS / 4], b[2] = {right[d][x], right[d][16 + x]};
#pragma unroll
                for (int i = 0; i < ROWS / 4; i++) a[i] = left[d][y * (ROWS / 4) + i];
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int j = 0; j < 8; j++)
                        score[i][j] += a[i / 4].x[i % 4] * b[j / 4].x[j % 4];
            }
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            long long row = first + y * ROWS + i;
#pragma unroll
            for (int j = 0; j < 8; j += 4) {  // eight threads share a group
                T low = min(score[i][j], score[i][j + 1]);
                low = min(low, min(score[i][j + 2], score[i][j + 3]));
                for (int n = 1; n < 8; n *= 2) low = min(low, __shfl_xor_sync(WARP, low, n));
                long long group = row / 8 * 4 * blocks + 4 * block + j / 2 + x / 8;
                if (x % 8 == 0) minima[group * 8 + row % 8] = low;
            }
        }
    }
}

#ifdef PAIRS

// A warp holds TILES of 16 rows, and the codebook streams past it through shared memory.
const int TILES = PAIRS <= 2 ? 4 : PAIRS <= 4 ? 2 : 1;
const int STAGES = 4, STAGE = PAIRS == 1 ? 16 : PAIRS == 2 ? 8 : PAIRS <= 4 ? 4 : 2;  // records

extern "C" __global__ void __launch_bounds__(THREADS, 2) screen_bf16(
    const float* vectors, const float* centre, const unsigned* packed, long long rows,
    long long dims, long long blocks, float* minima
) {
    const int PIECES = STAGE * RECORD / 4, TURNS = RECORDS / STAGE;  // 16 bytes each; of a block
    __shared__ uint4 room[STAGES][PIECES];
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    long long first = ((long long)blockIdx.x * WARPS + threadIdx.x / 32) * TILES * 16;
    bool wide = aligned(vectors, dims);

    unsigned a[TILES][PAIRS * 2][4];  // -a, rounded
#pragma unroll
    for (int i = 0; i < TILES * 2; i++) {
        const float* z = vectors + min(first + 8 * i + g, rows - 1) * dims;
#pragma unroll
        for (int p = 0; p < PAIRS * 2; p++) {
            Four<float> v = centred(z, centre, p / 2 * 32 + t * 8 + p % 2 * 4, dims, wide);
            a[i / 2][p][i % 2] = round_bf16(-v.x[0], -v.x[1]);
            a[i / 2][p][i % 2 + 2] = round_bf16(-v.x[2], -v.x[3]);
            if (p % 4 == 3) __syncwarp();  // so that no more is read ahead than registers hold
        }
    }

    int begin = blocks * blockIdx.y / gridDim.y, end = blocks * (blockIdx.y + 1) / gridDim.y;
    int stages = (end - begin) * TURNS;
    const uint4* source = (const uint4*)packed + (long long)begin * TURNS * PIECES;
    auto fetch = [&](int stage) {
        if (stage < stages)
            for (int i = threadIdx.x; i < PIECES; i += THREADS)
                copy_async(&room[stage % STAGES][i], source + (long long)stage * PIECES + i);
        copy_commit();
    };
    for (int stage = 0; stage < STAGES - 1; stage++) fetch(stage);

    float low[TILES][2];
    for (int stage = 0; stage < stages; stage++) {
        copy_wait<STAGES - 2>();
        __syncthreads();  // this stage is here, and the last one free
        fetch(stage + STAGES - 1);
        if (stage % TURNS == 0)
#pragma unroll
            for (int i = 0; i < TILES; i++) low[i][0] = low[i][1] = infinity();
        const uint4* record = room[stage % STAGES];
#pragma unroll 2
        for (int j = 0; j < STAGE; j++, record += RECORD / 4) {
            float2 half = ((const float2*)(record + PAIRS * 32))[t];
            float score[TILES][4];
#pragma unroll
            for (int i = 0; i < TILES; i++)
                score[i][0] = score[i][2] = half.x, score[i][1] = score[i][3] = half.y;
#pragma unroll
            for (int p = 0; p < PAIRS; p++) {
                uint4 four = record[p * 32 + lane];
                unsigned b[2][2] = {{four.x, four.y}, {four.z, four.w}};
#pragma unroll
                for (int s = 0; s < 2; s++)
#pragma unroll
                    for (int i = 0; i < TILES; i++) mma_bf16(score[i], a[i][2 * p + s], b[s]);
            }
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                low[i][0] = min(low[i][0], min(score[i][0], score[i][1]));
                low[i][1] = min(low[i][1], min(score[i][2], score[i][3]));
            }
        }
        if (stage % TURNS == TURNS - 1) {
            int group = 4 * (begin + stage / TURNS) + t;
#pragma unroll
            for (int i = 0; i < TILES * 2; i++)
                minima[((first / 8 + i) * 4 * blocks + group) * 8 + g] = low[i / 2][i % 2];
        }
    }
}

#endif

// --- The decision ---------------------------------------------------------------------------

// What differs between the screens: what rounding takes from an entry of a row, the error of a sum
// (tensor cores truncate), and the scores of a group again, one to each lane.
template <class T>
__device__ inline T lost(T, const T*) { return 0; }
template <class T>
__device__ inline double sum_error(const T*) { return Number<T>::eps; }

template <class T>
__device__ inline T rescan(
    const T* z, const T* centre, const T* packed, int group, int dims, bool, int lane
) {
    const T* line = packed + (long long)group * (dims + 1) * GROUP + lane;
    T score = line[0];
#pragma unroll 4
    for (int d = 0; d < dims; d++) score += line[(d + 1) * GROUP] * (z[d] - centre[d]);
    return score;
}

#ifdef PAIRS

__device__ inline float lost(float a, const unsigned*) { return a - as_bf16(a); }
__device__ inline double sum_error(const unsigned*) { return 2 * Number<float>::eps; }

// Four lanes share a codeword, and each goes through four of them.
__device__ inline float rescan(
    const float* z, const float* centre, const unsigned* packed, int group, int dims, bool wide,
    int lane
) {
    long long k = (long long)group * GROUP;
    float products[4] = {};
#pragma unroll 2
    for (int p = 0; p < PAIRS; p++) {
        Four<float> a[2];
#pragma unroll
        for (int i = 0; i < 2; i++)
            a[i] = centred(z, centre, p * 32 + lane % 4 * 8 + i * 4, dims, wide);
#pragma unroll
        for (int turn = 0; turn < 4; turn++) {
            long long own = k + turn * 8 + lane / 4;
            const unsigned* record = packed + (long long)record_of(own) * RECORD;
            uint4 b = *(const uint4*)(record + p * 128 + column_of(own) * 16 + lane % 4 * 4);
            unsigned pairs[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                products[turn] += a[i / 2].x[i % 2 * 2] * __uint_as_float(pairs[i] << 16);
                float high = __uint_as_float(pairs[i] & 0xffff0000u);
                products[turn] += a[i / 2].x[i % 2 * 2 + 1] * high;
            }
        }
    }
    float mine = 0;
#pragma unroll
    for (int turn = 0; turn < 4; turn++) {
        float sum = products[turn] + __shfl_xor_sync(WARP, products[turn], 1);
        sum += __shfl_xor_sync(WARP, sum, 2);
        sum = __shfl_sync(WARP, sum, lane % 8 * 4);
        if (lane / 8 == turn) mine = sum;
    }
    k += lane;
    const float* halves = (const float*)packed + (long long)record_of(k) * RECORD + PAIRS * 128;
    return halves[column_of(k)] - mine;
}

#endif

// The definition.
template <class T>
__device__ inline double distance(const T* z, const T* e, int dims, bool wide) {
    double total = 0;
    for (int d = 0; d < dims; d += 4) {
        Four<T> x = four(z, d, dims, wide), y = four(e, d, dims, wide);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            double difference = __dsub_rn(widen(x.x[i]), widen(y.x[i]));
            total = __dadd_rn(total, __dmul_rn(difference, difference));
        }
    }
    return total;
}

// A warp for eight rows. The margin is twice the error of a score. Let r = |a| + |b|, and |b| be no
// more than the winner's may be, 2 |a| + min |b| (a stray codeword's score grows faster than its
// error). Rounding to bf16 moves a.b by at most |a - a'| |b| + |a'| |b - b'|; centring and adding
// up, in any order, move s by less than (D + 16) eps |b| r (see reference.py, whose |a| is in r
// alone), and the definition's own rounding counts for (D + 16) 2^-53 r^2. `tiny` is for what
// underflows. Where squares may overflow, all survive; so does a NaN.
template <class T, class Packed>
__device__ inline void decide(
    const T* vectors, const T* codebook, const T* centre, const Packed* packed,
    const double* bounds, const T* minima, long long rows, int size, int dims, long long* codes,
    T* distances
) {
    __shared__ int2 open_pairs[WARPS][2 * GROUP];  // (row, codeword), in ascending order
    __shared__ double totals[WARPS][GROUP];
    int lane = threadIdx.x % 32, groups = (size + BLOCK - 1) / BLOCK * 4;
    long long first = ((long long)blockIdx.x * WARPS + threadIdx.x / 32) * 8;
    long long row = first + lane % 8;
    if (first >= rows) return;
    int2* pairs = open_pairs[threadIdx.x / 32];
    double* total = totals[threadIdx.x / 32];
    bool wide = aligned(vectors, dims) && aligned(codebook, dims);

    double square = 0, rest = 0;  // four lanes for each row
    int finite = row < rows;
    const T* z = vectors + min(row, rows - 1) * dims;
    for (int d = lane / 8 * 4; d < dims; d += 16) {
        Four<T> v = four(z, d, dims, wide), c = *(const Four<T>*)(centre + d);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            T a = v.x[i] - c.x[i], off = lost(a, packed);
            finite &= v.x[i] - v.x[i] == 0;
            square += (double)a * a, rest += (double)off * off;
        }
    }
    const T* scores = minima + first * groups + lane;
    T low = infinity();
    for (int i = 0; i < groups / 4; i++) low = min(low, scores[i * 32]);
    for (int n = 8; n < 32; n *= 2) {
        square += __shfl_xor_sync(WARP, square, n);
        rest += __shfl_xor_sync(WARP, rest, n);
        finite &= __shfl_xor_sync(WARP, finite, n);
        low = min(low, __shfl_xor_sync(WARP, low, n));
    }
    double norm = sqrt(square), off = sqrt(rest);
    double reach = min(bounds[1], 2 * norm + bounds[0]), radius = norm + reach;
    double error = off * reach + (norm + off) * bounds[2] * reach;
    error += (dims + 16) * (sum_error(packed) * reach + 0x1p-53 * radius) * radius;
    T margin = infinity();
    if (4 * radius * radius < Number<T>::top)
        margin = 2.0001 * error + 16 * (dims + 1) * Number<T>::tiny * (1 + radius);
    T limit = low + margin;

    int code = -1, waiting = 0;  // of row `lane`; how many pairs are open
    double best = 0;
    auto settle = [&](int count) {
        __syncwarp();
        if (lane < count) {
            int2 pair = pairs[lane];
            total[lane] = distance(
                vectors + (first + pair.x) * dims, codebook + (long long)pair.y * dims, dims, wide);
        }
        __syncwarp();
        for (int i = 0; i < count; i++)
            if (pairs[i].x == lane && (code < 0 || total[i] < best))
                code = pairs[i].y, best = total[i];
        int2 later = pairs[GROUP + lane];
        __syncwarp();
        pairs[lane] = later;
        __syncwarp();
    };
    for (int i = 0; i < groups / 4; i++) {
        unsigned left = __ballot_sync(WARP, finite && !(scores[i * 32] > limit));
        for (; left; left &= left - 1) {
            int bit = __ffs(left) - 1, group = 4 * i + bit / 8, k = group * GROUP + lane;
            const T* own = vectors + (first + bit % 8) * dims;
            T score = rescan(own, centre, packed, group, dims, wide, lane);
            T allowed = __shfl_sync(WARP, limit, bit);
            unsigned survive = __ballot_sync(WARP, k < size && !(score > allowed));
            if (survive >> lane & 1)
                pairs[waiting + __popc(survive & ((1u << lane) - 1))] = {bit % 8, k};
            waiting += __popc(survive);
            if (waiting >= GROUP) settle(GROUP), waiting -= GROUP;
        }
    }
    settle(waiting);
    if (lane < 8 && row < rows) {
        codes[row] = code;
        narrow(code < 0 ? __longlong_as_double(-1) : best, distances[row]);  // -1 is a NaN
    }
}

// --- Kernels --------------------------------------------------------------------------------

#define KERNELS(NAME, T, PLACE, PACKED)                                                            \
    extern "C" __global__ void mean_##NAME(                                                        \
        const T* codebook, long long size, long long dims, T* centre, double* bounds               \
    ) {                                                                                            \
        mean(codebook, size, dims, centre, bounds);                                                \
    }                                                                                              \
    extern "C" __global__ void pack_##NAME(                                                        \
        const T* codebook, const T* centre, long long size, long long dims, PACKED* packed,        \
        double* bounds                                                                             \
    ) {                                                                                            \
        pack<PLACE>(codebook, centre, size, dims, packed, bounds);                                 \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) decide_##NAME(                           \
        const T* vectors, const T* codebook, const T* centre, const PACKED* packed,                \
        const double* bounds, const T* minima, long long rows, long long size, long long dims,     \
        long long* codes, T* distances                                                             \
    ) {                                                                                            \
        decide(                                                                                    \
            vectors, codebook, centre, packed, bounds, minima, rows, size, dims, codes,            \
            distances);                                                                            \
    }

#define SCREEN(T, ROWS, BLOCKS)                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) screen_##T(                      \
        const T* vectors, const T* centre, const T* packed, long long rows, long long dims,        \
        long long blocks, T* minima                                                                \
    ) {                                                                                            \
        screen_own<T, ROWS>(vectors, centre, packed, rows, dims, blocks, minima);                  \
    }

#ifdef PAIRS
KERNELS(bf16, float, Tensor, unsigned)
#else
KERNELS(float, float, Own<float>, float)
KERNELS(double, double, Own<double>, double)
SCREEN(float, 8, 2)
SCREEN(double, 4, 1)
#endif
