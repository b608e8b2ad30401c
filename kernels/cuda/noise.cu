// Random numbers by a counter (../noise.py): each thread makes one block of four words.

// Philox4x32-10 of the counter (number, 0) under the key.
__device__ inline uint4 philox(unsigned long long number, unsigned long long key) {
    uint4 x = make_uint4((unsigned)number, (unsigned)(number >> 32), 0, 0);
    unsigned k = (unsigned)key, l = (unsigned)(key >> 32);
    for (int round = 0; round < 10; round++) {
        unsigned left = __umulhi(0xD2511F53u, x.x), right = __umulhi(0xCD9E8D57u, x.z);
        x = make_uint4(right ^ x.y ^ k, 0xCD9E8D57u * x.z, left ^ x.w ^ l, 0xD2511F53u * x.x);
        k += 0x9E3779B9u, l += 0xBB67AE85u;
    }
    return x;
}

__device__ inline void bits_of(uint4 x, unsigned words[4]) {
    words[0] = x.x, words[1] = x.y, words[2] = x.z, words[3] = x.w;
}

__device__ inline void bits_of(uint4 x, unsigned long long words[2]) {
    words[0] = x.x | (unsigned long long)x.y << 32, words[1] = x.z | (unsigned long long)x.w << 32;
}

__device__ inline float fraction(unsigned x) { return (x >> 8) * 0x1p-24f; }
__device__ inline double fraction(unsigned long long x) { return (x >> 11) * 0x1p-53; }

// In (0, 1], of all bits.
__device__ inline float above_zero(unsigned x) { return x * 0x1p-32f + 0x1p-33f; }
__device__ inline double above_zero(unsigned long long x) { return x * 0x1p-64 + 0x1p-65; }

__device__ inline void box_muller(unsigned x, unsigned y, float out[2]) {
    float radius = sqrtf(-2 * logf(above_zero(x)));
    sincospif(2 * fraction(y), &out[0], &out[1]);
    out[0] *= radius, out[1] *= radius;
}

__device__ inline void box_muller(unsigned long long x, unsigned long long y, double out[2]) {
    double radius = sqrt(-2 * log(above_zero(x)));
    sincospi(2 * fraction(y), &out[0], &out[1]);
    out[0] *= radius, out[1] *= radius;
}

#define NOISE(T, WORD)                                                                             \
    extern "C" __global__ void uniform_##T(const unsigned long long* state, T* out,                \
                                           long long count) {                                      \
        long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x;                        \
        const int per_block = 16 / sizeof(T);                                                      \
        WORD words[per_block];                                                                     \
        bits_of(philox(state[1] + block, state[0]), words);                                        \
        for (int i = 0; i < per_block; i++)                                                        \
            if (block * per_block + i < count) out[block * per_block + i] = fraction(words[i]);    \
    }                                                                                              \
    extern "C" __global__ void normal_##T(const unsigned long long* state, T* out,                 \
                                          long long count) {                                       \
        long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x;                        \
        const int per_block = 16 / sizeof(T);                                                      \
        WORD words[per_block];                                                                     \
        T numbers[per_block];                                                                      \
        bits_of(philox(state[1] + block, state[0]), words);                                        \
        for (int i = 0; i < per_block; i += 2) box_muller(words[i], words[i + 1], numbers + i);    \
        for (int i = 0; i < per_block; i++)                                                        \
            if (block * per_block + i < count) out[block * per_block + i] = numbers[i];            \
    }
NOISE(float, unsigned)
NOISE(double, unsigned long long)
