/* conv.cuh - how the kernels of a convolution see it.
 * A target position (h,w) of phase (ph,pw), h = i*outH + ph, w = j*outW + pw, is a sum over the phase's taps
 * (dy,dx) of source positions (i*inH + dy, j*inW + dx), zero outside. The forward pass has one phase and
 * steps by its strides in the source; the data gradient has a phase for each position within a stride, so
 * that no tap is looked at which divides to nothing. A phase is a GEMM whose inner index runs over (tap,
 * source channel), taps in the order of the table.
 */
#ifndef GATUN_COMMON_CONV_CUH_
#define GATUN_COMMON_CONV_CUH_

#include "common/portable.cuh"

struct ConvShape {
  int N, SH, SW, SC;  // source [N,SH,SW,SC]
  int TH, TW, TC;     // target [N,TH,TW,TC]
  int inH, inW;
  int outH, outW;     // outH*outW phases
};

struct ConvPhase {
  int tap;     // the first of its taps
  int taps;
  int block;   // the first of its blocks of packed weights
  int blocks;
};

struct ConvTap {
  int dy, dx;
  int index;  // in the weights
  int phase;
};

#endif
