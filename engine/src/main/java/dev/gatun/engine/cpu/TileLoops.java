package dev.gatun.engine.cpu;

import dev.gatun.ffi.HostMemory;
import java.lang.foreign.MemorySegment;

/**
 * The one-dimensional transforms of Winograd's F(4,3): four outputs of a filter with three taps are
 * six products, of values of polynomials at six points. Points are 0, +-sqrt(1/2), +-sqrt(2) and
 * infinity. Two-dimensional ones are made of two in a row.
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
    final long[] in = new long[11]; // addresses
    final long[] out = new long[6];
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

  /** 6 to 6, B^T: of pixels. */
  void pixels(Streams s);

  /** 6 to 4, A^T: products to outputs. */
  void outputs(Streams s);

  /** As {@link #outputs}, plus in[6], plus one of in[7] to in[10] for each output. */
  void outputsPlus(Streams s);

  /** 4 to 6, A: of the outputs' gradients. */
  void slopes(Streams s);

  /** 3 to 6, G: of weights. */
  void weights(Streams s);

  /** 6 to 3, G^T: products to the weights' gradients. */
  void weightSlopes(Streams s);
}
