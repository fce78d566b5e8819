package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.kernels.DrawKernels;
import dev.gatun.kernels.Element;
import dev.gatun.kernels.ElementwiseKernels;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Element-wise kernels told by a window where to work: its positions become what they become where
 * the whole tensor is computed, to the bit, and no other is written.
 */
final class WindowChecks {
  private static final int IMAGES = 3;
  private static final int HEIGHT = 4;
  private static final int WIDTH = 5;
  private static final int POSITIONS = HEIGHT * WIDTH;

  private static final Form GATE = (s, t, e, g, c) -> gate(s, t, e, g, c, false);
  private static final Form LINEAR_GATE = (s, t, e, g, c) -> gate(s, t, e, g, c, true);

  private WindowChecks() {}

  /** An element-wise kernel's launch, ready but for where it works. */
  private record Ready(Tensor y, java.util.function.Function<Window, KernelCall> call) {}

  /** Prepares operands of so many groups of so many channels. */
  private interface Form {
    Ready ready(CheckScope scope, DType type, Element element, int groups, int channels);
  }

  static List<KernelCheck> all() {
    List<KernelCheck> checks = new ArrayList<>();
    add(checks, "relu", 3, WindowChecks::relu);
    add(checks, "elu", 3, WindowChecks::elu);
    add(checks, "concat_elu", 1, WindowChecks::concatElu);
    add(checks, "gate", 3, GATE);
    add(checks, "gate", 3, LINEAR_GATE);
    add(checks, "add", 3, WindowChecks::sum);
    add(checks, "normalize_pixels", 1, WindowChecks::normalizePixels);
    add(checks, "add_bias", 3, (s, t, e, g, c) -> addBias(s, t, e, g, c, true));
    add(checks, "add_bias", 3, (s, t, e, g, c) -> addBias(s, t, e, g, c, false));
    add(checks, "shift", 1, (s, t, e, g, c) -> shift(s, t, e, c, 1, 0));
    add(checks, "shift", 1, (s, t, e, g, c) -> shift(s, t, e, c, -1, 2));
    for (Element element : Element.values()) {
      String kernel = "take_position_" + suffix(element);
      checks.add(check(kernel, kernel, scope -> takePosition(scope, element)));
    }
    checks.add(check("put_position_u8", "put_position_u8", WindowChecks::putPosition));
    checks.add(check("advance_time", "advance_time", WindowChecks::advanceTime));
    return checks;
  }

  private interface Body {
    void run(CheckScope scope);
  }

  private static KernelCheck check(String name, String kernel, Body body) {
    return new KernelCheck(
        name,
        Set.of(kernel),
        1000,
        device -> {
          try (CheckScope scope = new CheckScope(device)) {
            body.run(scope);
          }
        });
  }

  private static String suffix(Element element) {
    return element == Element.F32 ? "f32" : "bf16";
  }

  private static void add(List<KernelCheck> checks, String op, int mostGroups, Form form) {
    for (Element element : Element.values()) {
      for (int groups = 1; groups <= mostGroups; groups += 2) {
        for (int channels : new int[] {16, 5}) {
          int own = groups;
          checks.add(
              check(
                  "window of " + op + ", " + groups + " groups of " + channels + " " + element,
                  op + "_" + suffix(element),
                  scope -> positions(scope, form, element, own, channels)));
        }
      }
    }
  }

  private static void positions(
      CheckScope scope, Form form, Element element, int groups, int channels) {
    DType type = element == Element.F32 ? DType.F32 : DType.BF16;
    Ready ready = form.ready(scope, type, element, groups, channels);
    byte[] whole = whole(scope, form.ready(scope, type, element, 1, groups * channels), 1);
    if (!Arrays.equals(whole, whole(scope, ready, groups))) {
      // but a gate's groups are its own: what they are is the contract's matter
      assertTrue(form == GATE || form == LINEAR_GATE, "groups are not as one of all channels");
      whole = whole(scope, ready, groups);
    }
    int each = whole.length / (IMAGES * POSITIONS * groups);
    for (int count : new int[] {1, WIDTH}) {
      int[] firsts = {-1, 0, count, POSITIONS - count};
      for (int t = 0; t < firsts.length; t++) {
        for (int group = -1; group < groups; group++) {
          scope.poison(ready.y);
          scope.launch(
              ready.call.apply(
                  new Window(
                      scope.table(firsts),
                      scope.table(t),
                      IMAGES,
                      count,
                      POSITIONS,
                      groups,
                      group)));
          byte[] expected = new byte[whole.length];
          Arrays.fill(expected, (byte) 0xFF);
          for (int row = 0; row < IMAGES * POSITIONS * groups; row++) {
            int position = row / groups % POSITIONS - firsts[t];
            boolean inside = firsts[t] >= 0 && position >= 0 && position < count;
            if (inside && (group < 0 || row % groups == group)) {
              System.arraycopy(whole, row * each, expected, row * each, each);
            }
          }
          assertArrayEquals(
              expected,
              CheckScope.raw(ready.y),
              count + " positions from " + firsts[t] + " on, group " + group);
        }
      }
    }
  }

  private static byte[] whole(CheckScope scope, Ready ready, int groups) {
    scope.poison(ready.y);
    scope.launch(ready.call.apply(Window.whole(IMAGES, POSITIONS, groups)));
    return CheckScope.raw(ready.y);
  }

  // ---- the kernels

  private static Tensor normal(CheckScope scope, DType type, int seed, int groups, int channels) {
    return scope.normal(type, seed, 2, IMAGES, HEIGHT, WIDTH, groups * channels);
  }

  private static Tensor result(CheckScope scope, DType type, int groups, int channels) {
    return scope.poisoned(type, IMAGES, HEIGHT, WIDTH, groups * channels);
  }

  private static Ready relu(CheckScope s, DType type, Element e, int groups, int channels) {
    Tensor x = normal(s, type, 1, groups, channels);
    Tensor y = result(s, type, groups, channels);
    return new Ready(y, w -> ElementwiseKernels.relu(e, x.address(), y.address(), channels, w));
  }

  private static Ready elu(CheckScope s, DType type, Element e, int groups, int channels) {
    Tensor x = normal(s, type, 1, groups, channels);
    Tensor y = result(s, type, groups, channels);
    return new Ready(y, w -> ElementwiseKernels.elu(e, x.address(), y.address(), channels, w));
  }

  private static Ready concatElu(CheckScope s, DType type, Element e, int groups, int channels) {
    Tensor x = normal(s, type, 1, groups, channels);
    Tensor y = result(s, type, groups, 2 * channels);
    return new Ready(
        y, w -> ElementwiseKernels.concatElu(e, x.address(), y.address(), channels, w));
  }

  private static Ready gate(
      CheckScope s, DType type, Element e, int groups, int channels, boolean residual) {
    Tensor x = normal(s, type, 1, groups, 2 * channels);
    Tensor added = normal(s, type, 2, groups, channels);
    Tensor y = result(s, type, groups, channels);
    return new Ready(
        y,
        w ->
            ElementwiseKernels.gate(
                e,
                x.address(),
                residual ? added.address() : 0,
                y.address(),
                channels,
                residual,
                w));
  }

  private static Ready sum(CheckScope s, DType type, Element e, int groups, int channels) {
    Tensor a = normal(s, type, 1, groups, channels);
    Tensor b = normal(s, type, 2, groups, channels);
    Tensor y = result(s, type, groups, channels);
    return new Ready(
        y, w -> ElementwiseKernels.add(e, a.address(), b.address(), y.address(), channels, w));
  }

  private static Ready normalizePixels(
      CheckScope s, DType type, Element e, int groups, int channels) {
    int colours = channels - 1;
    byte[] pixels = new byte[IMAGES * POSITIONS * colours];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) new Philox(3).below(8, Philox.Stream.TEST, 0, i);
    }
    Tensor x = s.bytes(pixels, IMAGES, HEIGHT, WIDTH, colours);
    Tensor y = result(s, type, groups, channels);
    return new Ready(
        y, w -> ElementwiseKernels.normalizePixels(e, x.address(), y.address(), colours, 8, w));
  }

  private static Ready addBias(
      CheckScope s, DType type, Element e, int groups, int channels, boolean labelled) {
    Tensor x = normal(s, type, 1, groups, channels);
    Tensor table = s.normal(DType.F32, 2, 1, 3, groups * channels);
    Tensor labels = s.bytes(new byte[] {2, 0, 1}, IMAGES);
    Tensor y = result(s, type, groups, channels);
    return new Ready(
        y,
        w ->
            ElementwiseKernels.addBias(
                e,
                x.address(),
                table.address(),
                labelled ? labels.address() : 0,
                y.address(),
                s.refusal(),
                3,
                channels,
                w));
  }

  private static Ready shift(
      CheckScope s, DType type, Element e, int channels, int rows, int columns) {
    Tensor x = normal(s, type, 1, 1, channels);
    Tensor y = result(s, type, 1, channels);
    return new Ready(
        y,
        w ->
            ElementwiseKernels.shift(
                e, x.address(), y.address(), HEIGHT, WIDTH, channels, rows, columns, w));
  }

  private static void takePosition(CheckScope scope, Element element) {
    DType type = element == Element.F32 ? DType.F32 : DType.BF16;
    int groups = 3;
    int channels = 70;
    Tensor from = normal(scope, type, 1, groups, channels);
    double[] values = from.toDoubles();
    Tensor to = scope.poisoned(DType.F32, IMAGES, channels);
    int[] firsts = {0, 7, POSITIONS - 1, -1};
    double[] expected = new double[IMAGES * channels];
    for (int t = 0; t < firsts.length; t++) {
      for (int group = 0; group < groups; group++) {
        Window window =
            new Window(scope.table(firsts), scope.table(t), IMAGES, 1, POSITIONS, groups, group);
        scope.launch(
            DrawKernels.takePosition(element, from.address(), to.address(), channels, window));
        // the last time there is nothing to do: what was taken before stays
        for (int i = 0; i < expected.length && firsts[t] >= 0; i++) {
          int row = (i / channels * POSITIONS + firsts[t]) * groups + group;
          expected[i] = values[row * channels + i % channels];
        }
        assertArrayEquals(expected, to.toDoubles(), "at " + firsts[t] + ", group " + group);
      }
    }
  }

  private static void putPosition(CheckScope scope) {
    int images = 50;
    int colours = 3;
    byte[] pixels = new byte[images * colours];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) i;
    }
    Tensor from = scope.bytes(pixels, images, colours);
    Tensor to = scope.poisoned(DType.U8, images, POSITIONS, colours);
    int[] firsts = {7, 0, -1, POSITIONS - 1};
    for (int t = 0; t < firsts.length; t++) {
      Window window = new Window(scope.table(firsts), scope.table(t), images, 1, POSITIONS, 1, -1);
      scope.poison(to);
      scope.launch(DrawKernels.putPosition(from.address(), to.address(), colours, window));
      byte[] expected = new byte[images * POSITIONS * colours];
      Arrays.fill(expected, (byte) 0xFF);
      for (int n = 0; n < images && firsts[t] >= 0; n++) {
        System.arraycopy(
            pixels, n * colours, expected, (n * POSITIONS + firsts[t]) * colours, colours);
      }
      assertArrayEquals(expected, to.toBytes(), "at " + firsts[t]);
    }
  }

  private static void advanceTime(CheckScope scope) {
    Tensor time = scope.tensor(dev.gatun.engine.TensorSpec.of(DType.I32, 1)).write(41);
    scope.launch(DrawKernels.advance(time.address()), DrawKernels.advance(time.address()));
    assertArrayEquals(new double[] {43}, time.toDoubles());
  }
}
