// Elementwise kernels: relu, its gradient, the steps of the optimizers, and a note of what is bad.

__device__ inline long long first_entry() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}
__device__ inline long long stride() { return (long long)gridDim.x * blockDim.x; }

// p, g and velocity, which may be null, have `size` entries. The rate is read where `rate_at` is
// not null; so are the numbers of Adam.
template <typename T>
__device__ inline void sgd(T* p, const T* g, T* velocity, long long size, const double* rate_at,
                           double rate, double momentum, double decay, bool nesterov) {
    T r = T(rate_at ? *rate_at : rate), past = T(momentum), weight = T(decay);
    for (long long i = first_entry(); i < size; i += stride()) {
        T change = decay ? g[i] + weight * p[i] : g[i];  // 0 times an infinite p is NaN
        if (velocity) {
            T v = velocity[i] * past + change;
            velocity[i] = v;
            change = nesterov ? change + past * v : v;
        }
        p[i] -= r * change;
    }
}

// The powers are taken once in each block, in double.
template <typename T>
__device__ inline void adam(T* p, const T* g, T* m, T* v, long long size, const double* step_at,
                            double step, const double* rate_at, double rate, double first,
                            double second, double eps, double decay, T numbers[3]) {
    if (threadIdx.x == 0) {
        double n = step_at ? *step_at : step, r = rate_at ? *rate_at : rate;
        numbers[0] = T(r / (1 - pow(first, n)));
        numbers[1] = T(sqrt(1 - pow(second, n)));
        numbers[2] = T(1 - r * decay);
    }
    __syncthreads();
    T scale = numbers[0], root = numbers[1], shrink = numbers[2];
    T rest = T(1 - first), rest_of_squares = T(1 - second);  // in float they would be off by 5e-5
    for (long long i = first_entry(); i < size; i += stride()) {
        T mean = m[i] * T(first) + rest * g[i];
        T square = v[i] * T(second) + rest_of_squares * (g[i] * g[i]);
        m[i] = mean, v[i] = square;
        p[i] = p[i] * shrink - mean / (sqrt(square) / root + T(eps)) * scale;
    }
}

#define UPDATES(T)                                                                                 \
    extern "C" __global__ void relu_##T(const T* x, T* out, long long size) {                      \
        long long i = first_entry();                                                               \
        if (i < size) out[i] = x[i] < 0 ? T(0) : x[i];                                             \
    }                                                                                              \
    extern "C" __global__ void gate_##T(const T* x, const T* by, T* out, long long size) {         \
        long long i = first_entry();                                                               \
        if (i < size) out[i] = by[i] <= 0 ? T(0) : x[i];                                           \
    }                                                                                              \
    extern "C" __global__ void sgd_##T(T* p, const T* g, T* velocity, long long size,              \
                                       const double* rate_at, double rate, double momentum,        \
                                       double decay, bool nesterov) {                              \
        sgd(p, g, velocity, size, rate_at, rate, momentum, decay, nesterov);                       \
    }                                                                                              \
    extern "C" __global__ void adam_##T(T* p, const T* g, T* m, T* v, long long size,              \
                                        const double* step_at, double step,                        \
                                        const double* rate_at, double rate, double first,          \
                                        double second, double eps, double decay) {                 \
        __shared__ T numbers[3];                                                                   \
        adam(p, g, m, v, size, step_at, step, rate_at, rate, first, second, eps, decay, numbers);  \
    }
UPDATES(float)
UPDATES(double)

// The word becomes `number` if it is 0 and any entry is bad.
extern "C" __global__ void flag(unsigned long long* word, const bool* bad, long long size,
                                unsigned long long number) {
    for (long long i = first_entry(); i < size; i += stride())
        if (bad[i]) {
            atomicCAS(word, 0ull, number);
            return;
        }
}
