// Kernels over rows (../rows.py): a warp takes a short row, a block of 256 a long one.
//
// Sums are in double. What is read twice is read again: of short rows it is in the cache.

#define THREADS 256

template <int TEAM>
__device__ inline long long my_row() {
    return (long long)blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM;
}

// All that a team's threads have, joined; each of them gets the same bits.
template <int TEAM, typename T, typename F>
__device__ inline T reduce(T x, F join) {
    for (int distance = 16; distance; distance /= 2)
        x = join(x, __shfl_xor_sync(WARP, x, distance));
    if (TEAM > 32) {
        __shared__ T parts[THREADS / 32];
        __syncthreads();  // those of the last call have been read
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
        __syncthreads();
        x = parts[0];
        for (int i = 1; i < TEAM / 32; i++) x = join(x, parts[i]);
    }
    return x;
}

template <int TEAM>
__device__ inline double sum(double x) {
    return reduce<TEAM>(x, [](double a, double b) { return a + b; });
}

// --- Softmax --------------------------------------------------------------------------------

template <typename T>
__device__ inline T infinity() { return T(__longlong_as_double(0x7ff0000000000000ll)); }

// What to subtract where this is the largest entry.
template <typename T>
__device__ inline T anchor(T x) { return x == infinity<T>() || x == -infinity<T>() ? T(0) : x; }

// What to subtract from a row's entries, and the sum of exponentials then, at least 1.
template <typename T>
struct Total { T shift; double sum; };

// In one pass: where a larger entry appears, the sum so far is scaled to it. NaN is not larger, but
// makes the sum NaN.
template <int TEAM, typename T>
__device__ inline Total<T> total(const T* x, int length, int lane) {
    const int PART = 8;  // entries at a time: rarer scaling, and reads that do not wait
    T top = -infinity<T>();
    double exponentials = 0;
    for (int first = lane; first < length; first += PART * TEAM) {
        T part[PART], before = top;
        for (int j = 0; j < PART; j++) {
            int i = first + j * TEAM;
            part[j] = i < length ? x[i] : -infinity<T>();
        }
        for (int j = 0; j < PART; j++) top = max(top, part[j]);
        exponentials *= exp(before - anchor(top));
        for (int j = 0; j < PART; j++) exponentials += exp(part[j] - anchor(top));
    }
    T highest = reduce<TEAM>(top, [](T a, T b) { return max(a, b); });
    exponentials = sum<TEAM>(exponentials * exp(top - anchor(highest)));
    return {anchor(highest), exponentials < 1 ? 1.0 : exponentials};
}

template <int TEAM, typename T>
__device__ inline void softmax(const T* __restrict__ x, T* __restrict__ out, long long rows,
                               int length) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * length, out += row * length;
    Total<T> all = total<TEAM>(x, length, lane);
    for (int i = lane; i < length; i += TEAM) out[i] = exp(x[i] - all.shift) / T(all.sum);
}

template <int TEAM, typename T>
__device__ inline void softmax_gradient(const T* __restrict__ g, const T* __restrict__ p,
                                        T* __restrict__ out, long long rows, int length) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    g += row * length, p += row * length, out += row * length;
    double product = 0;
    for (int i = lane; i < length; i += TEAM) product += double(g[i]) * p[i];
    product = sum<TEAM>(product);
    for (int i = lane; i < length; i += TEAM) out[i] = T(p[i] * (g[i] - product));
}

template <int TEAM, typename T>
__device__ inline void log_softmax(const T* __restrict__ x, T* __restrict__ out, long long rows,
                                   int length) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * length, out += row * length;
    Total<T> all = total<TEAM>(x, length, lane);
    double logarithm = log(all.sum);
    for (int i = lane; i < length; i += TEAM) out[i] = T(x[i] - all.shift - logarithm);
}

template <int TEAM, typename T>
__device__ inline void log_softmax_gradient(const T* __restrict__ g, const T* __restrict__ y,
                                            T* __restrict__ out, long long rows, int length) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    g += row * length, y += row * length, out += row * length;
    double whole = 0;
    for (int i = lane; i < length; i += TEAM) whole += g[i];
    whole = sum<TEAM>(whole);
    for (int i = lane; i < length; i += TEAM) out[i] = T(g[i] - exp(y[i]) * whole);
}

// --- Its loss -------------------------------------------------------------------------------

template <int TEAM, typename T>
__device__ inline void cross_entropy(const T* __restrict__ x, const long long* __restrict__ labels,
                                     T* __restrict__ out, long long rows, int length) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * length;
    long long label = labels[row];
    bool inside = 0 <= label && label < length;
    Total<T> all = total<TEAM>(x, length, lane);
    if (lane == 0) out[row] = inside ? T(log(all.sum) - (x[label] - all.shift)) : T(0);
}

template <int TEAM, typename T>
__device__ inline void cross_entropy_gradient(const T* __restrict__ g, const T* __restrict__ x,
                                              const long long* __restrict__ labels,
                                              T* __restrict__ out, long long rows, int length) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * length, out += row * length;
    long long label = labels[row];
    bool inside = 0 <= label && label < length;
    Total<T> all = total<TEAM>(x, length, lane);
    for (int i = lane; i < length; i += TEAM)
        out[i] = inside ? g[row] * (exp(x[i] - all.shift) / T(all.sum) - (i == label)) : T(0);
}

// --- Standardization ------------------------------------------------------------------------

template <int TEAM, typename T>
__device__ inline double mean(const T* x, int length, int lane) {
    double whole = 0;
    for (int i = lane; i < length; i += TEAM) whole += x[i];
    return sum<TEAM>(whole) / length;
}

template <int TEAM, typename T>
__device__ inline void standardize(const T* __restrict__ x, T* __restrict__ out, long long rows,
                                   int length, double eps) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    x += row * length, out += row * length;
    double centre = mean<TEAM>(x, length, lane), squares = 0;
    for (int i = lane; i < length; i += TEAM) squares += (x[i] - centre) * (x[i] - centre);
    double scale = 1 / sqrt(sum<TEAM>(squares) / length + eps);
    for (int i = lane; i < length; i += TEAM) out[i] = T((x[i] - centre) * scale);
}

template <int TEAM, typename T>
__device__ inline void standardize_gradient(const T* __restrict__ g, const T* __restrict__ x,
                                            T* __restrict__ out, long long rows, int length,
                                            double eps) {
    long long row = my_row<TEAM>();
    int lane = threadIdx.x % TEAM;
    if (row >= rows) return;
    g += row * length, x += row * length, out += row * length;
    double centre = mean<TEAM>(x, length, lane), squares = 0, whole = 0, product = 0;
    for (int i = lane; i < length; i += TEAM) {
        double deviation = x[i] - centre;
        squares += deviation * deviation, whole += g[i], product += g[i] * deviation;
    }
    double scale = 1 / sqrt(sum<TEAM>(squares) / length + eps);
    whole = sum<TEAM>(whole) / length, product = sum<TEAM>(product) / length * scale * scale;
    for (int i = lane; i < length; i += TEAM)
        out[i] = T((g[i] - whole - (x[i] - centre) * product) * scale);
}

// --- Entry points ---------------------------------------------------------------------------

#define ENTRY(NAME, T, PARAMETERS, ARGUMENTS)                                                      \
    extern "C" __global__ void NAME##_warp_##T PARAMETERS { NAME<32, T> ARGUMENTS; }               \
    extern "C" __global__ void NAME##_block_##T PARAMETERS { NAME<THREADS, T> ARGUMENTS; }
#define ENTRIES(T)                                                                                 \
    ENTRY(softmax, T, (const T* x, T* out, long long rows, int length), (x, out, rows, length))    \
    ENTRY(softmax_gradient, T,                                                                     \
          (const T* g, const T* p, T* out, long long rows, int length), (g, p, out, rows, length)) \
    ENTRY(log_softmax, T,                                                                          \
          (const T* x, T* out, long long rows, int length), (x, out, rows, length))                \
    ENTRY(log_softmax_gradient, T,                                                                 \
          (const T* g, const T* y, T* out, long long rows, int length), (g, y, out, rows, length)) \
    ENTRY(cross_entropy, T,                                                                        \
          (const T* x, const long long* labels, T* out, long long rows, int length),               \
          (x, labels, out, rows, length))                                                          \
    ENTRY(cross_entropy_gradient, T,                                                               \
          (const T* g, const T* x, const long long* labels, T* out, long long rows, int length),   \
          (g, x, labels, out, rows, length))                                                       \
    ENTRY(standardize, T, (const T* x, T* out, long long rows, int length, double eps),            \
          (x, out, rows, length, eps))                                                             \
    ENTRY(standardize_gradient, T,                                                                 \
          (const T* g, const T* x, T* out, long long rows, int length, double eps),                \
          (g, x, out, rows, length, eps))
ENTRIES(float)
ENTRIES(double)
