// CUDA on a CPU, for tests: the threads of a block are coroutines that take turns.
//
// A thread runs until it must wait for others, at __syncthreads or in a warp's exchange. All lanes
// of a warp come in turn until the whole warp waits, then the next warp does; forwards or, as the
// launch says, backwards, so that a forgotten barrier shows. x86-64 alone.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>
#include <xmmintrin.h>

#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __CUDA_ARCH__ 900
#define CUDART_INF_F INFINITY

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) double2 { double x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

namespace emulator {

extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.globl emulator_switch
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

const size_t STACK = 1 << 17;
struct Thread { void* stack_pointer; dim3 index; bool done; long waits; };
struct Warp { unsigned arrived, live; long generation; alignas(16) char slots[2][32][64]; };

static std::vector<char> stacks;
static std::vector<Thread> threads;
static std::vector<Warp> warps;
static void* scheduler;
static int now;  // the thread that runs
static int arrived, live;  // at the block's barrier; not ended yet
static long generation, progress;
static std::function<void()> body;
static const char* wrong;  // null, or what went wrong
struct Array { char* start; size_t bytes; };
static std::vector<Array> arrays;  // that the kernel was given
static bool late;  // whether asynchronous copies wait until they have to

inline void pause() { emulator_switch(&threads[now].stack_pointer, scheduler); }

inline void end_thread() {
    threads[now].done = true;
    live--;
    warps[now / 32].live &= ~(1u << now % 32);
    progress++;
}

inline void barrier() {
    long mine = generation;
    if (++arrived == live) { arrived = 0; generation++; progress++; }
    while (generation == mine) pause();
}

inline void warp_barrier(unsigned mask) {
    Warp& warp = warps[now / 32];
    long mine = warp.generation;
    warp.arrived |= 1u << now % 32;
    mask &= warp.live;
    if ((warp.arrived & mask) == mask) { warp.arrived = 0; warp.generation++; progress++; }
    while (warp.generation == mine) pause();
}

// Every lane of the mask gives a value; what comes back shows those of all lanes until the next.
template <class T>
inline const char (*exchange(unsigned mask, T value))[64] {
    static_assert(sizeof(T) <= 64, "too large to exchange");
    Warp& warp = warps[now / 32];
    auto slots = warp.slots[warp.generation % 2];
    memcpy(slots[now % 32], &value, sizeof(T));
    warp_barrier(mask);
    return slots;
}

template <class T>
inline T slot(const char (*slots)[64], int lane) {
    T value;
    memcpy(&value, slots[lane], sizeof(T));
    return value;
}

inline void start() {
    body();
    end_thread();
    for (;;) pause();
}

// Asynchronous copies come early or late: at once, or backwards, not before they are waited for.
struct Copy { void* to; const void* from; int bytes; };
static std::vector<std::vector<std::vector<Copy>>> copies;  // of each thread, its groups

inline void finish(const Copy& c) {
    if (c.from) memcpy(c.to, c.from, c.bytes); else memset(c.to, 0, c.bytes);
}
inline void copy(void* to, const void* from, int bytes) {
    bool known = !from;
    for (auto& a : arrays) known |= (char*)from >= a.start && (char*)from + bytes <= a.start + a.bytes;
    if ((size_t)to % bytes || (size_t)from % bytes) wrong = "an asynchronous copy is not aligned";
    else if (!known) wrong = "an asynchronous copy reads outside of the arrays";
    else if (late) copies[now].back().push_back({to, from, bytes});
    else finish({to, from, bytes});
}

// Null, or what went wrong.
inline const char* block(bool backwards) {
    int count = blockDim.x * blockDim.y * blockDim.z;
    stacks.resize(count * STACK);
    threads.assign(count, Thread());
    copies.assign(count, std::vector<std::vector<Copy>>(1)), late = backwards;
    warps.assign((count + 31) / 32, Warp());
    arrived = 0, live = count, generation = progress = 0, wrong = nullptr;
    for (int i = 0; i < count; i++) {
        warps[i / 32].live |= 1u << i % 32;
        unsigned x = i % blockDim.x, rest = i / blockDim.x;
        threads[i].index = {x, rest % blockDim.y, rest / blockDim.y};
        char* top = stacks.data() + (i + 1) * STACK;
        top -= (size_t)top % 16;
        void** frame = (void**)top - 8;  // six registers, where to go, and no return address
        frame[6] = (void*)start, frame[7] = nullptr;
        threads[i].stack_pointer = frame;
    }
    while (live) {
        long before = progress;
        for (size_t w = 0; w < warps.size(); w++) {
            size_t warp = backwards ? warps.size() - 1 - w : w;
            long seen;
            do {
                seen = progress;
                for (int l = 0; l < 32; l++) {
                    int i = warp * 32 + (backwards ? 31 - l : l);
                    if (i >= count || threads[i].done) continue;
                    now = i, threadIdx = threads[i].index;
                    emulator_switch(&scheduler, threads[i].stack_pointer);
                }
            } while (progress != seen && warps[warp].live);
        }
        if (progress == before) return "the threads wait for each other: not all come to a barrier";
    }
    return wrong;
}

// CuPy compiles with -ftz=true: denormal floats count as 0, in kernels of doubles alone they do not.
inline const char* launch(
    dim3 grid, dim3 threads, bool backwards, bool flush, std::function<void()> call
) {
    gridDim = grid, blockDim = threads, body = call;
    unsigned blocks = grid.x * grid.y * grid.z, mode = _mm_getcsr();
    const char* error = nullptr;
    if (flush) _mm_setcsr(mode | 0x8040);  // of results, and of operands
    for (unsigned b = 0; b < blocks && !error; b++) {
        unsigned i = backwards ? blocks - 1 - b : b;
        blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
        error = block(backwards);
    }
    _mm_setcsr(mode);
    return error;
}

inline float tf32(unsigned bits) { float x; bits &= ~0x1fffu; memcpy(&x, &bits, 4); return x; }
inline float bf16(unsigned bits) { float x; bits <<= 16; memcpy(&x, &bits, 4); return x; }

}  // namespace emulator

// --- What a warp shares ---------------------------------------------------------------------

inline void __syncthreads() { emulator::barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { emulator::warp_barrier(mask); }
inline void __threadfence() {}
inline int emulated_lane() { return emulator::now % 32; }

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    int mine = emulated_lane(), base = mine / width * width;
    return emulator::slot<T>(emulator::exchange(mask, value), base + (lane & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int distance, int width = 32) {
    int mine = emulated_lane(), from = mine ^ distance;
    auto slots = emulator::exchange(mask, value);
    return emulator::slot<T>(slots, from / width == mine / width ? from : mine);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, int distance, int width = 32) {
    int mine = emulated_lane(), from = mine + distance;
    auto slots = emulator::exchange(mask, value);
    return emulator::slot<T>(slots, from / width == mine / width ? from : mine);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, int distance, int width = 32) {
    int mine = emulated_lane(), from = mine - distance;
    auto slots = emulator::exchange(mask, value);
    return emulator::slot<T>(slots, from >= mine / width * width ? from : mine);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    auto slots = emulator::exchange(mask, predicate);
    unsigned votes = 0;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1 && emulator::slot<int>(slots, l)) votes |= 1u << l;
    return votes;
}
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value) {
    auto slots = emulator::exchange(mask, value);
    unsigned peers = 0;
    for (int l = 0; l < 32; l++)
        if (mask >> l & 1 && emulator::slot<T>(slots, l) == value) peers |= 1u << l;
    return peers;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return !__ballot_sync(mask, !predicate); }

// --- Arithmetic -----------------------------------------------------------------------------

template <class To, class From>
inline To emulated_bits(From x) { To y; memcpy(&y, &x, sizeof(y)); return y; }
inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulated_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
inline float __int_as_float(int x) { return emulated_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
#define __expf expf
#define __logf logf
inline void sincospif(float x, float* s, float* c) { *s = sin(M_PI * x), *c = cos(M_PI * x); }
inline void sincospi(double x, double* s, double* c) { *s = sin(M_PI * x), *c = cos(M_PI * x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned long long)x * y >> 32; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
template <class T>
inline T __ldg(const T* p) { return *p; }
template <class T>
inline T min(T x, T y) { return y < x ? y : x; }
template <class T>
inline T max(T x, T y) { return x < y ? y : x; }
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }

template <class T, class F>
inline T emulated_atomic(T* p, F change) { T old = *p; *p = change(old); return old; }
template <class T>
inline T atomicAdd(T* p, T x) { return emulated_atomic(p, [=](T old) { return T(old + x); }); }
template <class T>
inline T atomicMin(T* p, T x) { return emulated_atomic(p, [=](T old) { return min(old, x); }); }
template <class T>
inline T atomicMax(T* p, T x) { return emulated_atomic(p, [=](T old) { return max(old, x); }); }
template <class T>
inline T atomicExch(T* p, T x) { return emulated_atomic(p, [=](T) { return x; }); }
template <class T>
inline T atomicCAS(T* p, T is, T x) { return emulated_atomic(p, [=](T old) { return old == is ? x : old; }); }

// --- What device.cuh says with instructions of the device ----------------------------------

// The tensor cores add exactly, nearly, and cut off what a float cannot hold: they do not round.
inline float emulated_truncated(double x) {
    float y = x;
    return std::isfinite(y) && std::abs((double)y) > std::abs(x) ? std::nextafter(y, 0.0f) : y;
}

inline void mma_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
    struct Fragment { unsigned a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    auto slots = emulator::exchange(~0u, mine);
    int lane = emulated_lane();
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        double sum = d[i];
        for (int k = 0; k < 16; k++) {
            auto left = emulator::slot<Fragment>(slots, row % 8 * 4 + k % 8 / 2);
            auto right = emulator::slot<Fragment>(slots, column * 4 + k % 8 / 2);
            unsigned x = left.a[row / 8 + 2 * (k / 8)] >> 16 * (k % 2) & 0xffff;
            unsigned y = right.b[k / 8] >> 16 * (k % 2) & 0xffff;
            sum += (double)emulator::bf16(x) * emulator::bf16(y);
        }
        d[i] = emulated_truncated(sum);
    }
}

inline void mma_tf32(float d[4], const unsigned a[4], const unsigned b[2]) {
    struct Fragment { unsigned a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    auto slots = emulator::exchange(~0u, mine);
    int lane = emulated_lane();
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        double sum = d[i];
        for (int k = 0; k < 8; k++) {
            auto left = emulator::slot<Fragment>(slots, row % 8 * 4 + k % 4);
            auto right = emulator::slot<Fragment>(slots, column * 4 + k % 4);
            float x = emulator::tf32(left.a[row / 8 + 2 * (k / 4)]), y = emulator::tf32(right.b[k / 4]);
            sum += (double)x * y;
        }
        d[i] = emulated_truncated(sum);
    }
}

inline unsigned emulated_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    if (x != x) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline unsigned round_bf16(float low, float high) { return emulated_bf16(low) | emulated_bf16(high) << 16; }
// Of integers, for a denormal float is 0 to the instructions here.
inline double widen(float x) {
    unsigned bits = __float_as_uint(x), rest = bits & 0x7fffffff;
    return rest >> 23 ? (double)x : std::copysign((int)rest * 0x1p-149, bits >> 31 ? -1.0 : 1.0);
}
inline double widen(double x) { return x; }
inline void narrow(double x, float& y) {
    y = x;
    if (std::abs(x) < 0x1p-126)
        y = __uint_as_float((unsigned)std::nearbyint(std::abs(x) * 0x1p149) | std::signbit(x) << 31);
}
inline void narrow(double x, double& y) { y = x; }
inline unsigned round_tf32(float x) { return std::isfinite(x) ? (__float_as_uint(x) + 0x1000) & ~0x1fffu : __float_as_uint(x); }
inline void copy_async(void* to, const void* from, bool inside = true) { emulator::copy(to, inside ? from : nullptr, 16); }
template <class T>
inline void copy_async_one(T* to, const T* from, bool inside = true) { emulator::copy(to, inside ? from : nullptr, sizeof(T)); }
inline void copy_commit() { emulator::copies[emulator::now].emplace_back(); }
template <int N>
inline void copy_wait() {
    auto& groups = emulator::copies[emulator::now];  // the last of them is not committed yet
    for (; groups.size() > N + 1; groups.erase(groups.begin()))
        for (auto& c : groups[0]) emulator::finish(c);
}
