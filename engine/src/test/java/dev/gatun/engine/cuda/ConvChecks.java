package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Reference;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Taps;
import dev.gatun.kernels.ConvPlan;
import dev.gatun.kernels.ConvPlan.Activation;
import dev.gatun.kernels.ConvPlan.Output;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Each variant of the convolution's kernel, at sizes just above a tile, with every activation that
 * its last step knows; and, position by position or row by row, told by a window where to work.
 */
final class ConvChecks {
  private static final double U = 0x1p-24;

  /** A GPU of so few multiprocessors that a launch takes the largest tile there is. */
  private static final int TINY_GPU = 1;

  private ConvChecks() {}

  /** A convolution: its operands in the host's memory, and which kernel is to compute it. */
  private record Form(
      String kernel,
      DType type,
      Taps taps,
      int stride,
      boolean backward,
      int images,
      int height,
      int width,
      int channels,
      int filters,
      int multiprocessors) {

    Conv2d op() {
      return new Conv2d(taps, stride, stride, null);
    }

    /** Of the forward pass: its input and its output. */
    TensorSpec x() {
      return TensorSpec.of(type, images, height, width, channels);
    }

    TensorSpec weights() {
      return TensorSpec.of(DType.F32, taps.count(), channels, filters);
    }

    TensorSpec y() {
      return op().check(List.of(x(), weights())).getFirst();
    }

    TensorSpec source() {
      return backward ? y() : x();
    }

    TensorSpec target() {
      return backward ? x() : y();
    }

    int terms() {
      return taps.count() * source().shape().dim(3) + 4;
    }

    /** The sums and the sizes of their terms, without bias and addend. */
    Reference.Result expected(double[] source, double[] weights) {
      return backward
          ? Reference.run(
                  new Conv2dBackwardData(op(), x().shape()),
                  List.of(weights(), y()),
                  List.of(weights, source))
              .getFirst()
          : Reference.run(op(), List.of(x(), weights()), List.of(source, weights)).getFirst();
    }

    ConvPlan plan(int positions) {
      return new ConvPlan(
          Work.element(type),
          images,
          CudaConvolution.image(source().shape()),
          CudaConvolution.image(target().shape()),
          taps.toArray(),
          stride,
          stride,
          backward,
          true,
          positions,
          multiprocessors);
    }

    @Override
    public String toString() {
      return kernel
          + (backward ? " data gradient " : " ")
          + source()
          + " to "
          + target()
          + " stride "
          + stride
          + " taps "
          + taps;
    }
  }

  /** What of it lies on the device. */
  private static final class Placed {
    final Form form;
    final ConvPlan plan;
    final double[] sourceValues;
    final double[] weightValues;
    final Tensor source;
    final Tensor weights;
    final long table;
    final long packed;
    final long used;

    /** With one weight alone, or with many. */
    Placed(CheckScope scope, Form form, int positions, boolean lonely) {
      this.form = form;
      plan = form.plan(positions);
      source = scope.normal(form.type, 1, 1, form.source().shape().toArray());
      sourceValues = source.toDoubles();
      double[] values = CheckScope.normals(2, 0.2, form.weights().shape().elements());
      clear(values, lonely);
      if (form.type == DType.BF16) {
        for (int i = 0; i < values.length; i++) {
          values[i] = DType.fromBf16(DType.toBf16((float) values[i]));
        }
      }
      weights = scope.of(DType.F32, values, form.weights().shape().toArray());
      weightValues = weights.toDoubles();
      table = scope.table(plan.table());
      packed = scope.memory(plan.packedBytes()).address();
      used = scope.memory(plan.usedBytes()).address();
    }

    /**
     * Leaves tiles of weights that are to be skipped, others in some columns alone, or all but one.
     */
    private void clear(double[] values, boolean lonely) {
      int tap = form.channels * form.filters;
      int columns = form.target().shape().dim(3);
      for (int i = 0; i < values.length; i++) {
        int column = form.backward ? i / form.filters % form.channels : i % form.filters;
        boolean none = i / tap == 1 || i / tap % 3 == 0 && column >= columns / 2;
        if (lonely || none) {
          values[i] = 0;
        }
      }
      if (lonely) {
        values[values.length - 1] = -1;
      }
    }

    KernelCall pack(int half) {
      return plan.pack(weights.address(), table, packed, used, half);
    }

    KernelCall convolve(Output output, Window window) {
      KernelCall call = plan.convolve(source.address(), table, packed, used, output, window);
      assertEquals(form.kernel, call.function(), "the plan took another tile");
      return call;
    }
  }

  static List<KernelCheck> all() {
    List<KernelCheck> checks = new ArrayList<>();
    for (Form form : forms()) {
      Shape target = form.target().shape();
      for (Activation activation : Activation.values()) {
        // an activation comes last, whatever steps and phases there were
        boolean one = form.stride == 1 && form.images > 1;
        boolean wanted = isGate(activation) ? one || target.dim(3) % 32 == 16 : one;
        if (activation == Activation.NONE || wanted) {
          checks.add(check(form, activation + " of " + form, s -> activated(s, form, activation)));
        }
      }
      checks.add(check(form, "one weight of " + form, s -> oneWeight(s, form)));
      for (int positions : new int[] {1, target.dim(2)}) {
        checks.add(
            check(
                form, "window of " + positions + " of " + form, s -> windowed(s, form, positions)));
      }
    }
    return checks;
  }

  private static boolean isGate(Activation activation) {
    return activation == Activation.GATE_TANH || activation == Activation.GATE_LINEAR;
  }

  private interface Body {
    void run(CheckScope scope);
  }

  private static KernelCheck check(Form form, String name, Body body) {
    String kernel = form.kernel;
    String tile = kernel.substring(kernel.indexOf('x') + 1).replace("_any", "");
    String type = form.type == DType.F32 ? "f32" : "bf16";
    return new KernelCheck(
        name,
        Set.of(kernel, "conv_pack_" + type + "_" + tile),
        form.target().shape().elements(),
        device -> {
          try (CheckScope scope = new CheckScope(device)) {
            body.run(scope);
          }
        });
  }

  /** A block of each kernel's rows is full, another one is not. */
  private static List<Form> forms() {
    List<Form> forms = new ArrayList<>();
    tile(forms, "conv_taps_f32_128x64", DType.F32, 11, 13, 12, 64, 100, 112, TINY_GPU);
    tile(forms, "conv_taps_f32_64x32", DType.F32, 7, 10, 8, 32, 60, 48, 1000);
    tile(forms, "conv_taps_f32_64x32_any", DType.F32, 7, 10, 35, 32, 33, 48, TINY_GPU);
    tile(forms, "conv_taps_bf16_128x128", DType.BF16, 11, 13, 40, 128, 204, 208, TINY_GPU);
    tile(forms, "conv_taps_bf16_128x64", DType.BF16, 11, 13, 24, 64, 150, 144, TINY_GPU);
    tile(forms, "conv_taps_bf16_64x32", DType.BF16, 7, 10, 16, 32, 60, 48, 1000);
    tile(forms, "conv_taps_bf16_64x32_any", DType.BF16, 7, 10, 35, 32, 33, 48, TINY_GPU);
    return forms;
  }

  /**
   * The kernel with channels that fill its tile's columns; with more, which do not, and by phases.
   *
   * @param channels of the source
   * @param gated more than a tile, in sixteens
   */
  private static void tile(
      List<Form> forms,
      String kernel,
      DType type,
      int height,
      int width,
      int channels,
      int full,
      int more,
      int gated,
      int multiprocessors) {
    Taps taps = Taps.rectangle(-1, 1, -2, 1);
    for (int filters : new int[] {full, more, gated}) {
      int images = filters == full ? 2 : 1;
      forms.add(
          new Form(
              kernel,
              type,
              taps,
              1,
              false,
              images,
              height,
              width,
              channels,
              filters,
              multiprocessors));
    }
    // a step of two in the source, and phases in the target
    forms.add(new Form(kernel, type, taps, 2, false, 3, 9, 7, channels, full, multiprocessors));
    forms.add(new Form(kernel, type, taps, 2, true, 3, 5, 7, full, channels, multiprocessors));
  }

  private static void activated(CheckScope scope, Form form, Activation activation) {
    Placed p = new Placed(scope, form, 0, false);
    DType type = form.type;
    Shape target = form.target().shape();
    int channels = target.dim(3);
    boolean gate = isGate(activation);
    int outputs =
        gate ? channels / 2 : activation == Activation.CONCAT_ELU ? 2 * channels : channels;
    int[] dims = {target.dim(0), target.dim(1), target.dim(2), outputs};
    double[] none = new double[target.elements()];
    int trials = gate ? 4 : 3;
    for (int trial = 0; trial < trials; trial++) {
      boolean extras = trial != 1;
      boolean ofImages = trial == trials - 1; // one row for all pixels of an image
      // a group's channels of a: of as many groups as there can be, then of one
      int half = !gate ? 0 : trial < 2 ? 8 : channels / 2;
      boolean f32 = type == DType.F32 || extras && activation != Activation.NONE;
      DType to = f32 ? DType.F32 : DType.BF16;
      Tensor bias = scope.normal(DType.F32, 3, 1, channels);
      int[] added = ofImages ? new int[] {target.dim(0), channels} : target.toArray();
      Tensor addend = scope.normal(to, 4, 1, added);
      Tensor residual = scope.normal(to, 5, 1, dims);
      Tensor sum = scope.poisoned(to, target.toArray());
      Tensor y = scope.poisoned(to, dims);
      scope.launch(
          p.pack(half),
          p.convolve(
              new Output(
                  extras ? bias.address() : 0,
                  extras ? addend.address() : 0,
                  ofImages,
                  extras && activation != Activation.NONE ? sum.address() : 0,
                  extras && gate ? residual.address() : 0,
                  y.address(),
                  f32,
                  activation,
                  half,
                  0,
                  channels),
              Window.flat()));
      Sums sums =
          new Sums(
              form,
              p,
              extras ? bias.toDoubles() : new double[channels],
              extras ? everywhere(addend.toDoubles(), target) : none);
      if (extras && activation != Activation.NONE) {
        compare(sum, sums.value, sums.error);
      }
      if (!f32 && activation != Activation.NONE) {
        sums.round();
      }
      double[] last = extras && gate ? residual.toDoubles() : new double[y.shape().elements()];
      double[][] expected = sums.through(activation, half, outputs, last);
      compare(y, expected[0], expected[1]);
    }
  }

  /** An addend as large as the target, of one that has perhaps a row for each image alone. */
  private static double[] everywhere(double[] addend, Shape target) {
    int perImage = target.elements() / target.dim(0);
    int own = addend.length / target.dim(0);
    double[] all = new double[target.elements()];
    Arrays.setAll(all, i -> addend[i / perImage * own + i % perImage % own]);
    return all;
  }

  /** Tiles of which a single element is not zero, and that one negative. */
  private static void oneWeight(CheckScope scope, Form form) {
    Placed p = new Placed(scope, form, 0, true);
    int channels = form.target().shape().dim(3);
    Tensor bias = scope.normal(DType.F32, 3, 1, channels);
    Tensor y = scope.poisoned(form.type, form.target().shape().toArray());
    boolean f32 = form.type == DType.F32;
    scope.launch(
        p.pack(0), p.convolve(output(bias, y, f32, new int[] {0, channels}), Window.flat()));
    Sums sums = new Sums(form, p, bias.toDoubles(), new double[y.elements()]);
    compare(y, sums.value, sums.error);
  }

  /** What the sums are, and how far off they may be. */
  private static final class Sums {
    final int channels;
    final double[] value;
    final double[] error;

    Sums(Form form, Placed p, double[] bias, double[] addend) {
      Reference.Result result = form.expected(p.sourceValues, p.weightValues);
      channels = bias.length;
      value = result.value();
      error = new double[value.length];
      double gamma = form.terms() * U / (1 - form.terms() * U);
      for (int i = 0; i < value.length; i++) {
        double b = bias[i % channels];
        value[i] += b + addend[i];
        error[i] = gamma * (result.magnitude()[i] + Math.abs(b) + Math.abs(addend[i]));
      }
    }

    /** An activation takes them as bf16: one of two neighbours. */
    void round() {
      for (int i = 0; i < error.length; i++) {
        error[i] += 0x1p-8 * (Math.abs(value[i]) + error[i]);
      }
    }

    /** Results and their errors. */
    double[][] through(Activation activation, int half, int outputs, double[] residual) {
      double[] y = new double[value.length / channels * outputs];
      double[] off = new double[y.length];
      for (int i = 0; i < y.length; i++) {
        int c = i % outputs;
        int pixel = i / outputs * channels;
        switch (activation) {
          case NONE -> {
            y[i] = value[i];
            off[i] = error[i];
          }
          case RELU -> {
            y[i] = Math.max(0, value[i]);
            off[i] = error[i];
          }
          case ELU, CONCAT_ELU -> {
            double v = c < channels ? value[pixel + c] : -value[pixel + c - channels];
            y[i] = v > 0 ? v : Math.expm1(v);
            off[i] = error[pixel + c % channels] + 8 * U * Math.abs(y[i]);
          }
          case GATE_TANH, GATE_LINEAR -> {
            int a = pixel + c / half * 2 * half + c % half;
            int b = a + half;
            double f = activation == Activation.GATE_TANH ? Math.tanh(value[a]) : value[a];
            double s = 1 / (1 + Math.exp(-value[b]));
            y[i] = f * s + residual[i];
            off[i] =
                error[a]
                    + Math.abs(f) * error[b] / 4
                    + 16 * U * (Math.abs(f * s) + Math.abs(residual[i]));
          }
        }
      }
      return new double[][] {y, off};
    }
  }

  private static void compare(Tensor actual, double[] expected, double[] error) {
    double[] values = actual.toDoubles();
    double rounding = actual.dtype() == DType.F32 ? U : 0x1p-8;
    for (int i = 0; i < values.length; i++) {
      double allowed = error[i] + rounding * (Math.abs(expected[i]) + error[i]);
      int at = i;
      assertTrue(
          Math.abs(values[i] - expected[i]) <= allowed,
          () ->
              "element "
                  + at
                  + " of "
                  + actual.spec()
                  + " is "
                  + values[at]
                  + ", expected "
                  + expected[at]
                  + " within "
                  + allowed);
    }
  }

  /** A window's positions are as all of them computed at once; no other is written. */
  private static void windowed(CheckScope scope, Form form, int count) {
    Placed p = new Placed(scope, form, count, false);
    Shape target = form.target().shape();
    int channels = target.dim(3);
    int positions = target.dim(1) * target.dim(2);
    Tensor y = scope.poisoned(form.type, target.toArray());
    Tensor bias = scope.normal(DType.F32, 3, 1, channels);
    boolean f32 = form.type == DType.F32;
    int last = (channels - 1) / 8 * 8;
    int[][] ranges = {{0, channels}, {8, 16}, {16, Math.min(channels, 27)}, {last, channels}};
    scope.launch(p.pack(0), p.convolve(output(bias, y, f32, ranges[0]), Window.flat()));
    byte[] whole = CheckScope.raw(y);
    Sums sums = new Sums(form, p, bias.toDoubles(), new double[target.elements()]);
    compare(y, sums.value, sums.error);
    int row = target.dim(2);
    int[] firsts =
        count == 1
            ? new int[] {-1, 0, 1, row - 1, row, 2 * row + 1, positions - 1}
            : new int[] {-1, 0, row, positions - row};
    for (int t = 0; t < firsts.length; t++) {
      Window window =
          new Window(scope.table(firsts), scope.table(t), form.images, count, positions, 1, -1);
      for (int[] range : ranges) {
        scope.poison(y);
        scope.launch(p.convolve(output(bias, y, f32, range), window));
        byte[] expected = new byte[whole.length];
        Arrays.fill(expected, (byte) 0xFF);
        int bytes = form.type.bytes();
        for (int n = 0; n < form.images && firsts[t] >= 0; n++) {
          for (int at = firsts[t]; at < firsts[t] + count; at++) {
            int from = ((n * positions + at) * channels + range[0]) * bytes;
            System.arraycopy(whole, from, expected, from, (range[1] - range[0]) * bytes);
          }
        }
        assertArrayEquals(
            expected,
            CheckScope.raw(y),
            "positions from " + firsts[t] + " on, channels " + Arrays.toString(range));
      }
    }
  }

  private static Output output(Tensor bias, Tensor y, boolean f32, int[] range) {
    return new Output(
        bias.address(), 0, false, 0, 0, y.address(), f32, Activation.NONE, 0, range[0], range[1]);
  }
}
