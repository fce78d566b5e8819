package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.DnnlAttributes;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.IntSummaryStatistics;
import java.util.List;
import java.util.Map;

/**
 * One thread's share of a {@link CpuCausal}: its images, their caches, and what to run for each
 * pixel.
 */
final class CausalLane implements AutoCloseable {
  /** Computes one step of a unit. */
  private interface Runner {
    void run(int row, int column, int group);

    /** Only what a library does of it. */
    default void bare(int row, int column, int group) {}
  }

  private final int index;
  private final CpuDevice device;
  private final CausalPlan plan;
  private final Map<Value, Tensor> constants;
  private final PackedWeights packed;
  private final Owned owned = new Owned();
  private final Map<Value, CausalPlace> places = new IdentityHashMap<>();
  private final int images;
  private final int height;
  private final int width;
  private final int colours;
  private final Tensor image; // (N, H, W, C) u8
  private final MemorySegment imageBytes;
  private final Value labelsValue;
  private final Tensor labels; // (N) u8
  private final Runner[][] runners; // by time
  private final int[][] arguments; // by time: row, column, group of each runner

  CausalLane(
      int index,
      CpuDevice device,
      CausalPlan plan,
      Value labels,
      Map<Value, Tensor> constants,
      PackedWeights packed) {
    this.index = index;
    this.device = device;
    this.plan = plan;
    this.constants = constants;
    this.packed = packed;
    labelsValue = labels;
    Shape shape = plan.image().shape();
    images = shape.dim(0);
    height = shape.dim(1);
    width = shape.dim(2);
    colours = shape.dim(3);
    try {
      image = owned.add(Tensor.allocate(device.parent(), plan.image().spec()));
      imageBytes = device.segment(image);
      this.labels = owned.add(Tensor.allocate(device.parent(), DType.U8, images));
      Map<CausalPlan.Unit, Runner> made = new IdentityHashMap<>();
      device.submit(() -> {
        build(made);
        return null;
      });
      int times = height * width * plan.passes();
      runners = new Runner[times][];
      arguments = new int[times][];
      for (int t = 0; t < times; t++) {
        List<CausalPlan.Step> steps = plan.steps(t);
        runners[t] = new Runner[steps.size()];
        arguments[t] = new int[3 * steps.size()];
        for (int i = 0; i < steps.size(); i++) {
          CausalPlan.Step step = steps.get(i);
          runners[t][i] = made.get(step.unit());
          arguments[t][3 * i] = step.row();
          arguments[t][3 * i + 1] = step.column();
          arguments[t][3 * i + 2] = step.group();
        }
      }
      requireKept();
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  int index() {
    return index;
  }

  // ------------------------------------------------------------------ running

  void run(byte[] ownLabels, CausalProgram.Draw draw) {
    device.submit(() -> {
      begin(ownLabels);
      CausalPlace output = places.get(plan.output());
      int count = output.channels / plan.groups(plan.output());
      float[] parameters = new float[images * count];
      byte[] pixel = new byte[images * colours];
      for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++) {
          for (int pass = 0; pass < plan.passes(); pass++) {
            int time = (row * width + column) * plan.passes() + pass;
            step(time);
            int group = plan.groups(plan.output()) > 1 ? pass : 0;
            device
                .loops()
                .loadRows(
                    output.type,
                    output.segment(row),
                    output.offset(column) + (long) group * count,
                    output.stride(),
                    parameters,
                    images,
                    count);
            draw.draw(index, row, column, pass, parameters, pixel);
            putPixel(row, column, pixel);
          }
        }
      }
      return null;
    });
  }

  private void begin(byte[] ownLabels) {
    places.values().forEach(CausalPlace::clear);
    if (plan.passes() > 1) {
      presetOnes();
    }
    imageBytes.fill((byte) 0);
    if (ownLabels != null) {
      labels.write(ownLabels);
    }
  }

  /** What the first colour of a pixel sees there before any is drawn: the channel of ones. */
  private void presetOnes() {
    for (CausalPlan.Unit unit : plan.units()) {
      if (unit.op() instanceof NormalizePixels && !unit.byRows()) {
        places.get(unit.output()).preset(colours, 1);
      }
    }
  }

  private void step(int time) {
    Runner[] now = runners[time];
    int[] at = arguments[time];
    for (int i = 0; i < now.length; i++) {
      now[i].run(at[3 * i], at[3 * i + 1], at[3 * i + 2]);
    }
  }

  void runBare() {
    device.submit(() -> {
      for (int t = 0; t < runners.length; t++) {
        Runner[] now = runners[t];
        int[] at = arguments[t];
        for (int i = 0; i < now.length; i++) {
          now[i].bare(at[3 * i], at[3 * i + 1], at[3 * i + 2]);
        }
      }
      return null;
    });
  }

  private void putPixel(int row, int column, byte[] pixel) {
    for (int n = 0; n < images; n++) {
      MemorySegment.copy(
          pixel,
          n * colours,
          imageBytes,
          JAVA_BYTE,
          ((long) (n * height + row) * width + column) * colours,
          colours);
    }
  }

  // ------------------------------------------------------------------ building

  private void build(Map<CausalPlan.Unit, Runner> made) {
    for (CausalPlan.Unit unit : plan.units()) {
      places.put(
          unit.output(), owned.add(new CausalPlace(device, unit.output().spec(), unit.byRows())));
    }
    // windows of several columns first: single columns then find room in them
    for (boolean single : new boolean[] {false, true}) {
      for (CausalPlan.Unit unit : plan.units()) {
        if (!unit.byRows()) {
          for (PixelKernel kernel : kernels(unit)) {
            if (kernel.isSingle() == single) {
              kernel.askFor(places.get(kernel.input));
            }
          }
        }
      }
    }
    places.values().forEach(CausalPlace::allocate);
    for (CausalPlan.Unit unit : plan.units()) {
      made.put(unit, unit.byRows() ? rowRunner(unit) : pixelRunner(unit));
    }
  }

  /** Runs through all steps to see that each finds what it reads where it looks for it. */
  private void requireKept() {
    Map<Value, CausalPlan.Step> last = new IdentityHashMap<>();
    for (int t = 0; t < runners.length; t++) {
      for (CausalPlan.Step step : plan.steps(t)) {
        for (Value input : step.unit().inputs()) {
          CausalPlace place = places.get(input);
          if (place != null && !isKept(step, input, place, last.get(input))) {
            throw new IllegalStateException(
                step + " reads a place of " + input + " that is gone or not there yet");
          }
        }
        CausalPlan.Step before = last.get(step.unit().output());
        int next = before == null ? step.row() : before.row() + 1;
        if (places.get(step.unit().output()).hasRowWindows() && step.row() != next) {
          throw new IllegalStateException(step + " leaves out a row that a window would keep");
        }
        last.put(step.unit().output(), step);
      }
    }
  }

  private static boolean isKept(
      CausalPlan.Step step, Value input, CausalPlace place, CausalPlan.Step last) {
    Op op = step.unit().op();
    int row = step.row();
    int column = step.column();
    boolean windowed = false;
    if (op instanceof Conv2d conv && input == step.unit().inputs().getFirst()) {
      row *= conv.strideH();
      if (place.byRows) {
        row += reach(conv, input).getMax();
      }
      windowed = true;
    } else if (op instanceof Conv2dBackwardData conv && input == step.unit().inputs().get(1)) {
      row /= conv.forward().strideH();
      windowed = true;
    } else if (op instanceof Shift shift) {
      row -= shift.rows();
      column -= shift.columns();
    }
    boolean wholeRow = step.unit().byRows();
    if (row < 0 || !wholeRow && column < 0) {
      return true; // zeros
    }
    if (last == null) {
      return true; // no tap meets the image: nothing of the value is ever needed
    }
    if (place.byRows) {
      return last.row() == row;
    }
    if (place.forgets()) {
      return last.row() == row && last.column() == column;
    }
    // planes of windows go round in turn
    return last.row() <= row + (windowed ? 1 : place.keptRows());
  }

  /** A parameter, or a value that is computed once. */
  private Tensor constant(Value value) {
    Tensor tensor = constants.get(value);
    return tensor == null ? value.bound() : tensor;
  }

  // ------------------------------------------------------------------ by rows

  private Runner rowRunner(CausalPlan.Unit unit) {
    CausalPlace out = places.get(unit.output());
    Runner compute =
        switch (unit.op()) {
          case Conv2d conv -> rowConvolution(unit, conv, out);
          case Conv2dBackwardData conv -> rowTransposed(unit, conv, out);
          case Shift shift -> {
            MemorySegment to = device.segment(out.latest());
            // the latest row is the one that the shift reads
            Launch across = launch(new Shift(0, shift.columns()), rowInputs(unit), out.latest());
            yield (row, column, group) -> {
              if (row < shift.rows()) {
                to.fill((byte) 0);
              } else {
                across.run();
              }
            };
          }
          case NormalizePixels op when unit.inputs().getFirst() == plan.image() -> {
            Tensor rowOfImage =
                owned.add(Tensor.allocate(device.parent(), DType.U8, images, 1, width, colours));
            Launch launch = launch(op, List.of(rowOfImage), out.latest());
            MemorySegment target = device.segment(rowOfImage);
            long bytes = (long) width * colours;
            yield (row, column, group) -> {
              for (int n = 0; n < images; n++) {
                MemorySegment.copy(
                    imageBytes, ((long) n * height + row) * bytes, target, n * bytes, bytes);
              }
              launch.run();
            };
          }
          default -> {
            Launch launch = launch(unit.op(), rowInputs(unit), out.latest());
            yield (row, column, group) -> launch.run();
          }
        };
    return new Runner() {
      @Override
      public void run(int row, int column, int group) {
        compute.run(row, column, group);
        out.pushRow();
      }

      @Override
      public void bare(int row, int column, int group) {
        compute.bare(row, column, group);
      }
    };
  }

  private List<Tensor> rowInputs(CausalPlan.Unit unit) {
    return unit.inputs().stream()
        .map(v ->
            v == labelsValue ? labels : plan.isDependent(v) ? places.get(v).latest() : constant(v))
        .toList();
  }

  private Launch launch(Op op, List<Tensor> inputs, Tensor output) {
    return owned.add(device.prepare(op, inputs, List.of(output)));
  }

  /** The taps' rows lie below each other in a tensor of as many rows: one stride covers them. */
  private Runner rowConvolution(CausalPlan.Unit unit, Conv2d conv, CausalPlace out) {
    IntSummaryStatistics reach = reach(conv, unit.inputs().getFirst());
    int top = reach.getMin();
    int rows = reach.getMax() - top + 1;
    Taps taps =
        new Taps(conv.taps().list().stream().map(t -> new Taps.Tap(t.dy() - top, t.dx())).toList());
    List<Tensor> inputs = new ArrayList<>(rowInputs(unit));
    inputs.set(0, places.get(unit.inputs().getFirst()).latestRows(rows));
    Launch launch =
        launch(new Conv2d(taps, rows, conv.strideW(), conv.outputType()), inputs, out.latest());
    return library(launch);
  }

  /**
   * The rows that a convolution reads. Taps beside the image whichever column they are at do not
   * count: what they would read is not computed.
   */
  private static IntSummaryStatistics reach(Conv2d conv, Value input) {
    int width = input.shape().dim(2);
    int last = (width - 1) / conv.strideW() * conv.strideW();
    IntSummaryStatistics rows = new IntSummaryStatistics();
    for (Taps.Tap tap : conv.taps().list()) {
      if (last + tap.dx() >= 0 && tap.dx() < width) {
        rows.accept(tap.dy());
      }
    }
    if (rows.getCount() == 0) {
      rows.accept(0);
    }
    return rows;
  }

  private static Runner library(Launch launch) {
    return new Runner() {
      @Override
      public void run(int row, int column, int group) {
        launch.run();
      }

      @Override
      public void bare(int row, int column, int group) {
        launch.run();
      }
    };
  }

  /** A row of a transposed convolution is made by the taps of its own row alone. */
  private Runner rowTransposed(CausalPlan.Unit unit, Conv2dBackwardData op, CausalPlace out) {
    Conv2d forward = op.forward();
    Tensor w = constant(unit.inputs().get(0));
    List<Tensor> rest = rowInputs(unit).subList(1, unit.inputs().size());
    Shape shape = out.latest().shape();
    Runner[] phases = new Runner[forward.strideH()];
    for (int phase = 0; phase < phases.length; phase++) {
      List<Taps.Tap> taps = new ArrayList<>();
      List<Integer> cells = new ArrayList<>();
      for (int t = 0; t < forward.taps().count(); t++) {
        Taps.Tap tap = forward.taps().list().get(t);
        if (tap.dy() == phase) {
          taps.add(new Taps.Tap(0, tap.dx()));
          cells.add(t);
        } else if (tap.dy() < 0 || tap.dy() >= forward.strideH()) {
          throw new IllegalArgumentException(
              "a transposed convolution by rows takes taps of rows 0 to " + (phases.length - 1));
        }
      }
      Tensor own =
          owned.add(
              Tensor.allocate(
                  device.parent(),
                  new TensorSpec(
                      Shape.of(taps.size(), w.shape().dim(1), w.shape().dim(2)), DType.F32)));
      long cellBytes = 4L * w.shape().dim(1) * w.shape().dim(2);
      MemorySegment target = device.segment(own);
      MemorySegment source = device.segment(w);
      for (int i = 0; i < cells.size(); i++) {
        MemorySegment.copy(source, cells.get(i) * cellBytes, target, i * cellBytes, cellBytes);
      }
      own.buffer().touch();
      Conv2d row = new Conv2d(new Taps(taps), 1, forward.strideW(), null);
      List<Tensor> inputs = new ArrayList<>(rest);
      inputs.addFirst(own);
      phases[phase] = library(launch(new Conv2dBackwardData(row, shape), inputs, out.latest()));
    }
    return new Runner() {
      @Override
      public void run(int row, int column, int group) {
        phases[row % phases.length].run(row, column, group);
      }

      @Override
      public void bare(int row, int column, int group) {
        phases[row % phases.length].bare(row, column, group);
      }
    };
  }

  // ------------------------------------------------------------------ by pixels

  private Runner pixelRunner(CausalPlan.Unit unit) {
    CausalPlace out = places.get(unit.output());
    List<Value> in = unit.inputs();
    int groups = unit.groups();
    int channels = out.channels / groups;
    return switch (unit.op()) {
      case Conv2d conv -> pixelConvolution(unit);
      case Conv2dBackwardData conv -> pixelConvolution(unit);
      case NormalizePixels op -> normalize(op, out, groups);
      case Relu op -> map(in, out, channels, (block, n) -> Arithmetic.relu(block.a, n));
      case Elu op -> map(in, out, channels, (block, n) -> CpuElu.elu(block.a, block.b, n));
      case ConcatElu op -> {
        CausalPlace x = places.get(in.get(0));
        int half = out.channels / 2;
        yield (row, column, group) ->
            forEach(
                half,
                0,
                (first, count, channel, n, block) -> {
                  load(x, row, column, first, count, channel, n, block.a);
                  CpuElu.both(block.a, block.b, count * n);
                  out.store(block.a, first, count, row, column, channel, n);
                  out.store(block.b, first, count, row, column, half + channel, n);
                });
      }
      case Add op -> map(in, out, channels, (block, n) -> Arithmetic.add(block.a, block.b, n));
      case AddBias op -> addBias(in, out, channels);
      case Gate op -> gate(op, in, out, channels, groups);
      case Shift op -> shift(places.get(in.get(0)), out, op.rows(), op.columns());
      default -> throw new IllegalArgumentException(unit.op().name() + " has no form by pixels");
    };
  }

  /** Some channels of some images' pixel. */
  private interface Body {
    void run(int first, int count, int channel, int n, Blocks block);
  }

  /** Runs {@code body} on channels {@code from} to {@code from + channels}, blocks at a time. */
  private void forEach(int channels, int from, Body body) {
    Blocks block = Blocks.own();
    Pieces.forEach(
        0,
        images,
        channels,
        (first, column, count, n) -> body.run(first, count, from + column, n, block));
  }

  /** A function of elements at the same place. */
  private Runner map(List<Value> in, CausalPlace out, int channels, CpuElementwise.Elements f) {
    CausalPlace a = places.get(in.get(0));
    CausalPlace b = in.size() > 1 ? places.get(in.get(1)) : null;
    return (row, column, group) ->
        forEach(
            channels,
            group * channels,
            (first, count, channel, n, block) -> {
              load(a, row, column, first, count, channel, n, block.a);
              if (b != null) {
                load(b, row, column, first, count, channel, n, block.b);
              }
              f.apply(block, count * n);
              out.store(block.a, first, count, row, column, channel, n);
            });
  }

  private void load(
      CausalPlace place,
      int row,
      int column,
      int first,
      int count,
      int channel,
      int n,
      float[] target) {
    long stride = place.stride();
    device
        .loops()
        .loadRows(
            place.type,
            place.segment(row),
            place.offset(column) + first * stride + channel,
            stride,
            target,
            count,
            n);
  }

  private Runner normalize(NormalizePixels op, CausalPlace out, int groups) {
    float scale = 2f / (op.levels() - 1);
    int drawn = colours / groups;
    return (row, column, group) -> {
      Blocks block = Blocks.own();
      for (int c = group * drawn; c < (group + 1) * drawn; c++) {
        for (int n = 0; n < images; n++) {
          long at = ((long) (n * height + row) * width + column) * colours + c;
          block.a[n] = (imageBytes.get(JAVA_BYTE, at) & 0xFF) * scale - 1;
        }
        out.store(block.a, 0, images, row, column, c, 1);
      }
      if (group == 0) {
        java.util.Arrays.fill(block.a, 0, images, 1);
        out.store(block.a, 0, images, row, column, colours, 1);
      }
    };
  }

  private Runner addBias(List<Value> in, CausalPlace out, int channels) {
    CausalPlace x = places.get(in.get(0));
    float[] table = constant(in.get(1)).toFloats();
    boolean labelled = in.size() > 2;
    int all = out.channels;
    MemorySegment own = device.segment(labels);
    return (row, column, group) ->
        forEach(
            channels,
            group * channels,
            (first, count, channel, n, block) -> {
              load(x, row, column, first, count, channel, n, block.a);
              for (int i = 0; i < count; i++) {
                int label = labelled ? own.get(JAVA_BYTE, first + i) & 0xFF : 0;
                CpuBias.add(block.a, i * n, table, label * all + channel, n);
              }
              out.store(block.a, first, count, row, column, channel, n);
            });
  }

  private Runner gate(Gate op, List<Value> in, CausalPlace out, int channels, int groups) {
    CausalPlace x = places.get(in.get(0));
    CausalPlace residual = in.size() > 1 ? places.get(in.get(1)) : null;
    // where the gate's groups are not drawn one after another, they are all done at once
    int rounds = groups == 1 ? op.groups() : 1;
    int each = channels / rounds;
    return (row, column, group) -> {
      for (int round = 0; round < rounds; round++) {
        int from = group * channels + round * each;
        forEach(
            each,
            from,
            (first, count, channel, n, block) -> {
              int a = 2 * from + channel - from;
              load(x, row, column, first, count, a, n, block.a);
              load(x, row, column, first, count, a + each, n, block.b);
              if (op.kind() == Gate.Kind.TANH) {
                Arithmetic.tanhSigmoid(block, block.a, count * n);
              } else {
                Arithmetic.timesSigmoid(block, block.a, count * n);
              }
              if (residual != null) {
                load(residual, row, column, first, count, channel, n, block.b);
                Arithmetic.add(block.a, block.b, count * n);
              }
              out.store(block.a, first, count, row, column, channel, n);
            });
      }
    };
  }

  private Runner shift(CausalPlace x, CausalPlace out, int rows, int columns) {
    return (row, column, group) -> {
      boolean inside =
          row - rows >= 0
              && row - rows < x.height
              && column - columns >= 0
              && column - columns < x.columns;
      forEach(
          out.channels,
          0,
          (first, count, channel, n, block) -> {
            if (inside) {
              load(x, row - rows, column - columns, first, count, channel, n, block.a);
            } else {
              java.util.Arrays.fill(block.a, 0, count * n, 0);
            }
            out.store(block.a, first, count, row, column, channel, n);
          });
    };
  }

  // ------------------------------------------------------------------ convolutions by pixels

  /**
   * The taps that make one output pixel: all of a convolution's, or a phase of a transposed one.
   */
  private static final class PixelKernel {
    final Value input;
    final List<Taps.Tap> taps; // offsets in the input
    final int[] cells; // of each tap, in the weights
    final int top;
    final int left;
    final int right;
    CausalPlace.Window window; // null where the input is by rows

    PixelKernel(Value input, List<Taps.Tap> taps, int[] cells) {
      this.input = input;
      this.taps = taps;
      this.cells = cells;
      top = Math.min(0, taps.stream().mapToInt(Taps.Tap::dy).min().orElse(0));
      left = taps.stream().mapToInt(Taps.Tap::dx).min().orElse(0);
      right = taps.stream().mapToInt(Taps.Tap::dx).max().orElse(0);
      if (taps.stream().anyMatch(t -> t.dy() > 0)) {
        throw new IllegalArgumentException("a convolution by pixels cannot look down");
      }
    }

    int rows() {
      return 1 - top;
    }

    boolean isSingle() {
      return left == right;
    }

    void askFor(CausalPlace place) {
      if (place.byRows) {
        if (rows() > 1 || left != 0 || right != 0) {
          throw new IllegalArgumentException(
              "a convolution by pixels reads a value by rows at the pixel itself only");
        }
      } else if (isSingle()) {
        window = place.anyWindow(rows());
        window = place.window(window.rows, Math.max(0, -left), Math.max(0, right));
      } else {
        window = place.window(rows(), Math.max(0, -left), Math.max(0, right));
      }
    }
  }

  private final Map<CausalPlan.Unit, List<PixelKernel>> kernels = new IdentityHashMap<>();

  private List<PixelKernel> kernels(CausalPlan.Unit unit) {
    return kernels.computeIfAbsent(unit, CausalLane::makeKernels);
  }

  private static List<PixelKernel> makeKernels(CausalPlan.Unit unit) {
    return switch (unit.op()) {
      case Conv2d conv ->
          List.of(
              new PixelKernel(
                  unit.inputs().get(0),
                  conv.taps().list(),
                  java.util.stream.IntStream.range(0, conv.taps().count()).toArray()));
      case Conv2dBackwardData conv -> {
        Conv2d forward = conv.forward();
        List<PixelKernel> phases = new ArrayList<>();
        for (int r = 0; r < forward.strideH(); r++) {
          for (int c = 0; c < forward.strideW(); c++) {
            phases.add(phase(unit.inputs().get(1), forward, r, c));
          }
        }
        yield phases;
      }
      default -> List.of();
    };
  }

  /** Output pixel (r,c) of each stride x stride square reads through the taps that lead there. */
  private static PixelKernel phase(Value input, Conv2d forward, int r, int c) {
    List<Taps.Tap> taps = new ArrayList<>();
    List<Integer> cells = new ArrayList<>();
    for (int t = 0; t < forward.taps().count(); t++) {
      int dy = r - forward.taps().list().get(t).dy();
      int dx = c - forward.taps().list().get(t).dx();
      if (dy % forward.strideH() == 0 && dx % forward.strideW() == 0) {
        taps.add(new Taps.Tap(dy / forward.strideH(), dx / forward.strideW()));
        cells.add(t);
      }
    }
    return new PixelKernel(input, taps, cells.stream().mapToInt(Integer::intValue).toArray());
  }

  private Runner pixelConvolution(CausalPlan.Unit unit) {
    boolean transposed = unit.op() instanceof Conv2dBackwardData;
    Conv2d conv = transposed ? ((Conv2dBackwardData) unit.op()).forward() : (Conv2d) unit.op();
    List<TensorSpec> specs = unit.inputs().stream().map(Value::spec).toList();
    Value weights = unit.inputs().get(transposed ? 0 : 1);
    Value bias = !transposed && Conv2d.hasBias(specs) ? unit.inputs().get(2) : null;
    boolean adds = transposed ? specs.size() > 2 : Conv2d.hasAddend(specs);
    CausalPlace addend = adds ? places.get(unit.inputs().getLast()) : null;
    CausalPlace out = places.get(unit.output());
    int groups = unit.groups();
    int n = out.channels / groups;
    List<PixelKernel> kernels = kernels(unit);
    Product[][] products = new Product[kernels.size()][groups];
    for (int k = 0; k < kernels.size(); k++) {
      for (int g = 0; g < groups; g++) {
        products[k][g] =
            new Product(
                kernels.get(k),
                List.of(unit.output(), k, g),
                weights,
                transposed,
                bias,
                addend != null,
                out,
                g * n,
                n);
      }
    }
    int downH = transposed ? conv.strideH() : 1;
    int downW = transposed ? conv.strideW() : 1;
    int upH = transposed ? 1 : conv.strideH();
    int upW = transposed ? 1 : conv.strideW();
    return new Runner() {
      @Override
      public void run(int row, int column, int group) {
        if (addend != null) {
          out.copy(
              addend.segment(row),
              addend.offset(column) + (long) group * n,
              addend.stride(),
              out.segment(row),
              out.offset(column) + (long) group * n,
              out.stride(),
              n);
        }
        bare(row, column, group);
        out.spread(row, column, group * n, n);
      }

      @Override
      public void bare(int row, int column, int group) {
        int phase = row % downH * downW + column % downW;
        products[phase][group].execute(row / downH * upH, column / downW * upW, row, column);
      }
    };
  }

  /** One output pixel's products, of all images: a matrix product on a window as it lies. */
  private final class Product {
    private final PixelKernel kernel;
    private final CausalPlace input;
    private final CausalPlace out;
    private final int channel;
    private final int firstSlot;
    private final int bytes;
    private final int outBytes;
    private final DnnlPrimitive matmul;

    Product(
        PixelKernel kernel,
        Object key,
        Value weights,
        boolean transposed,
        Value bias,
        boolean accumulate,
        CausalPlace out,
        int channel,
        int n) {
      this.kernel = kernel;
      this.out = out;
      this.channel = channel;
      input = places.get(kernel.input);
      bytes = input.type.bytes();
      outBytes = out.type.bytes();
      boolean whole = kernel.window != null && !kernel.isSingle();
      int slots = whole ? kernel.window.rows : kernel.rows();
      firstSlot = kernel.window == null || whole ? 0 : kernel.window.rows - slots;
      int c = input.channels;
      int rows = (kernel.right - kernel.left + 1) * slots * c;
      float[] dense =
          arrange(constant(weights), transposed, channel, n, slots, new float[rows * n]);
      long stride = kernel.window == null ? input.stride() : kernel.window.stride();
      try (DnnlDesc a = rows(input.type, rows, stride);
          DnnlDesc any = DnnlDesc.any(type(input.type), new long[] {rows, n});
          DnnlDesc b = bias == null ? null : DnnlDesc.dense(dnnl_f32(), 1, n);
          DnnlDesc y = rows(out.type, n, out.stride());
          DnnlAttributes attributes = new DnnlAttributes()) {
        if (accumulate) {
          attributes.accumulate();
        }
        matmul = owned.add(DnnlPrimitive.matmul(device.dnnl(), a, any, b, y, attributes));
        try (DnnlDesc layout = matmul.chosen(dnnl_query_weights_md())) {
          matmul.bind(DNNL_ARG_SRC_0(), a, input.segment(0).address());
          matmul.bind(
              DNNL_ARG_WEIGHTS_0(),
              layout,
              packed.address(key, device.dnnl(), dense, rows, n, layout));
          if (bias != null) {
            matmul.bind(DNNL_ARG_BIAS(), b, constant(bias).address() + 4L * channel);
          }
          matmul.bind(DNNL_ARG_DST_0(), y, out.segment(0).address());
          if (matmul.scratchpadBytes() > 0) {
            Tensor scratch =
                owned.add(
                    Tensor.allocate(device.parent(), DType.U8, (int) matmul.scratchpadBytes()));
            matmul.bindScratchpad(scratch.address());
          }
        }
      }
    }

    private DnnlDesc rows(DType type, int elements, long stride) {
      return DnnlDesc.strided(type(type), new long[] {images, elements}, new long[] {stride, 1});
    }

    /** The weights in the order in which a window's elements lie: column, row, channel. */
    private float[] arrange(
        Tensor w, boolean transposed, int channel, int n, int slots, float[] dense) {
      float[] values = w.toFloats();
      int c = w.shape().dim(1);
      int k = w.shape().dim(2);
      int inputs = transposed ? k : c;
      for (int t = 0; t < kernel.taps.size(); t++) {
        Taps.Tap tap = kernel.taps.get(t);
        int cell = ((tap.dx() - kernel.left) * slots + slots - 1 + tap.dy()) * inputs;
        for (int i = 0; i < inputs; i++) {
          for (int o = 0; o < n; o++) {
            dense[(cell + i) * n + o] =
                transposed
                    ? values[(kernel.cells[t] * c + channel + o) * k + i]
                    : values[(kernel.cells[t] * c + i) * k + channel + o];
          }
        }
      }
      return dense;
    }

    void execute(int inRow, int inColumn, int row, int column) {
      MemorySegment from;
      long offset;
      if (kernel.window == null) {
        from = input.segment(inRow);
        offset = input.offset(inColumn);
      } else {
        from = kernel.window.plane(inRow);
        offset = kernel.window.offset(inColumn + kernel.left, firstSlot);
      }
      matmul.rebind(DNNL_ARG_SRC_0(), from.address() + offset * bytes);
      matmul.rebind(
          DNNL_ARG_DST_0(), out.segment(row).address() + (out.offset(column) + channel) * outBytes);
      matmul.execute();
    }
  }

  private static int type(DType type) {
    return type == DType.BF16 ? dnnl_bf16() : dnnl_f32();
  }

  @Override
  public void close() {
    device.submit(() -> {
      owned.close();
      return null;
    });
  }
}
