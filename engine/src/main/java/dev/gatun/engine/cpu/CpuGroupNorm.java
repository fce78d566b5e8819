package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Group normalization; sums in f64, one (image, group) after another. */
final class CpuGroupNorm {
  private CpuGroupNorm() {}

  static Launch forward(CpuDevice d, GroupNorm op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment gamma = d.segment(in.get(1));
    MemorySegment beta = d.segment(in.get(2));
    MemorySegment y = d.segment(out.get(0));
    MemorySegment means = d.segment(out.get(1));
    MemorySegment rstds = d.segment(out.get(2));
    Shape shape = in.get(0).shape();
    int channels = shape.dim(3);
    int pixels = shape.dim(1) * shape.dim(2);
    int groups = op.groups();
    int width = channels / groups;
    return () ->
        d.workers()
            .forRange(
                shape.dim(0) * groups,
                1,
                (from, to) -> {
                  for (int slice = from; slice < to; slice++) {
                    int c0 = slice % groups * width;
                    long base = (long) (slice / groups) * pixels * channels;
                    double sum = 0;
                    for (int p = 0; p < pixels; p++) {
                      for (int c = c0; c < c0 + width; c++) {
                        sum += ScalarLoops.get(type, x, base + (long) p * channels + c);
                      }
                    }
                    double mean = sum / ((double) pixels * width);
                    double squares = 0;
                    for (int p = 0; p < pixels; p++) {
                      for (int c = c0; c < c0 + width; c++) {
                        double v = ScalarLoops.get(type, x, base + (long) p * channels + c) - mean;
                        squares += v * v;
                      }
                    }
                    double rstd = 1 / Math.sqrt(squares / ((double) pixels * width) + op.epsilon());
                    ScalarLoops.set(DType.F32, means, slice, (float) mean);
                    ScalarLoops.set(DType.F32, rstds, slice, (float) rstd);
                    for (int p = 0; p < pixels; p++) {
                      for (int c = c0; c < c0 + width; c++) {
                        long i = base + (long) p * channels + c;
                        double v = (ScalarLoops.get(type, x, i) - mean) * rstd;
                        float g = ScalarLoops.get(DType.F32, gamma, c);
                        float b = ScalarLoops.get(DType.F32, beta, c);
                        ScalarLoops.set(type, y, i, (float) (v * g + b));
                      }
                    }
                  }
                });
  }

  static Launch backward(CpuDevice d, GroupNormBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment gamma = d.segment(in.get(1));
    MemorySegment means = d.segment(in.get(2));
    MemorySegment rstds = d.segment(in.get(3));
    MemorySegment dy = d.segment(in.get(4));
    MemorySegment dx = d.segment(out.get(0));
    MemorySegment dgamma = d.segment(out.get(1));
    MemorySegment dbeta = d.segment(out.get(2));
    Shape shape = in.get(0).shape();
    int channels = shape.dim(3);
    int pixels = shape.dim(1) * shape.dim(2);
    int groups = op.forward().groups();
    int width = channels / groups;
    double count = (double) pixels * width;
    double[] gammaSums = new double[channels];
    double[] betaSums = new double[channels];
    return () ->
        // a worker owns whole groups, so no two of them add to the same channel
        d.workers()
            .forRange(
                groups,
                1,
                (from, to) -> {
                  for (int g = from; g < to; g++) {
                    int c0 = g * width;
                    for (int c = c0; c < c0 + width; c++) {
                      gammaSums[c] = 0;
                      betaSums[c] = 0;
                    }
                    for (int n = 0; n < shape.dim(0); n++) {
                      long base = (long) n * pixels * channels;
                      double mean = ScalarLoops.get(DType.F32, means, (long) n * groups + g);
                      double rstd = ScalarLoops.get(DType.F32, rstds, (long) n * groups + g);
                      double sum = 0;
                      double dot = 0;
                      for (int p = 0; p < pixels; p++) {
                        for (int c = c0; c < c0 + width; c++) {
                          long i = base + (long) p * channels + c;
                          double upstream = ScalarLoops.get(type, dy, i);
                          double normal = (ScalarLoops.get(type, x, i) - mean) * rstd;
                          gammaSums[c] += upstream * normal;
                          betaSums[c] += upstream;
                          double scaled = upstream * ScalarLoops.get(DType.F32, gamma, c);
                          sum += scaled;
                          dot += scaled * normal;
                        }
                      }
                      for (int p = 0; p < pixels; p++) {
                        for (int c = c0; c < c0 + width; c++) {
                          long i = base + (long) p * channels + c;
                          double normal = (ScalarLoops.get(type, x, i) - mean) * rstd;
                          double scaled =
                              ScalarLoops.get(type, dy, i)
                                  * (double) ScalarLoops.get(DType.F32, gamma, c);
                          ScalarLoops.set(
                              type,
                              dx,
                              i,
                              (float) (rstd * (scaled - sum / count - normal * dot / count)));
                        }
                      }
                    }
                    for (int c = c0; c < c0 + width; c++) {
                      ScalarLoops.set(DType.F32, dgamma, c, (float) gammaSums[c]);
                      ScalarLoops.set(DType.F32, dbeta, c, (float) betaSums[c]);
                    }
                  }
                });
  }
}
