package dev.gatun.ffi;

import dev.gatun.ffi.cuda.CudaDriver;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.JCudaDriver;

/** Captured work, ready to be replayed with one call. */
public final class CudaGraph implements AutoCloseable {
  private static final class Executable extends CUgraphExec {
    long value() {
      return getNativePointer();
    }
  }

  private final Executable executable = new Executable();
  private final MemorySegment segment;

  /** Instantiates {@code graph}, which ends here. */
  CudaGraph(CUgraph graph) {
    try {
      CudaException.check(
          "cuGraphInstantiate", () -> JCudaDriver.cuGraphInstantiate(executable, graph, 0));
    } finally {
      CudaException.quietly(() -> JCudaDriver.cuGraphDestroy(graph));
    }
    segment = MemorySegment.ofAddress(executable.value());
  }

  /** Adds the whole graph to the stream. */
  public void launch(CudaStream stream) {
    int status = CudaDriver.cuGraphLaunch(segment, stream.segment());
    if (status != 0) {
      throw CudaException.ofStatus("cuGraphLaunch", status);
    }
  }

  @Override
  public void close() {
    CudaException.check("cuGraphExecDestroy", () -> JCudaDriver.cuGraphExecDestroy(executable));
  }
}
