package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Owned;
import dev.gatun.ffi.CudaGraph;
import dev.gatun.ffi.CudaStream;
import java.util.List;

/** A list of launches, replayed with one call. */
final class GraphLaunch extends CudaLaunch {
  private final CudaGraph graph;
  private final List<Launch> parts;
  private final boolean waits;

  GraphLaunch(
      CudaDevice device,
      String description,
      List<Buffer> buffers,
      CudaGraph graph,
      List<Launch> parts,
      boolean waits) {
    super(device, description, buffers);
    this.graph = graph;
    this.parts = parts;
    this.waits = waits;
  }

  @Override
  void enqueue(CudaStream stream) {
    graph.launch(stream);
  }

  @Override
  boolean waits() {
    return waits;
  }

  @Override
  void release(boolean usable) {
    try (Owned all = new Owned()) {
      parts.reversed().forEach(all::add);
      if (usable) {
        all.add(graph);
      }
    }
  }
}
