package dev.gatun.engine;

import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * When to compute what of an autoregressive network, so that each value of each pixel is computed
 * once while its image is being drawn.
 *
 * <p>Time counts passes: pixel p in raster order has times p * passes to p * passes + passes - 1,
 * one for each group of colours that is drawn before the next. A value's position is computed when
 * the first output that needs it is: either a whole row at once, where all of it depends on rows
 * that are complete by then (a vertical stack), or pixel by pixel. Values that do not depend on the
 * image (masked or normalized weights) are computed once.
 *
 * <p>This also proves that the network is autoregressive: an output that depended on a pixel drawn
 * later, or on itself, would have no time at which it could be computed.
 */
public final class CausalPlan {
  /** An op on image-dependent values. */
  public record Unit(Op op, List<Value> inputs, Value output, boolean byRows, int groups) {}

  /**
   * One computation.
   *
   * @param column -1 for the whole row
   * @param group of channels, of {@link Unit#groups}
   */
  public record Step(Unit unit, int row, int column, int group) {}

  private static final int NEVER = Integer.MAX_VALUE;

  private final Value image;
  private final Value output;
  private final int passes;
  private final List<Unit> units = new ArrayList<>();
  private final List<Value> constants = new ArrayList<>();
  private final List<List<Step>> steps = new ArrayList<>();

  // of each image-dependent value, by (position, group): the last time whose draw it depends on,
  // and
  // the time it is computed at
  private final Map<Value, int[]> latest = new IdentityHashMap<>();
  private final Map<Value, int[]> due = new IdentityHashMap<>();
  private final Map<Value, Integer> groups = new IdentityHashMap<>();

  /**
   * Plans the computation of {@code output} from {@code image}.
   *
   * @param image [N,H,W,C] u8
   * @param output [N,H,W,P]
   * @param passes 1, or C where the colours are drawn one after another
   * @throws IllegalArgumentException if the network is not autoregressive, or has an op that cannot
   *     be computed pixel by pixel
   */
  public CausalPlan(Value image, Value output, int passes) {
    this.image = image;
    this.output = output;
    this.passes = passes;
    require(
        image.shape().rank() == 4 && image.dtype() == DType.U8,
        "the image must be [N,H,W,C] u8, is " + image);
    int colours = image.shape().dim(3);
    require(
        output.shape().rank() == 4 && output.shape().withLast(colours).equals(image.shape()),
        "the output must be [N,H,W,P] of the image's N, H, W, is " + output);
    require(
        passes == 1 || passes == colours,
        "an image of "
            + colours
            + " colours is drawn in 1 pass or in "
            + colours
            + ", not in "
            + passes);
    Set<Value> dependent = Collections.newSetFromMap(new IdentityHashMap<>());
    collect(output, dependent, Collections.newSetFromMap(new IdentityHashMap<>()));
    require(dependent.contains(output), "the output does not depend on the image");
    List<Graph.Node> nodes = order(dependent);
    groups.put(image, passes);
    latest.put(image, imageTimes());
    for (Graph.Node node : nodes) {
      analyse(node, dependent);
    }
    Set<Graph.Node> rows = Collections.newSetFromMap(new IdentityHashMap<>());
    rows.addAll(nodes);
    // a row can only be made of rows, or of the image
    for (int before = -1; before != rows.size(); ) {
      before = rows.size();
      schedule(nodes, rows);
    }
    emit(nodes, rows);
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }

  /** The ops on image-dependent values, each after those it needs. */
  public List<Unit> units() {
    return Collections.unmodifiableList(units);
  }

  /** Values that are computed once, before the first pixel. */
  public List<Value> constants() {
    return Collections.unmodifiableList(constants);
  }

  /** What to compute before the draw of a pass: in this order. */
  public List<Step> steps(int time) {
    return Collections.unmodifiableList(steps.get(time));
  }

  public int passes() {
    return passes;
  }

  public Value image() {
    return image;
  }

  public Value output() {
    return output;
  }

  /**
   * Checks the labels that images are to be drawn for.
   *
   * @throws IllegalArgumentException in one line if a table of the network has no row for one
   */
  public void requireLabels(byte[] labels) {
    for (Unit unit : units) {
      if (unit.op() instanceof AddBias && unit.inputs().size() > 2) {
        int rows = unit.inputs().get(1).shape().dim(0);
        for (int image = 0; image < labels.length; image++) {
          int label = Byte.toUnsignedInt(labels[image]);
          if (label >= rows) {
            throw new IllegalArgumentException(
                "add_bias: label %d of image %d, but the table has %d rows"
                    .formatted(label, image, rows));
          }
        }
      }
    }
  }

  /** Into how many groups, by colour, a value's channels are divided. */
  public int groups(Value value) {
    return groups.get(value);
  }

  /** Whether a value depends on the image. */
  public boolean isDependent(Value value) {
    return latest.containsKey(value);
  }

  // ------------------------------------------------------------------ what there is

  private boolean collect(Value value, Set<Value> dependent, Set<Value> seen) {
    if (value == image) {
      dependent.add(value);
    }
    if (value.producer != null && seen.add(value)) {
      boolean any = false;
      for (Value input : value.producer.inputs()) {
        any |= collect(input, dependent, seen);
      }
      if (any) {
        dependent.add(value);
        for (Value input : value.producer.inputs()) {
          if (!dependent.contains(input) && input.producer != null && !constants.contains(input)) {
            constants.add(input);
          }
        }
      }
    }
    return dependent.contains(value);
  }

  private List<Graph.Node> order(Set<Value> dependent) {
    List<Graph.Node> nodes = new ArrayList<>();
    for (Value value : dependent) {
      if (value.producer != null) {
        nodes.add(value.producer);
      }
    }
    // outputs are numbered in the order in which ops were applied
    nodes.sort((a, b) -> Integer.compare(a.outputs().getFirst().id, b.outputs().getFirst().id));
    return nodes;
  }

  private int[] imageTimes() {
    int[] times = new int[positions(image) * passes];
    for (int i = 0; i < times.length; i++) {
      times[i] = i;
    }
    return times;
  }

  private static int positions(Value v) {
    return v.shape().dim(1) * v.shape().dim(2);
  }

  private static int width(Value v) {
    return v.shape().dim(2);
  }

  // ------------------------------------------------------------------ what needs what

  /** A place that an output position reads. */
  private interface Visit {
    /** Group {@code from} to {@code to - 1} of the input at a position. */
    void at(Value input, int position, int from, int to);
  }

  /** Visits everything that a group of an output position is computed from. */
  private void visit(Graph.Node node, int row, int column, int group, Visit visit) {
    for (int i = 0; i < node.inputs().size(); i++) {
      Value input = node.inputs().get(i);
      if (latest.containsKey(input)) {
        visitInput(node, i, row, column, group, visit);
      }
    }
  }

  private void visitInput(Graph.Node node, int index, int row, int column, int group, Visit visit) {
    Value input = node.inputs().get(index);
    int h = input.shape().dim(1);
    int w = input.shape().dim(2);
    int all = groups.get(input);
    int own = groups.get(node.outputs().getFirst());
    switch (node.op()) {
      case Conv2d conv when index == 0 -> {
        MaskChannels mask = mask(node);
        List<Taps.Tap> taps = conv.taps().list();
        for (int t = 0; t < taps.size(); t++) {
          int r = row * conv.strideH() + taps.get(t).dy();
          int c = column * conv.strideW() + taps.get(t).dx();
          if (r >= 0 && r < h && c >= 0 && c < w) {
            boolean centre = mask != null && t == mask.centre() && all > 1;
            visit.at(input, r * w + c, 0, centre ? group + (mask.strict() ? 0 : 1) : all);
          }
        }
      }
      case Conv2dBackwardData conv when index == 1 -> {
        Conv2d forward = conv.forward();
        for (Taps.Tap tap : forward.taps().list()) {
          int r = row - tap.dy();
          int c = column - tap.dx();
          if (r % forward.strideH() == 0 && c % forward.strideW() == 0) {
            r /= forward.strideH();
            c /= forward.strideW();
            if (r >= 0 && r < h && c >= 0 && c < w) {
              visit.at(input, r * w + c, 0, all);
            }
          }
        }
      }
      case Shift shift -> {
        int r = row - shift.rows();
        int c = column - shift.columns();
        if (r >= 0 && r < h && c >= 0 && c < w) {
          visit.at(input, r * w + c, 0, all);
        }
      }
      default -> {
        boolean matched = all == own && all > 1;
        visit.at(input, row * w + column, matched ? group : 0, matched ? group + 1 : all);
      }
    }
  }

  private static MaskChannels mask(Graph.Node node) {
    Graph.Node producer = node.inputs().get(1).producer;
    return producer != null && producer.op() instanceof MaskChannels mask ? mask : null;
  }

  private int groupsOf(Graph.Node node, Set<Value> dependent) {
    return switch (node.op()) {
      case Conv2d conv -> {
        MaskChannels mask = mask(node);
        yield mask != null && passes > 1 && mask.colours() == passes ? passes : 1;
      }
      case Conv2dBackwardData conv -> 1;
      case Shift shift -> 1;
      case ConcatElu elu -> 1;
      case NormalizePixels normalize -> passes;
      case Gate gate -> gate.groups() == passes ? most(node, dependent) : 1;
      case Relu relu -> most(node, dependent);
      case Elu elu -> most(node, dependent);
      case Add add -> most(node, dependent);
      case AddBias bias -> most(node, dependent);
      default ->
          throw new IllegalArgumentException(
              node.op().name() + " cannot be computed pixel by pixel");
    };
  }

  /** As its inputs have; but pixels with their channel of ones do not divide by colour. */
  private int most(Graph.Node node, Set<Value> dependent) {
    int most =
        node.inputs().stream().filter(dependent::contains).mapToInt(groups::get).max().orElse(1);
    return node.outputs().getFirst().shape().dim(3) % most == 0 ? most : 1;
  }

  private void analyse(Graph.Node node, Set<Value> dependent) {
    Value out = node.outputs().getFirst();
    int own = groupsOf(node, dependent);
    for (Value input : node.inputs()) {
      require(
          input.shape().rank() < 4 || dependent.contains(input),
          node.op().name() + " reads " + input + ", which does not depend on the image");
    }
    boolean conv = node.op() instanceof Conv2d || node.op() instanceof Conv2dBackwardData;
    Shape last = node.inputs().getLast().shape();
    require(
        !conv || node.inputs().size() < 3 || last.rank() < 4 || last.equals(out.shape()),
        node.op().name() + " adds the same to all pixels, which cannot be known pixel by pixel");
    groups.put(out, own);
    int[] times = new int[positions(out) * own];
    Arrays.fill(times, -1);
    for (int p = 0; p < positions(out); p++) {
      for (int g = 0; g < own; g++) {
        int at = p * own + g;
        visit(
            node,
            p / width(out),
            p % width(out),
            g,
            (input, position, from, to) -> {
              int[] theirs = latest.get(input);
              int all = groups.get(input);
              for (int k = from; k < to; k++) {
                times[at] = Math.max(times[at], theirs[position * all + k]);
              }
            });
      }
    }
    latest.put(out, times);
  }

  // ------------------------------------------------------------------ when

  /** Sets the times, last op first, and takes from {@code rows} what cannot be done by rows. */
  private void schedule(List<Graph.Node> nodes, Set<Graph.Node> rows) {
    due.clear();
    latest.forEach((value, times) -> due.put(value, filled(times.length)));
    int[] wanted = due.get(output);
    int own = groups.get(output);
    for (int i = 0; i < wanted.length; i++) {
      wanted[i] = own == passes ? i : i * passes;
    }
    for (Graph.Node node : nodes.reversed()) {
      Value out = node.outputs().getFirst();
      int count = groups.get(out);
      int[] times = due.get(out);
      if (rows.contains(node) && !joinRows(out)) {
        rows.remove(node);
      }
      for (int p = 0; p < positions(out); p++) {
        for (int g = 0; g < count; g++) {
          int time = times[p * count + g];
          if (time == NEVER) {
            continue;
          }
          if (latest.get(out)[p * count + g] >= time) {
            throw new IllegalArgumentException(
                "not autoregressive: "
                    + node.op().name()
                    + " "
                    + out
                    + " at row "
                    + p / width(out)
                    + ", column "
                    + p % width(out)
                    + " depends on pixel "
                    + latest.get(out)[p * count + g] / passes
                    + " and is needed to draw pixel "
                    + time / passes);
          }
          visit(
              node,
              p / width(out),
              p % width(out),
              g,
              (input, position, from, to) -> {
                int[] theirs = due.get(input);
                int all = groups.get(input);
                for (int k = from; k < to; k++) {
                  theirs[position * all + k] = Math.min(theirs[position * all + k], time);
                }
              });
        }
      }
    }
    Set<Value> byRows = Collections.newSetFromMap(new IdentityHashMap<>());
    byRows.add(image);
    for (Graph.Node node : nodes) {
      if (rows.contains(node)) {
        boolean whole =
            node.inputs().stream().filter(latest::containsKey).allMatch(byRows::contains);
        if (whole) {
          byRows.add(node.outputs().getFirst());
        } else {
          rows.remove(node);
        }
      }
    }
  }

  private static int[] filled(int n) {
    int[] times = new int[n];
    Arrays.fill(times, NEVER);
    return times;
  }

  /** Moves the times of each row to its earliest, if the row can be computed by then. */
  private boolean joinRows(Value v) {
    int[] times = due.get(v);
    int[] known = latest.get(v);
    int w = width(v) * groups.get(v);
    int[] joined = times.clone();
    for (int first = 0; first < times.length; first += w) {
      int earliest = NEVER;
      int last = -1;
      for (int i = first; i < first + w; i++) {
        earliest = Math.min(earliest, times[i]);
        last = Math.max(last, known[i]);
      }
      if (last >= earliest) {
        return false;
      }
      Arrays.fill(joined, first, first + w, earliest);
    }
    System.arraycopy(joined, 0, times, 0, times.length);
    return true;
  }

  private void emit(List<Graph.Node> nodes, Set<Graph.Node> rows) {
    for (int t = 0; t < positions(image) * passes; t++) {
      steps.add(new ArrayList<>());
    }
    Map<Graph.Node, Unit> made = new HashMap<>();
    for (Graph.Node node : nodes) {
      Value out = node.outputs().getFirst();
      int count = groups.get(out);
      Unit unit = new Unit(node.op(), node.inputs(), out, rows.contains(node), count);
      made.put(node, unit);
      units.add(unit);
      int[] times = due.get(out);
      int w = width(out);
      for (int i = 0; i < times.length; i++) {
        if (times[i] != NEVER && (!unit.byRows || i % (w * count) == 0)) {
          int p = i / count;
          steps
              .get(times[i])
              .add(new Step(unit, p / w, unit.byRows ? -1 : p % w, unit.byRows ? 0 : i % count));
        }
      }
    }
  }
}
