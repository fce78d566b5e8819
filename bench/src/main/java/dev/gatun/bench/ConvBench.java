package dev.gatun.bench;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import dev.gatun.ffi.DnnlPrimitive.ConvGeometry;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;

/** A 3x3 convolution through the engine and the bare oneDNN primitive, in turns, on one memory. */
final class ConvBench {
  private static final int ROUNDS = 45;
  private static final double ROUND_SECONDS = 0.15;

  private ConvBench() {}

  /** Images of side {@code side}, channels in and out. */
  private record Size(int images, int side, int channels) {
    double gigaflops() {
      return 2e-9 * images * side * side * 9.0 * channels * channels;
    }
  }

  static List<Map<String, Object>> run(Device device, Console console) {
    if (!device.name().equals("cpu")) {
      throw new UsageException("bench conv compares with oneDNN: use --device cpu");
    }
    List<Map<String, Object>> all = new ArrayList<>();
    for (DType type : List.of(DType.F32, DType.BF16)) {
      if (device.refuses(type) != null) {
        console.say(type.label() + " left out: " + device.refuses(type));
        continue;
      }
      for (Size size : List.of(new Size(32, 28, 64), new Size(32, 16, 128))) {
        all.add(compare(device, console, type, size));
      }
    }
    return all;
  }

  private static Map<String, Object> compare(
      Device device, Console console, DType type, Size size) {
    int c = size.channels();
    try (Tensor x = Tensor.allocate(device, type, size.images(), size.side(), size.side(), c);
        Tensor w = Tensor.allocate(device, DType.F32, 9, c, c);
        Tensor bias = Tensor.allocate(device, DType.F32, c);
        Tensor y = Tensor.allocate(device, type, size.images(), size.side(), size.side(), c);
        Launch engine =
            device.record(
                List.of(
                    device.prepare(new Conv2d(Taps.square(3)), List.of(x, w, bias), List.of(y))));
        Bare bare = new Bare(device, x, w, bias, y)) {
      fill(x);
      fill(w);
      bare.packWeights();
      engine.run();
      byte[] expected = bytes(y);
      bare.execute();
      if (!Arrays.equals(expected, bytes(y))) {
        throw new IllegalStateException("the engine and oneDNN do not compute the same");
      }
      double[] engineSeconds = new double[ROUNDS];
      double[] bareSeconds = new double[ROUNDS];
      int calls = calls(bare::execute);
      time(engine::run, calls);
      for (int i = 0; i < ROUNDS; i++) {
        engineSeconds[i] = time(engine::run, calls);
        bareSeconds[i] = time(bare::execute, calls);
      }
      return report(console, type, size, engineSeconds, bareSeconds, bare.implementation());
    }
  }

  private static Map<String, Object> report(
      Console console,
      DType type,
      Size size,
      double[] engine,
      double[] bare,
      String implementation) {
    double[] ratios = new double[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
      ratios[i] = bare[i] / engine[i];
    }
    Map<String, Object> row = new LinkedHashMap<>();
    row.put(
        "shape",
        "N"
            + size.images()
            + " "
            + size.side()
            + "x"
            + size.side()
            + " "
            + size.channels()
            + "->"
            + size.channels()
            + " 3x3");
    row.put("dtype", type.label());
    row.put("engineGflops", size.gigaflops() / median(engine));
    row.put("oneDnnGflops", size.gigaflops() / median(bare));
    row.put("ratio", median(ratios));
    row.put("implementation", implementation);
    console.say(
        String.format(
            Locale.ROOT,
            "%s %s: engine %.0f GFLOP/s, oneDNN %.0f GFLOP/s, ratio %.3f (%s)",
            row.get("shape"),
            type.label(),
            size.gigaflops() / median(engine),
            size.gigaflops() / median(bare),
            median(ratios),
            implementation));
    return row;
  }

  private static void fill(Tensor tensor) {
    Random random = new Random(1);
    float[] values = new float[tensor.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian() / 8;
    }
    tensor.write(values);
  }

  private static byte[] bytes(Tensor tensor) {
    byte[] raw = new byte[(int) tensor.spec().sizeBytes()];
    tensor.read(java.lang.foreign.MemorySegment.ofArray(raw));
    return raw;
  }

  private static int calls(Runnable action) {
    time(action, 20);
    return Math.max(1, (int) (ROUND_SECONDS / time(action, 20)));
  }

  /** Seconds a call. */
  private static double time(Runnable action, int calls) {
    long start = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      action.run();
    }
    return (System.nanoTime() - start) / 1e9 / calls;
  }

  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  /** The primitive alone, with weights packed once. */
  private static final class Bare implements AutoCloseable {
    private final Owned owned = new Owned();
    private final Dnnl dnnl = owned.add(new Dnnl());
    private final DnnlPrimitive conv;
    private final DnnlPrimitive reorder;

    Bare(Device device, Tensor x, Tensor w, Tensor bias, Tensor y) {
      int type = x.dtype() == DType.BF16 ? dnnl_bf16() : dnnl_f32();
      DnnlDesc xDesc = owned.add(image(type, x));
      DnnlDesc yDesc = owned.add(image(type, y));
      int c = bias.elements();
      DnnlDesc biasDesc = owned.add(DnnlDesc.dense(dnnl_f32(), c));
      DnnlDesc any = owned.add(DnnlDesc.any(type, new long[] {c, c, 3, 3}));
      conv =
          owned.add(
              DnnlPrimitive.convolutionForward(
                  dnnl,
                  false,
                  xDesc,
                  any,
                  biasDesc,
                  yDesc,
                  new ConvGeometry(1, 1, 0, 0, 1, 1, 1, 1),
                  null));
      DnnlDesc packed = owned.add(conv.chosen(dnnl_query_weights_md()));
      Tensor packedMemory =
          owned.add(Tensor.allocate(device, DType.U8, Math.toIntExact(packed.sizeBytes())));
      // [T,C,K] as oneDNN's K,C,H,W
      DnnlDesc plain =
          owned.add(
              DnnlDesc.strided(
                  dnnl_f32(),
                  new long[] {c, c, 3, 3},
                  new long[] {1, c, 3L * c * c, (long) c * c}));
      reorder = owned.add(DnnlPrimitive.reorder(dnnl, plain, packed));
      reorder.bind(DNNL_ARG_SRC_0(), plain, w.address());
      reorder.bind(DNNL_ARG_DST_0(), packed, packedMemory.address());
      bindScratchpad(device, reorder);
      conv.bind(DNNL_ARG_SRC_0(), xDesc, x.address());
      conv.bind(DNNL_ARG_WEIGHTS_0(), packed, packedMemory.address());
      conv.bind(DNNL_ARG_BIAS(), biasDesc, bias.address());
      conv.bind(DNNL_ARG_DST_0(), yDesc, y.address());
      bindScratchpad(device, conv);
    }

    private void bindScratchpad(Device device, DnnlPrimitive primitive) {
      long bytes = Math.max(64, primitive.scratchpadBytes());
      primitive.bindScratchpad(
          owned.add(Tensor.allocate(device, DType.U8, Math.toIntExact(bytes))).address());
    }

    private static DnnlDesc image(int type, Tensor t) {
      long h = t.shape().dim(1);
      long w = t.shape().dim(2);
      long c = t.shape().dim(3);
      return DnnlDesc.strided(
          type, new long[] {t.shape().dim(0), c, h, w}, new long[] {h * w * c, 1, w * c, c});
    }

    void packWeights() {
      reorder.execute();
    }

    void execute() {
      conv.execute();
    }

    String implementation() {
      return conv.implementation();
    }

    @Override
    public void close() {
      owned.close();
    }
  }
}
