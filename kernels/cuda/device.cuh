// What every source may use: one warp's work on the tensor cores, and copies that do not wait.
//
// No header is included, so that NVRTC needs none. Fragments are laid out as the PTX manual says
// for mma.sync: lane l holds, with g = l / 4 and t = l % 4,
//   d (16 x 8 float):   (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
//   a (16 x 16 bf16):   pairs from (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8)
//   b (16 x 8 bf16):    pairs down the rows from (2t, g), (2t + 8, g)
//   a (16 x 8 tf32):    (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
//   b (8 x 8 tf32):     (t, g), (t + 4, g)

#define WARP 0xffffffffu

#ifdef __CUDACC__  // elsewhere, whoever compiles this brings these functions

// d += a b, of 16 x 16 and 16 x 8, in bf16 with sums in float.
__device__ inline void mma_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b, of 16 x 8 and 8 x 8, in TF32 with sums in float.
__device__ inline void mma_tf32(float d[4], const unsigned a[4], const unsigned b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Two floats rounded to the nearest bf16, the first in the low half.
__device__ inline unsigned round_bf16(float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// A float rounded to the nearest TF32 (10 bits after the point), as its bits.
__device__ inline unsigned round_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// A number as a double, and back. CuPy compiles with -ftz=true, by which a denormal float would
// become 0 on the way; not by an instruction that is written out.
__device__ inline double widen(float x) {
    double y;
    asm("cvt.f64.f32 %0, %1;" : "=d"(y) : "f"(x));
    return y;
}
__device__ inline double widen(double x) { return x; }
__device__ inline void narrow(double x, float& y) {
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(y) : "d"(x));
}
__device__ inline void narrow(double x, double& y) { y = x; }

// Start to copy 16 bytes into shared memory; where not `inside`, zeros. Both are aligned to 16.
// Cards before sm_80 do not start: they copy.
__device__ inline void copy_async(void* to, const void* from, bool inside = true) {
#if __CUDA_ARCH__ >= 800
    unsigned shared = (unsigned)__cvta_generic_to_shared(to);
    int size = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from),
                 "r"(size));
#else
    *(uint4*)to = inside ? *(const uint4*)from : uint4{};
#endif
}

// The same of one entry, of 4 or 8 bytes.
template <class T>
__device__ inline void copy_async_one(T* to, const T* from, bool inside = true) {
#if __CUDA_ARCH__ >= 800
    unsigned shared = (unsigned)__cvta_generic_to_shared(to);
    int size = inside ? sizeof(T) : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(shared), "l"(from),
                 "r"(size), "n"(sizeof(T)));
#else
    *to = inside ? *from : T();
#endif
}

// What was started since the last call is one group...
__device__ inline void copy_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;");
#endif
}

// ...and this waits until at most N groups are on their way. Other threads' copies: __syncthreads.
template <int N>
__device__ inline void copy_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");  // no read moves before it
#endif
}

#endif
