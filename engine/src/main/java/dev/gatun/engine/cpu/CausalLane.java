package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Shift;
import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * One thread's share of a {@link CpuCausal}: its images, their caches, and what to run for each
 * pixel.
 */
final class CausalLane implements AutoCloseable {
  private final int index;
  final CpuDevice device;
  final CausalPlan plan;
  private final Map<Value, Tensor> constants;
  final PackedWeights packed;
  final Owned owned = new Owned();
  final Map<Value, CausalPlace> places = new IdentityHashMap<>();
  private final Map<CausalPlan.Unit, List<PixelKernel>> kernels = new IdentityHashMap<>();
  final int images;
  final int height;
  final int width;
  final int colours;
  private final Tensor image; // (N, H, W, C) u8
  final MemorySegment imageBytes;
  final Value labelsValue;
  final Tensor labels; // (N) u8
  private final CausalRunner[][] runners; // by time
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
      image = owned.add(Tensor.allocate(device, plan.image().spec()));
      imageBytes = device.segment(image);
      this.labels = owned.add(Tensor.allocate(device, DType.U8, images));
      Map<CausalPlan.Unit, CausalRunner> made = new IdentityHashMap<>();
      device.submit(() -> {
        build(made);
        return null;
      });
      int times = height * width * plan.passes();
      runners = new CausalRunner[times][];
      arguments = new int[times][];
      for (int t = 0; t < times; t++) {
        List<CausalPlan.Step> steps = plan.steps(t);
        runners[t] = new CausalRunner[steps.size()];
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
      plan.requireLabels(ownLabels);
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
    CausalRunner[] now = runners[time];
    int[] at = arguments[time];
    for (int i = 0; i < now.length; i++) {
      now[i].run(at[3 * i], at[3 * i + 1], at[3 * i + 2]);
    }
  }

  void runBare() {
    device.submit(() -> {
      for (int t = 0; t < runners.length; t++) {
        CausalRunner[] now = runners[t];
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

  private void build(Map<CausalPlan.Unit, CausalRunner> made) {
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
    CausalRows rows = new CausalRows(this);
    CausalPixels pixels = new CausalPixels(this);
    for (CausalPlan.Unit unit : plan.units()) {
      made.put(unit, unit.byRows() ? rows.runner(unit) : pixels.runner(unit));
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
        row += CausalRows.reach(conv, input).getMax();
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
  Tensor constant(Value value) {
    Tensor tensor = constants.get(value);
    return tensor == null ? value.bound() : tensor;
  }

  /** How an output pixel's convolution reads its input. */
  List<PixelKernel> kernels(CausalPlan.Unit unit) {
    return kernels.computeIfAbsent(unit, PixelKernel::of);
  }

  @Override
  public void close() {
    device.submit(() -> {
      owned.close();
      return null;
    });
  }
}
