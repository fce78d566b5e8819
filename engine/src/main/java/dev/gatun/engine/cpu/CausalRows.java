package dev.gatun.engine.cpu;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.IntSummaryStatistics;
import java.util.List;
import java.util.Map;

/** What a lane runs for a whole row of a value: launches on tensors of one row, as in training. */
final class CausalRows {
  private final CausalLane lane;
  private final CpuDevice device;
  private final Map<Value, CausalPlace> places;
  private final int images;
  private final int height;
  private final int width;
  private final int colours;
  private final MemorySegment imageBytes;

  CausalRows(CausalLane lane) {
    this.lane = lane;
    device = lane.device;
    places = lane.places;
    images = lane.images;
    height = lane.height;
    width = lane.width;
    colours = lane.colours;
    imageBytes = lane.imageBytes;
  }

  CausalRunner runner(CausalPlan.Unit unit) {
    CausalPlace out = places.get(unit.output());
    CausalRunner compute =
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
          case NormalizePixels op when unit.inputs().getFirst() == lane.plan.image() -> {
            Tensor rowOfImage =
                lane.owned.add(Tensor.allocate(device, DType.U8, images, 1, width, colours));
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
    return new CausalRunner() {
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
            v == lane.labelsValue
                ? lane.labels
                : lane.plan.isDependent(v) ? places.get(v).latest() : lane.constant(v))
        .toList();
  }

  private Launch launch(Op op, List<Tensor> inputs, Tensor output) {
    return lane.owned.add(device.prepare(op, inputs, List.of(output)));
  }

  /** The taps' rows lie below each other in a tensor of as many rows: one stride covers them. */
  private CausalRunner rowConvolution(CausalPlan.Unit unit, Conv2d conv, CausalPlace out) {
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
  static IntSummaryStatistics reach(Conv2d conv, Value input) {
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

  private static CausalRunner library(Launch launch) {
    return new CausalRunner() {
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
  private CausalRunner rowTransposed(CausalPlan.Unit unit, Conv2dBackwardData op, CausalPlace out) {
    Conv2d forward = op.forward();
    Tensor w = lane.constant(unit.inputs().get(0));
    List<Tensor> rest = rowInputs(unit).subList(1, unit.inputs().size());
    Shape shape = out.latest().shape();
    CausalRunner[] phases = new CausalRunner[forward.strideH()];
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
          lane.owned.add(
              Tensor.allocate(
                  device,
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
    return new CausalRunner() {
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
}
