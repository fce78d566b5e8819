package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.Buffer;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;

/** Weights of matrix products in the layout their primitive chose, shared by the lanes. */
final class PackedWeights implements AutoCloseable {
  private final CpuDevice device;
  private final Map<Object, Buffer> buffers = new HashMap<>();

  PackedWeights(CpuDevice device) {
    this.device = device;
  }

  /**
   * The address of weights, packed at the first call with a key.
   *
   * @param dense [rows,columns] f32
   */
  long address(Object key, Dnnl dnnl, float[] dense, int rows, int columns, DnnlDesc layout) {
    Buffer packed = buffers.get(key);
    if (packed == null) {
      packed = device.allocate(layout.sizeBytes());
      buffers.put(key, packed);
      try (Buffer plain = device.allocate(4L * dense.length);
          DnnlDesc plainDesc = DnnlDesc.dense(dnnl_f32(), rows, columns);
          DnnlPrimitive reorder = DnnlPrimitive.reorder(dnnl, plainDesc, layout)) {
        MemorySegment.copy(
            dense,
            0,
            HostMemory.at(plain.address(), plain.sizeBytes()),
            ValueLayout.JAVA_FLOAT,
            0,
            dense.length);
        reorder
            .bind(DNNL_ARG_SRC_0(), plainDesc, plain.address())
            .bind(DNNL_ARG_DST_0(), layout, packed.address());
        if (reorder.scratchpadBytes() > 0) {
          try (Buffer scratch = device.allocate(reorder.scratchpadBytes())) {
            reorder.bindScratchpad(scratch.address()).execute();
          }
        } else {
          reorder.execute();
        }
      }
    }
    return packed.address();
  }

  @Override
  public void close() {
    buffers.values().forEach(Buffer::close);
    buffers.clear();
  }
}
