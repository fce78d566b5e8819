package dev.gatun.engine;

import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A compiled graph: a list of launches over fixed memory. A run allocates nothing; it reads what
 * the bound tensors hold at that moment.
 */
public final class Program implements AutoCloseable {
  private final Buffer arena;
  private final Launch recorded;
  private final Map<Value, Tensor> kept;
  private final List<Buffer> written;
  private final int launches;

  private Program(
      Buffer arena, Launch recorded, Map<Value, Tensor> kept, List<Buffer> written, int launches) {
    this.arena = arena;
    this.recorded = recorded;
    this.kept = kept;
    this.written = written;
    this.launches = launches;
  }

  static Program build(
      Device device,
      List<Graph.Node> nodes,
      Map<Value, Long> offsets,
      long arenaBytes,
      List<Value> keep) {
    Owned opened = new Owned();
    Buffer arena = opened.add(device.allocate(Math.max(1, arenaBytes)));
    arena.markScratch();
    List<Launch> launches = new ArrayList<>();
    Set<Buffer> allWritten = Collections.newSetFromMap(new IdentityHashMap<>());
    try {
      Map<Value, Tensor> memory = new IdentityHashMap<>();
      for (Graph.Node node : nodes) {
        List<Tensor> inputs =
            node.inputs().stream().map(v -> place(v, memory, offsets, arena)).toList();
        List<Tensor> outputs =
            node.outputs().stream().map(v -> place(v, memory, offsets, arena)).toList();
        Launch launch = device.prepare(node.op(), inputs, outputs);
        node.op().mutates().forEach(i -> allWritten.add(inputs.get(i).buffer()));
        node.outputs().stream()
            .filter(v -> v.storage != null)
            .forEach(v -> allWritten.add(v.storage.buffer()));
        launches.add(opened.add(launch));
      }
      Map<Value, Tensor> kept = new IdentityHashMap<>();
      keep.forEach(v -> kept.put(v, place(v, memory, offsets, arena)));
      return new Program(
          arena, device.record(launches), kept, List.copyOf(allWritten), launches.size());
    } catch (RuntimeException | Error e) {
      opened.close();
      throw e;
    }
  }

  private static Tensor place(
      Value value, Map<Value, Tensor> memory, Map<Value, Long> offsets, Buffer arena) {
    Tensor root =
        memory.computeIfAbsent(
            value.root(),
            v -> v.storage != null ? v.storage : Tensor.view(arena, offsets.get(v), v.spec));
    return value.isAlias() ? root.reshape(value.shape().toArray()) : root;
  }

  /** Runs every launch in order; the results are there when it returns. */
  public void run() {
    recorded.run();
    // again: a replayed CUDA graph does not run the Java side of its launches
    written.forEach(Buffer::touch);
  }

  /**
   * The memory of a value that was kept.
   *
   * @throws IllegalArgumentException if it was not
   */
  public Tensor tensor(Value value) {
    Tensor tensor = kept.get(value);
    if (tensor == null) {
      throw new IllegalArgumentException(value + " was not kept when the graph was compiled");
    }
    return tensor;
  }

  public int launches() {
    return launches;
  }

  /** Bytes of the one arena that all intermediate values share. */
  public long arenaBytes() {
    return arena.sizeBytes();
  }

  @Override
  public void close() {
    try (Owned all = new Owned()) {
      all.add(arena);
      all.add(recorded);
    }
  }
}
