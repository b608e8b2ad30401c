// Sums of rows by code, in an order that the codes alone decide: no float is added by an atomic.
//
// First the rows are sorted by code, and stay in their order within it (a counting sort, in tiles
// of rows, each of which has counts of its own). Then each warp adds up PIECE rows that follow one
// another. A code whose rows all lie in one piece is done; of the others, the piece leaves a sum
// that is a row of the next, 2 / PIECE as long, round.

const int THREADS = 256, WARPS = THREADS / 32, PIECE = 64, UNROLL = 8;

// Codes outside [0, count) are the last bucket: they are sorted too, and never added.
__device__ inline int bucket(long long code, int count) {
    return code < 0 || code >= count ? count : (int)code;
}

// table[bucket][tile]: how many rows of the tile have the code.
extern "C" __global__ void count_codes(
    const long long* codes, long long rows, long long count, long long tile, long long tiles,
    int* table
) {
    long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i < rows) atomicAdd(table + bucket(codes[i], count) * tiles + i / tile, 1);
}

// A warp for each tile puts its rows in their places, the last first: `table`, summed up so far,
// says where those of a code end, and becomes where they begin.
extern "C" __global__ void sort_codes(
    const long long* codes, long long rows, long long count, long long tile, long long tiles,
    int* table, int* order, int* sorted
) {
    int lane = threadIdx.x % 32;
    long long own = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    if (own >= tiles) return;
    long long begin = own * tile, end = min(begin + tile, rows);
    for (long long last = end - 1; last >= begin; last -= 32) {
        long long i = last - lane;  // a lower lane has a later row
        int code = i >= begin ? bucket(codes[i], count) : -1;
        unsigned peers = __match_any_sync(WARP, code);
        int* cell = table + max(code, 0) * tiles + own;
        int place = *cell - 1 - __popc(peers & ((1u << lane) - 1));
        __syncwarp();  // all have read
        if (code >= 0) {
            order[place] = i, sorted[place] = code;
            if (lane == 31 - __clz(peers)) *cell = place;
        }
        __syncwarp();
    }
}

// Sums of sorted rows, 32 columns to a warp. The rows are values[order[i]], or values[i] without
// an order. The sums of the codes that go on beyond the piece, its first and its last, go into two
// rows of `later`.
template <class T>
__device__ inline void sum(
    const T* values, const int* order, const int* sorted, long long rows, int columns, int count,
    T* out, T* later, int* later_codes
) {
    int strips = (columns + 31) / 32, column = blockIdx.x % strips * 32 + threadIdx.x % 32;
    long long piece = (long long)(blockIdx.x / strips) * WARPS + threadIdx.x / 32;
    long long begin = piece * PIECE, end = min(begin + PIECE, rows);
    if (begin >= rows || column >= columns) return;
    bool before = begin > 0 && sorted[begin - 1] == sorted[begin];
    bool after = end < rows && sorted[end] == sorted[end - 1];
    T head = 0, total = 0;
    int head_code = count, code = sorted[begin];
    for (long long i = begin; i < end; i += UNROLL) {
        int codes[UNROLL];
        T row[UNROLL];
#pragma unroll
        for (int j = 0; j < UNROLL; j++) {
            long long n = min(i + j, end - 1);
            codes[j] = sorted[n];
            row[j] = values[(order ? order[n] : n) * columns + column];
        }
#pragma unroll
        for (int j = 0; j < UNROLL; j++) {
            if (i + j >= end) break;
            if (codes[j] != code) {
                if (before) head = total, head_code = code;
                else if (code < count) out[(long long)code * columns + column] = total;
                before = false, total = 0, code = codes[j];
            }
            total += row[j];
        }
    }
    // A code that goes on at both ends has both rows, so that nothing stands between its parts.
    if (before) head_code = code;
    if (before && !after) head = total;
    if (!before && !after && code < count) out[(long long)code * columns + column] = total;
    later[2 * piece * columns + column] = head;
    later[(2 * piece + 1) * columns + column] = after ? total : T(0);
    if (column == 0) {
        later_codes[2 * piece] = head_code;
        later_codes[2 * piece + 1] = after ? code : count;
    }
}

#define SUM(T)                                                                                     \
    extern "C" __global__ void sum_##T(                                                            \
        const T* values, const int* order, const int* sorted, long long rows, long long columns,   \
        long long count, T* out, T* later, int* later_codes                                        \
    ) {                                                                                            \
        sum(values, order, sorted, rows, columns, count, out, later, later_codes);                 \
    }
SUM(float)
SUM(double)
