// Convolution and its two gradients: one product of matrices, whose operands are gathered.
//
// FORWARD  rows are results' pixels, columns output channels; the sum goes over (tap, input).
// INPUT    rows are images' pixels, columns input channels; the sum goes over (tap, output), of the
//          taps alone that meet these pixels. Which do, depends on a pixel's phase, its place
//          between the strides: a block works on pixels of one phase.
// WEIGHT   rows are (tap, input), columns output channels; the sum goes over results' pixels.
//
// A block owns BM x BN sums and a warp WM x WN of these. Slices of BK terms come into shared memory
// while earlier ones are multiplied. Where there are few blocks, several share one tile's sum: each
// leaves its part to `add_parts`, which adds them in order.
//
// PRODUCTS is how: 3, on tensor cores, with each float as the sum of two TF32 numbers, of whose
// products the smallest is left out; 1, likewise but of the larger number alone; 0, without tensor
// cores. These do not round what they add up, they truncate: so they add up eight terms at a time,
// and no more.

#ifndef KIND  // else as the launcher says
#define KIND 0
#define REAL float
#define PRODUCTS 3
#define WIDE 1
#define BM 128
#define BN 64
#define WM 64
#define WN 32
#endif

constexpr bool INPUT = KIND == 1, WEIGHT = KIND == 2;
constexpr int ACROSS = BN / WN, THREADS = BM / WM * ACROSS * 32;
constexpr int LANES = 16 / sizeof(REAL), BK = 4 * LANES;
constexpr int PIECE = WIDE ? LANES : 1;  // entries that are copied at once
constexpr int STAGES = BM + BN > 128 ? 3 : 4;  // slices in shared memory: it has 48 KB
constexpr int ROWS = WM / 8, COLUMNS = WN / 4;  // of a thread's sums
constexpr int WORDS = ROWS * COLUMNS * sizeof(REAL) / 4;  // and the registers that these take
constexpr int RESIDENT = WORDS > 32 ? 2 : WORDS > 16 ? 3 : 4;  // blocks that registers are left for

// A slice of an operand: lines of terms, or else of rows, whose ends keep a warp's reads apart.
template <int COUNT, bool TERMS>
struct Slice {
    static constexpr int LINE = TERMS ? BK + LANES : COUNT + 2 * LANES;
    alignas(16) REAL entries[(TERMS ? COUNT : BK) * LINE];
    __device__ REAL& at(int row, int k) { return entries[TERMS ? row * LINE + k : k * LINE + row]; }
};
using Left = Slice<BM, !WEIGHT>;
using Right = Slice<BN, INPUT>;

// A number in three digits, that grows by the same step each time: without a division.
struct Walk {
    int high, middle, low, middles, lows, high_step, middle_step, low_step;
    __device__ Walk(int first, int step, int middles, int lows) : middles(middles), lows(lows) {
        low = first % lows, middle = first / lows % middles, high = first / lows / middles;
        low_step = step % lows, middle_step = step / lows % middles;
        high_step = step / lows / middles;
    }
    __device__ void advance() {
        low += low_step, middle += middle_step, high += high_step;
        if (low >= lows) low -= lows, middle++;
        if (middle >= middles) middle -= middles, high++;
    }
};

// Along one axis, the pixels that a block writes, first + i * step, and what they read: through tap
// number tap + k * tap_step the source's pixel origin + i * stride + k * move.
struct Axis { int count, first, step, taps, tap, tap_step, origin, stride, move; };

__device__ Axis axis(
    int phase, int size, int results, int taps, int stride, int pad, int dilation
) {
    if (!INPUT) return {results, 0, 1, taps, 0, 1, -pad, stride, dilation};
    int period = 1, tap = 0;  // every how many taps the phase is the same; the first that meets it
    while (period * dilation % stride) period++;
    while (tap < period && (phase + pad - tap * dilation) % stride) tap++;
    int met = tap < period && tap < taps ? (taps - tap + period - 1) / period : 0;
    int count = phase < size ? (size - phase + stride - 1) / stride : 0;
    int origin = (phase + pad - tap * dilation) / stride;
    return {count, phase, stride, met, tap, period, origin, 1, -(period * dilation / stride)};
}

__device__ void fetch(REAL* to, const REAL* from, bool inside) {
    if (WIDE) copy_async(to, from, inside);
    else copy_async_one(to, from, inside);
}

#if PRODUCTS
// The two TF32 numbers whose sum is x, nearly: bits of the larger one, and of the smaller. Tensor
// cores ignore the last 13 bits: half of what these can hold is added first. Infinities become NaN.
__device__ void split(float x, unsigned& large, unsigned& small) {
    large = PRODUCTS == 3 ? (__float_as_uint(x) + 0x1000) & ~0x1fffu : round_tf32(x);
    small = __float_as_uint(x - __uint_as_float(large));
}
#endif

// sums += a b, of one slice. A thread's sums are where mma.sync has them, in any case: in rows
// row + 8 i, and in columns column, column + 1, column + 8, column + 9...
__device__ void multiply(REAL sums[ROWS][COLUMNS], Left& a, Right& b, int row, int column) {
#if PRODUCTS
    int t = threadIdx.x % 4;
    column += threadIdx.x % 32 / 4 - 2 * t;  // of what it reads
#pragma unroll
    for (int first = 0; first < BK; first += 8) {
        int k = first + t;
        unsigned large[COLUMNS / 2][2], small[COLUMNS / 2][2];
#pragma unroll
        for (int j = 0; j < COLUMNS / 2; j++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                split(b.at(column + 8 * j, k + 4 * i), large[j][i], small[j][i]);
#pragma unroll
        for (int m = 0; m < ROWS; m += 2) {
            unsigned left[4], rest[4];
            float eight[COLUMNS / 2][4] = {};
#pragma unroll
            for (int i = 0; i < 4; i++)
                split(a.at(row + 8 * (m + i % 2), k + 4 * (i / 2)), left[i], rest[i]);
            if (PRODUCTS == 3) {
#pragma unroll
                for (int j = 0; j < COLUMNS / 2; j++) mma_tf32(eight[j], rest, large[j]);
#pragma unroll
                for (int j = 0; j < COLUMNS / 2; j++) mma_tf32(eight[j], left, small[j]);
            }
#pragma unroll
            for (int j = 0; j < COLUMNS / 2; j++) mma_tf32(eight[j], left, large[j]);
#pragma unroll
            for (int j = 0; j < COLUMNS / 2; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[m + i / 2][2 * j + i % 2] += eight[j][i];
        }
    }
#else
#pragma unroll
    for (int k = 0; k < BK; k++) {
        REAL left[ROWS], right[COLUMNS];
#pragma unroll
        for (int i = 0; i < ROWS; i++) left[i] = a.at(row + 8 * i, k);
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) right[j] = b.at(column + j / 2 * 8 + j % 2, k);
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) sums[i][j] += left[i] * right[j];
    }
#endif
}

// left: the images (INPUT: the results); right: the weights (WEIGHT: the results). out, of which
// each of `splits` parts has its own: the results, images or weights. The sizes are those of the
// convolution: images (batch, height, width, groups * within), results (batch, high, wide, groups *
// per), weights (kh, kw, within, groups * per); stride, padding and dilation, vertical and
// horizontal. What would be less than `floor` becomes that.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) convolve(
    const REAL* __restrict__ left, const REAL* __restrict__ right, const REAL* __restrict__ bias,
    REAL* __restrict__ out, int batch, int height, int width, int within, int high, int wide,
    int per, int kh, int kw, int sy, int sx, int py, int px, int dy, int dx, int groups, int splits,
    REAL floor
) {
    __shared__ Left lefts[STAGES];
    __shared__ Right rights[STAGES];
    struct Pixel { long long place; int y, x; };
    __shared__ Pixel pixels[WEIGHT ? 1 : BM];  // where the rows' first taps would be
    __shared__ long long places[BM];           // of the rows in `out`, or -1
    int thread = threadIdx.x;

    // Its tile, and its share of the sum.
    int columns = INPUT ? within : per;
    int inputs = INPUT ? per : within;  // channels of `left`, in each group
    int most = WEIGHT    ? kh * kw * within
               : INPUT ? batch * ((height + sy - 1) / sy) * ((width + sx - 1) / sx)
                       : batch * high * wide;
    int block = blockIdx.x, tiles = (columns + BN - 1) / BN;
    int first_column = block % tiles * BN;
    block /= tiles, tiles = (most + BM - 1) / BM;
    int first_row = block % tiles * BM;
    block /= tiles;
    int part = block % splits, group = block / splits % groups, phase = block / splits / groups;

    Axis down = axis(phase / sx, height, high, kh, sy, py, dy);
    Axis along = axis(phase % sx, width, wide, kw, sx, px, dx);
    int rows = WEIGHT ? most : batch * down.count * along.count;
    if (first_row >= rows) return;
    int depth = WEIGHT ? batch * high * wide : down.taps * along.taps * inputs;
    int source_height = INPUT ? high : height, source_width = INPUT ? wide : width;
    int target_height = INPUT ? height : high, target_width = INPUT ? width : wide;
    for (int i = thread; i < BM; i += THREADS) {
        int row = first_row + i;
        places[i] = row < rows ? (long long)row * columns * groups : -1;
        if (WEIGHT) continue;
        int x = row % along.count, y = row / along.count % down.count;
        long long n = row / along.count / down.count;
        if (INPUT && row < rows)
            places[i] = ((n * target_height + down.first + y * down.step) * target_width +
                         along.first + x * along.step) * columns * groups;
        y = down.origin + y * down.stride, x = along.origin + x * along.stride;
        if (row >= rows) y = -(1 << 30);  // outside, whatever the tap
        pixels[i] = {((n * source_height + y) * source_width + x) * inputs * groups, y, x};
    }
    __syncthreads();

    int slices = (depth + BK - 1) / BK;
    int share = slices / splits, more = slices % splits;  // the first so many have one more
    int slice = part * share + min(part, more), last = slice + share + (part < more);
    // What of a slice this thread copies: always the same of a line, from every so many lines.
    constexpr int LEFT_LINE = (WEIGHT ? BM : BK) / PIECE, RIGHT_LINE = (INPUT ? BK : BN) / PIECE;
    constexpr int LEFT_LINES = THREADS / LEFT_LINE, RIGHT_LINES = THREADS / RIGHT_LINE;
    static_assert(LEFT_LINES <= (WEIGHT ? BK : BM), "each thread copies as many entries");
    int entry = thread % LEFT_LINE * PIECE, line = thread / LEFT_LINE;
    int right_entry = thread % RIGHT_LINE * PIECE, right_line = thread / RIGHT_LINE;
    // Terms are (tap, tap, channel), or pixels of results.
    Walk walk = WEIGHT ? Walk(slice * BK + line, LEFT_LINES, high, wide)
                       : Walk(slice * BK + entry, BK, max(along.taps, 1), inputs);
    // WEIGHT: the row that it copies. A tap that is none reads some pixel, for sums of no use.
    int tap = (first_row + entry) / within, tap_y = tap / kw * dy - py, tap_x = tap % kw * dx - px;
    left += group * inputs + (WEIGHT ? (first_row + entry) % within : 0);
    right += group * per + (INPUT ? 0 : first_column + right_entry);

    auto copy = [&](int slice) {
        Left& a = lefts[slice % STAGES];
        Right& b = rights[slice % STAGES];
        if constexpr (WEIGHT) {
#pragma unroll
            for (int i = 0; i < BK; i += LEFT_LINES) {
                int y = walk.middle * sy + tap_y, x = walk.low * sx + tap_x;
                bool inside = walk.high < batch && (unsigned)y < (unsigned)height &&
                              (unsigned)x < (unsigned)width;
                long long pixel = (walk.high * height + y) * width + x;
                fetch(&a.at(entry, i + line), left + pixel * (groups * within), inside);
                walk.advance();
            }
        } else {
            int move_y = walk.high * down.move, move_x = walk.middle * along.move;
            long long move = move_y * source_width + move_x;
            const REAL* from = left + move * (groups * inputs) + walk.low;
            bool tap_inside = walk.high < down.taps;
#pragma unroll
            for (int i = 0; i < BM; i += LEFT_LINES) {
                Pixel pixel = pixels[i + line];
                int y = pixel.y + move_y, x = pixel.x + move_x;
                bool inside = tap_inside & ((unsigned)y < (unsigned)source_height) &
                              ((unsigned)x < (unsigned)source_width);  // && would branch
                fetch(&a.at(i + line, entry), from + pixel.place, inside);
            }
        }
        if constexpr (INPUT) {  // the weights' rows are our columns, and the walk is the same
            int tap_y = down.tap + walk.high * down.tap_step;
            int tap_x = along.tap + walk.middle * along.tap_step;
            long long row = (tap_y * kw + tap_x) * within + first_column + line;
            const REAL* from = right + row * (groups * per) + walk.low;
#pragma unroll
            for (int j = 0; j < BN && j + line < BN; j += LEFT_LINES) {
                bool inside = walk.high < down.taps && first_column + j + line < columns;
                fetch(&b.at(j + line, entry), from + (long long)j * (groups * per), inside);
            }
        } else {
            int k = slice * BK + right_line;
            const REAL* from = right + (long long)k * (groups * per);
            bool column_inside = first_column + right_entry < columns;
#pragma unroll
            for (int i = 0; i < BK && i + right_line < BK; i += RIGHT_LINES) {
                const REAL* there = from + (long long)i * (groups * per);
                fetch(&b.at(right_entry, i + right_line), there, column_inside && k + i < depth);
            }
        }
        if (!WEIGHT) walk.advance();
    };

    int warp = thread / 32, lane = thread % 32;
    int row = warp / ACROSS * WM + lane / 4, column = warp % ACROSS * WN + lane % 4 * 2;
    REAL sums[ROWS][COLUMNS] = {};
    for (int next = slice; next < slice + STAGES - 1; next++) {
        if (next < last) copy(next);
        copy_commit();
    }
    for (; slice < last; slice++) {
        copy_wait<STAGES - 2>();
        __syncthreads();  // all have copied this slice, and are done with the one before
        if (slice + STAGES - 1 < last) copy(slice + STAGES - 1);
        copy_commit();
        multiply(sums, lefts[slice % STAGES], rights[slice % STAGES], row, column);
    }

    long long size = WEIGHT ? (long long)rows * columns * groups
                            : (long long)batch * target_height * target_width * columns * groups;
    out += part * size + group * columns + first_column;
    REAL biases[COLUMNS];
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
        int at = column + j / 2 * 8 + j % 2;
        bool inside = bias && first_column + at < columns;
        biases[j] = inside ? bias[group * columns + first_column + at] : REAL(0);
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        long long place = places[row + 8 * i];
        if (place < 0) continue;
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
            int at = column + j / 2 * 8 + j % 2;
            REAL sum = sums[i][j] + biases[j];
            if (first_column + at < columns) out[place + at] = sum < floor ? floor : sum;
        }
    }
}

// out = the sum of the parts, each of this size, plus the bias of each channel.
extern "C" __global__ void add_parts(
    const REAL* parts, const REAL* bias, REAL* out, long long size, int channels, int splits,
    REAL floor
) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    REAL sum = parts[i];
    for (int part = 1; part < splits; part++) sum += parts[part * size + i];
    if (bias) sum += bias[i % channels];
    out[i] = sum < floor ? floor : sum;
}
