package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Dropout;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/** Dropout: masks drawn block by block, so that they do not depend on who works on which block. */
final class CpuDropout {
  private CpuDropout() {}

  static Launch dropout(CpuDevice d, Dropout op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment y = d.segment(out.get(0));
    int elements = in.get(0).elements();
    Philox philox = new Philox(op.seed());
    // looked up and not compared: a branch that a random byte decides is mispredicted
    float[] ofByte = new float[256];
    Arrays.fill(ofByte, op.dropped(), 256, (float) op.scale());
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      d.workers()
          .forRange(
              elements,
              Blocks.SIZE,
              (from, to) -> {
                Blocks block = Blocks.own();
                int n = to - from;
                d.loops().load(type, x, from, block.a, 0, n);
                factors(philox, op.site(), step, from, ofByte, block.b);
                Arithmetic.multiply(block.a, block.b, n);
                d.loops().store(type, block.a, 0, y, from, n);
              });
    };
  }

  /** What each element of the block at {@code from}, a multiple of 16, is multiplied by. */
  private static void factors(
      Philox philox, int site, int step, int from, float[] ofByte, float[] factors) {
    int[] words = new int[4];
    for (int at = 0; at < factors.length; at += 16) {
      philox.words((from + at) >>> 4, step, site, Philox.Stream.DROPOUT.ordinal(), words);
      for (int w = 0; w < 4; w++) {
        int word = words[w];
        factors[at + 4 * w] = ofByte[word & 0xFF];
        factors[at + 4 * w + 1] = ofByte[word >>> 8 & 0xFF];
        factors[at + 4 * w + 2] = ofByte[word >>> 16 & 0xFF];
        factors[at + 4 * w + 3] = ofByte[word >>> 24];
      }
    }
  }
}
