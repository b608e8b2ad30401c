// Elementwise kernels: one thread for each entry.

// relu: NaN stays.
#define RELU(T)                                                                                    \
    extern "C" __global__ void relu_##T(const T* x, T* out, long long size) {                      \
        long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;                            \
        if (i < size) out[i] = x[i] < 0 ? T(0) : x[i];                                             \
    }
RELU(float)
RELU(double)
