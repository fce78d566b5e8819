package dev.gatun.engine;

import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** Puts one op in the place of two where a device has it: a pass over memory less. */
final class Fusion {
  private final Device device;
  private final Set<Value> kept = Collections.newSetFromMap(new IdentityHashMap<>());
  private final Map<Value, List<Integer>> readers = new HashMap<>(); // by value, the nodes' places

  private Fusion(Device device, Value... keep) {
    this.device = device;
    kept.addAll(Arrays.asList(keep));
  }

  /** The nodes, in order, those that were fused away left out. */
  static List<Graph.Node> apply(Device device, List<Graph.Node> nodes, Value... keep) {
    return new Fusion(device, keep).fused(nodes);
  }

  private List<Graph.Node> fused(List<Graph.Node> nodes) {
    Map<Graph.Node, Integer> places = new IdentityHashMap<>();
    for (int i = 0; i < nodes.size(); i++) {
      places.put(nodes.get(i), i);
      for (Value input : nodes.get(i).inputs()) {
        readers.computeIfAbsent(input, v -> new ArrayList<>()).add(i);
      }
    }
    Graph.Node[] all = nodes.toArray(Graph.Node[]::new);
    for (int i = 0; i < all.length; i++) {
      Graph.Node unit = all[i];
      if (Conv2dUnit.isUnit(unit.op())) {
        Graph.Node conv = unit.inputs().getFirst().producer;
        Integer at = conv == null ? null : places.get(conv);
        // a convolution that another unit has already is not there any more
        if (at != null && all[at] == conv && !writes(all, at + 1, i + 1)) {
          Graph.Node one = fuse(conv, unit, i);
          if (one != null) {
            all[at] = null;
            all[i] = one;
          }
        }
      }
    }
    return Arrays.stream(all).filter(Objects::nonNull).toList();
  }

  /** Whether a node of [from, to) changes memory that outlives a run: a parameter, say. */
  private static boolean writes(Graph.Node[] all, int from, int to) {
    return Arrays.stream(all, from, to)
        .filter(Objects::nonNull)
        .anyMatch(node ->
            !node.op().mutates().isEmpty()
                || node.outputs().stream().anyMatch(v -> v.storage != null));
  }

  /** Both in the unit's place, or null where that cannot be or is no gain. */
  private Graph.Node fuse(Graph.Node conv, Graph.Node unit, int place) {
    Value sums = unit.inputs().getFirst();
    if (!(conv.op() instanceof Conv2d op)
        || sums.storage != null
        || readers.get(sums).getFirst() != place
        || Collections.frequency(unit.inputs(), sums) > 1) {
      return null;
    }
    boolean keeps = readers.get(sums).size() > 1 || kept.contains(sums);
    boolean residual = unit.inputs().size() > 1;
    Conv2dUnit both = new Conv2dUnit(op, unit.op(), residual, keeps);
    List<Value> inputs = new ArrayList<>(conv.inputs());
    if (residual) {
      inputs.add(unit.inputs().get(1));
    }
    if (!device.fuses(both, inputs.stream().map(Value::spec).toList())) {
      return null;
    }
    List<Value> outputs = new ArrayList<>(unit.outputs());
    if (keeps) {
      outputs.add(sums);
    }
    return new Graph.Node(both, inputs, outputs);
  }
}
