package dev.gatun.engine.cpu;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** The taps that make one output pixel: all of a convolution's, or a phase of a transposed one. */
final class PixelKernel {
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

  /** None, one, or where a convolution is transposed one for each phase of its stride. */
  static List<PixelKernel> of(CausalPlan.Unit unit) {
    return switch (unit.op()) {
      case Conv2d conv ->
          List.of(
              new PixelKernel(
                  unit.inputs().get(0),
                  conv.taps().list(),
                  IntStream.range(0, conv.taps().count()).toArray()));
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
}
