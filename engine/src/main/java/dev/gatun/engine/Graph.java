package dev.gatun.engine;

import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Fill;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A recording of ops in the order they were applied, with reverse-mode differentiation over them.
 * Nothing runs until {@link #compile} has given every value its memory.
 *
 * <p>Not thread-safe: one thread builds a graph.
 */
public final class Graph {
  record Node(Op op, List<Value> inputs, List<Value> outputs) {}

  private final List<Node> nodes = new ArrayList<>();
  private int values;

  /**
   * Makes a tensor that lives outside the graph usable inside it; its memory is read at each run.
   */
  public Value bind(Tensor tensor) {
    return new Value(this, values++, tensor.spec(), null, tensor);
  }

  /**
   * Applies an op.
   *
   * @throws ShapeException if the inputs do not fit the op
   */
  public List<Value> apply(Op op, List<Value> inputs) {
    inputs.forEach(input -> requireOwn(input, op.name()));
    List<TensorSpec> specs = op.check(inputs.stream().map(Value::spec).toList());
    List<Value> outputs = new ArrayList<>();
    Node node = new Node(op, List.copyOf(inputs), outputs);
    for (TensorSpec spec : specs) {
      outputs.add(new Value(this, values++, spec, node, null));
    }
    nodes.add(node);
    return Collections.unmodifiableList(outputs);
  }

  private void requireOwn(Value value, String what) {
    if (value.graph != this) {
      throw new IllegalArgumentException(what + ": " + value + " is of another graph");
    }
  }

  /** Applies an op and returns its first output. */
  public Value apply(Op op, Value... inputs) {
    return apply(op, Arrays.asList(inputs)).getFirst();
  }

  /**
   * Has a value computed straight into a tensor outside the graph.
   *
   * @throws ShapeException if shapes or dtypes differ
   */
  public void store(Value value, Tensor target) {
    requireOwn(value, "store");
    if (!value.spec.equals(target.spec())) {
      throw new ShapeException("cannot store " + value + " in a tensor " + target.spec());
    }
    if (value.storage != null) {
      throw new IllegalArgumentException(value + " already has memory of its own");
    }
    value.storage = target;
  }

  /**
   * Reverse-mode gradients of a one-element value.
   *
   * @return a value for each of {@code wrt}, of its shape; null where {@code loss} does not depend
   *     on it
   */
  public List<Value> gradients(Value loss, List<Value> wrt) {
    return gradients(loss, wrt, 1);
  }

  /** As {@link #gradients(Value, List)}, times {@code share}. */
  public List<Value> gradients(Value loss, List<Value> wrt, float share) {
    requireOwn(loss, "gradients");
    wrt.forEach(value -> requireOwn(value, "gradients"));
    if (loss.shape().elements() != 1) {
      throw new ShapeException("gradients need a one-element loss, this is " + loss);
    }
    Set<Value> needed = Collections.newSetFromMap(new IdentityHashMap<>());
    needed.addAll(wrt);
    for (Node node : nodes) {
      if (node.inputs.stream().anyMatch(needed::contains)) {
        // whole numbers, such as indices, have no slope
        node.outputs.stream().filter(v -> isActivation(v.dtype())).forEach(needed::add);
      }
    }
    Map<Value, Value> gradients = new IdentityHashMap<>();
    gradients.put(loss, apply(new Fill(loss.spec, share)));
    List<Node> forward = List.copyOf(nodes.subList(0, nodes.size() - 1));
    for (Node node : forward.reversed()) {
      boolean reached = node.outputs.stream().anyMatch(gradients::containsKey);
      if (!reached || node.inputs.stream().noneMatch(needed::contains)) {
        continue;
      }
      List<Value> outer = new ArrayList<>();
      node.outputs.forEach(output -> outer.add(gradients.get(output)));
      int before = nodes.size();
      List<Value> inner = node.op.backward(this, node.inputs, node.outputs, outer);
      for (int i = 0; i < node.inputs.size(); i++) {
        Value input = node.inputs.get(i);
        Value gradient = inner.get(i);
        if (gradient != null && needed.contains(input)) {
          boolean own = Collections.frequency(inner, gradient) == 1;
          gradients.merge(input, gradient, (a, b) -> sum(a, b, own ? before : nodes.size()));
        }
      }
    }
    List<Value> result = new ArrayList<>();
    wrt.forEach(value -> result.add(gradients.get(value)));
    return result;
  }

  private static boolean isActivation(DType type) {
    return type == DType.F32 || type == DType.BF16;
  }

  /**
   * a + b; where b was made by one of the nodes from {@code from} on, for this sum alone, by an op
   * that can take a along.
   */
  private Value sum(Value a, Value b, int from) {
    Node made = b.producer;
    boolean fresh =
        made != null
            && nodes.indexOf(made) >= from
            && nodes.stream().noneMatch(node -> node.inputs.contains(b));
    if (!fresh || !made.op.accumulates()) {
      return apply(new Add(), a, b);
    }
    nodes.remove(made);
    List<Value> inputs = new ArrayList<>(made.inputs);
    inputs.add(a);
    return apply(made.op, inputs).getFirst();
  }

  /**
   * Plans memory and prepares every launch that a kept value, a stored value or an in-place update
   * needs; the rest is dropped.
   *
   * @param keep values whose content can be read after a run, through {@link Program#tensor}
   * @throws IllegalArgumentException if a value is of another graph
   * @throws UnsupportedOpException if the device lacks one of the ops
   * @throws OutOfMemoryException if the plan does not fit
   */
  public Program compile(Device device, Value... keep) {
    for (Value value : keep) {
      requireOwn(value, "compile");
    }
    List<Node> live =
        Fusion.apply(device, liveNodes(keep), keep).stream()
            .filter(node -> node.outputs.stream().noneMatch(Value::isAlias))
            .toList();
    Map<Value, Integer> lastUse = new HashMap<>(); // of memory, by whatever name
    for (int i = 0; i < live.size(); i++) {
      for (Value input : live.get(i).inputs) {
        lastUse.put(input.root(), i);
      }
    }
    for (Value value : keep) {
      lastUse.put(value.root(), Integer.MAX_VALUE);
    }
    MemoryPlan plan = new MemoryPlan();
    Map<Value, Long> offsets = new HashMap<>();
    for (int i = 0; i < live.size(); i++) {
      Node node = live.get(i);
      for (Value output : node.outputs) {
        if (output.storage == null) {
          offsets.put(output, plan.allocate(output.spec.sizeBytes()));
        }
      }
      Set<Value> touched = Collections.newSetFromMap(new IdentityHashMap<>());
      node.inputs.forEach(input -> touched.add(input.root()));
      touched.addAll(node.outputs);
      for (Value value : touched) {
        if (offsets.containsKey(value) && lastUse.getOrDefault(value, i) == i) {
          plan.free(offsets.get(value));
        }
      }
    }
    return Program.build(device, live, offsets, plan.totalBytes(), List.of(keep));
  }

  private List<Node> liveNodes(Value... keep) {
    Set<Node> wanted = Collections.newSetFromMap(new IdentityHashMap<>());
    Set<Value> kept = Collections.newSetFromMap(new IdentityHashMap<>());
    kept.addAll(Arrays.asList(keep));
    for (Node node : nodes.reversed()) {
      boolean root =
          !node.op.mutates().isEmpty()
              || node.outputs.stream().anyMatch(v -> v.storage != null || kept.contains(v));
      if (root || wanted.contains(node)) {
        wanted.add(node);
        for (Value input : node.inputs) {
          if (input.producer != null) {
            wanted.add(input.producer);
          }
        }
      }
    }
    return nodes.stream().filter(wanted::contains).toList();
  }
}
