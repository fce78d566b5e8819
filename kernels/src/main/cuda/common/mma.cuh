/* mma.cuh - tensor-core products and the loads of their fragments, a whole warp together.
 * d [16,8] f32 += a [16,16] bf16 * b [16,8] bf16, two bf16 a register, the even column low:
 *   a[0] row g, columns 2t and 2t+1; a[1] row g+8; a[2] row g, columns 2t+8 and 2t+9; a[3] row g+8
 *   b[0] rows 2t and 2t+1 of column g; b[1] rows 2t+8 and 2t+9
 *   d[0], d[1] row g, columns 2t and 2t+1; d[2], d[3] row g+8      with g = lane / 4, t = lane % 4
 * A fragment of a is one ldmatrix_x4 of a row-major tile (lanes 0-15 name rows 0-15 at column 0, lanes
 * 16-31 rows 0-15 at column 8). b is one ldmatrix_x2 where the tile is [n][k], ldmatrix_x2_trans where
 * it is [k][n].
 * The order of the additions inside an mma is the hardware's own. Arch sm_80+; emulator yes.
 */
#ifndef GATUN_COMMON_MMA_CUH_
#define GATUN_COMMON_MMA_CUH_

#include "common/portable.cuh"

#ifdef GATUN_EMULATED

__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2], GATUN_EMU_SITE) {
  gatun_emu_mma_m16n8k16_bf16(d, a, b, file, line);
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row, GATUN_EMU_SITE) {
  gatun_emu_ldmatrix<4, false>(r, row, file, line);
}
__device__ __forceinline__ void ldmatrix_x2(unsigned (&r)[2], const void* row, GATUN_EMU_SITE) {
  gatun_emu_ldmatrix<2, false>(r, row, file, line);
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row,
                                                  GATUN_EMU_SITE) {
  gatun_emu_ldmatrix<4, true>(r, row, file, line);
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&r)[2], const void* row,
                                                  GATUN_EMU_SITE) {
  gatun_emu_ldmatrix<2, true>(r, row, file, line);
}

#else

/* d += a b. All 32 lanes. */
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4],
                                                  const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The matrices whose rows the lanes name: 8 lanes a matrix, 16 bytes a row, 16-byte aligned, in shared
 * memory. All 32 lanes; of x2 the rows of lanes 0-15 count. Writes by other lanes need a barrier. */
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at));
}
__device__ __forceinline__ void ldmatrix_x2(unsigned (&r)[2], const void* row) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(at));
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at));
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&r)[2], const void* row) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(at));
}

#endif
#endif
