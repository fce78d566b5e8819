package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.Launch;
import dev.gatun.ffi.CudaGraph;
import dev.gatun.ffi.CudaStream;
import java.util.List;

/** A list of launches, replayed with one call. */
final class GraphLaunch extends CudaLaunch {
  private final CudaGraph graph;
  private final List<Launch> parts;

  GraphLaunch(
      CudaDevice device,
      String description,
      List<Buffer> buffers,
      CudaGraph graph,
      List<Launch> parts) {
    super(device, description, buffers);
    this.graph = graph;
    this.parts = parts;
  }

  @Override
  void enqueue(CudaStream stream) {
    graph.launch(stream);
  }

  @Override
  boolean waits() {
    return true;
  }

  @Override
  void release(boolean usable) {
    try {
      if (usable) {
        graph.close();
      }
    } finally {
      parts.forEach(Launch::close);
    }
  }
}
