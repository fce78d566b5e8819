package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.MemorySegment;

/**
 * The one-dimensional transforms of Winograd's F(m,3): m outputs of a filter with three taps are m
 * + 2 products, of values of polynomials at as many points, the last of them infinity.
 * Two-dimensional ones are made of two in a row.
 *
 * @see "Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4"
 */
interface TileLoops {
  /** All memory: what is transformed lies in several tensors, at addresses. */
  MemorySegment MEMORY = HostMemory.at(0, Long.MAX_VALUE);

  /**
   * What a transform reads and writes: of each input and output {@code groups} runs of {@code n}
   * f32, n a multiple of 16, so many elements from the start of one to that of the next.
   */
  final class Streams {
    final long[] in = new long[9]; // addresses
    final long[] out = new long[9];
    int groups;
    int n;
    long inStep;
    long outStep;

    /** One run. */
    Streams of(int n) {
      return of(1, n, 0, 0);
    }

    Streams of(int groups, int n, long inStep, long outStep) {
      this.groups = groups;
      this.n = n;
      this.inStep = inStep;
      this.outStep = outStep;
      return this;
    }
  }

  /** Outputs m of a transform. */
  int tile();

  /** What it takes: m + 2. */
  default int patch() {
    return tile() + 2;
  }

  /** m + 2 to m + 2, B^T: of pixels. */
  void pixels(Streams s);

  /** m + 2 to m, A^T: products to outputs. */
  void outputs(Streams s);

  /** y = x + row + addend, {@code n} elements at addresses, y in a dtype, the others in f32. */
  void plus(long x, long row, long addend, DType type, long y, int n);

  /** m to m + 2, A: of the outputs' gradients. */
  void slopes(Streams s);

  /** 3 to m + 2, G: of weights. */
  void weights(Streams s);

  /** m + 2 to 3, G^T: products to the weights' gradients. */
  void weightSlopes(Streams s);
}
