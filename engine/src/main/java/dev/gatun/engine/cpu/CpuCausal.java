package dev.gatun.engine.cpu;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Together;
import dev.gatun.engine.Value;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * A {@link CausalPlan} on the CPU: a lane a core, each with its own thread, caches and oneDNN
 * stream; the weights, packed, are shared.
 */
final class CpuCausal implements CausalProgram {
  private final CausalPlan plan;
  private final List<CausalLane> lanes = new ArrayList<>();
  private final Owned owned = new Owned();

  CpuCausal(CpuDevice device, Graph graph, CausalPlan plan, Value labels, int count) {
    this.plan = plan;
    try {
      Map<Value, Tensor> constants = new IdentityHashMap<>();
      if (!plan.constants().isEmpty()) {
        Value[] values = plan.constants().toArray(Value[]::new);
        try (Program once = graph.compile(device, values)) {
          once.run();
          for (Value value : values) {
            constants.put(value, copy(device, once.tensor(value)));
          }
        }
      }
      PackedWeights packed = owned.add(new PackedWeights(device));
      for (int i = 0; i < count; i++) {
        CpuDevice laneDevice = owned.add(device.lane(1));
        lanes.add(owned.add(new CausalLane(i, laneDevice, plan, labels, constants, packed)));
      }
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /** In memory of its own, which is known not to change: a launch packs weights there once. */
  private Tensor copy(CpuDevice device, Tensor from) {
    Tensor to = owned.add(Tensor.allocate(device, from.spec()));
    byte[] bytes = new byte[(int) from.spec().sizeBytes()];
    from.read(MemorySegment.ofArray(bytes));
    return to.write(MemorySegment.ofArray(bytes));
  }

  @Override
  public int laneImages() {
    return plan.image().shape().dim(0);
  }

  @Override
  public int lanes() {
    return lanes.size();
  }

  @Override
  public void run(int count, byte[][] labels, Draw draw) {
    onLanes(count, lane -> lane.run(labels == null ? null : labels[lane.index()], draw));
  }

  @Override
  public double bareSeconds(int count) {
    long start = System.nanoTime();
    onLanes(count, CausalLane::runBare);
    return (System.nanoTime() - start) / 1e9;
  }

  private interface Task {
    void run(CausalLane lane);
  }

  private void onLanes(int count, Task task) {
    Together.run(
        lanes.subList(0, count).stream().map(lane -> (Runnable) () -> task.run(lane)).toList());
  }

  @Override
  public void close() {
    owned.close();
  }
}
