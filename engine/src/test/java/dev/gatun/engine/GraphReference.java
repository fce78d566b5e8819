package dev.gatun.engine;

import dev.gatun.engine.contract.Reference;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.WeightNorm;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Predicate;

/** Evaluates the values of a graph in f64, plainly, through {@link Reference}; no device runs. */
public final class GraphReference {
  private final Map<Value, double[]> bound = new IdentityHashMap<>();
  private final Map<Tensor, double[]> contents = new IdentityHashMap<>();
  private Random chance; // null for exact results

  /** Gives a bound value elements of its own, in place of what its tensor holds. */
  public GraphReference set(Value value, double... elements) {
    if (elements.length != value.shape().elements()) {
      throw new IllegalArgumentException(elements.length + " elements for " + value);
    }
    bound.put(value, elements);
    return this;
  }

  /** The elements of a value, f64 throughout. */
  public double[] evaluate(Value value) {
    return evaluate(value, new HashMap<>());
  }

  /** The elements of several values; null for null. */
  public List<double[]> evaluate(List<Value> values) {
    Map<Graph.Node, List<double[]>> done = new HashMap<>();
    List<double[]> all = new ArrayList<>();
    values.forEach(value -> all.add(value == null ? null : evaluate(value, done)));
    return all;
  }

  /**
   * The elements of a value on a device that is off at every element of every op by all that the
   * contract allows, up or down as chance will have it: how far rounding may lead a result astray.
   */
  public double[] astray(Value value, Random random) {
    chance = random;
    try {
      return evaluate(value);
    } finally {
      chance = null;
    }
  }

  /** The nodes that a value is computed by. */
  private static Set<Graph.Node> nodes(Value value) {
    Set<Graph.Node> found = new LinkedHashSet<>();
    List<Value> open = new ArrayList<>(List.of(value));
    while (!open.isEmpty()) {
      Graph.Node node = open.removeLast().producer;
      if (node != null && found.add(node)) {
        open.addAll(node.inputs());
      }
    }
    return found;
  }

  /** What ops of a kind return on the way to a value. */
  public static List<Value> outputs(Predicate<Op> kind, Value value) {
    return nodes(value).stream()
        .filter(node -> kind.test(node.op()))
        .map(node -> node.outputs().getFirst())
        .toList();
  }

  /** By its bias, what each convolution on the way to a value returns, without an addend. */
  public Map<Value, double[]> convolved(Value value) {
    Map<Value, double[]> all = new IdentityHashMap<>();
    Map<Graph.Node, List<double[]>> done = new HashMap<>();
    for (Graph.Node node : nodes(value)) {
      boolean transposed = node.op() instanceof AddBias && node.inputs().size() == 2;
      if (transposed || node.op() instanceof Conv2d) {
        double[] y = evaluate(node.outputs().getFirst(), done).clone();
        if (node.inputs().size() == 4) {
          double[] addend = evaluate(node.inputs().get(3), done);
          Arrays.setAll(y, i -> y[i] - addend[i]);
        }
        all.put(node.inputs().get(transposed ? 1 : 2), y);
      }
    }
    return all;
  }

  private double[] off(Graph.Node node, int output, Reference.Result result) {
    if (chance == null) {
      return result.value();
    }
    DType type = node.outputs().get(output).spec().dtype();
    double unit = type == DType.BF16 ? 0x1p-8 : 0x1p-24;
    double gamma = terms(node) * 0x1p-24;
    double[] values = result.value().clone();
    for (int i = 0; i < values.length; i++) {
      double error = gamma * result.magnitude()[i] + unit * Math.abs(values[i]);
      values[i] += chance.nextBoolean() ? error : -error;
    }
    return values;
  }

  /** Terms of an element: those of a convolution's sum, or a handful. */
  private static int terms(Graph.Node node) {
    int few = 16;
    return switch (node.op()) {
      case Conv2d conv -> few + terms(node.inputs().get(1));
      case Conv2dBackwardData conv -> few + terms(node.inputs().getFirst());
      case WeightNorm norm -> few + terms(node.inputs().getFirst());
      default -> few;
    };
  }

  private static int terms(Value weights) {
    Shape shape = weights.shape();
    return shape.dim(0) * Math.max(shape.dim(1), shape.dim(2));
  }

  private double[] evaluate(Value value, Map<Graph.Node, List<double[]>> done) {
    if (value.producer == null) {
      double[] given = bound.get(value);
      return given != null ? given : contents.computeIfAbsent(value.storage, Tensor::toDoubles);
    }
    Graph.Node node = value.producer;
    List<double[]> outputs = done.get(node);
    if (outputs == null) {
      List<double[]> inputs = new ArrayList<>();
      for (Value input : node.inputs()) {
        inputs.add(evaluate(input, done));
      }
      List<Reference.Result> results =
          Reference.run(node.op(), node.inputs().stream().map(Value::spec).toList(), inputs);
      outputs = new ArrayList<>();
      for (int i = 0; i < results.size(); i++) {
        outputs.add(off(node, i, results.get(i)));
      }
      done.put(node, outputs);
    }
    return outputs.get(node.outputs().indexOf(value));
  }

  /**
   * The largest difference between a gradient and the central difference of a one-element loss, as
   * a share of the largest element of either; 0 is perfect. Both for {@code value}, which is bound.
   *
   * @param step of the difference, relative to each element or absolute where that is below 1
   */
  public double gradientError(
      Value loss, Value value, double[] at, double[] gradient, double step) {
    double worst = 0;
    double size = 1e-9;
    for (int i = 0; i < at.length; i++) {
      double h = step * Math.max(1, Math.abs(at[i]));
      double[] moved = at.clone();
      moved[i] = at[i] + h;
      double up = set(value, moved).evaluate(loss)[0];
      moved = at.clone();
      moved[i] = at[i] - h;
      double down = set(value, moved).evaluate(loss)[0];
      double slope = (up - down) / (2 * h);
      worst = Math.max(worst, Math.abs(slope - gradient[i]));
      if (Double.isNaN(slope - gradient[i])) {
        return Double.NaN;
      }
      size = Math.max(size, Math.max(Math.abs(slope), Math.abs(gradient[i])));
    }
    set(value, at);
    return worst / size;
  }
}
