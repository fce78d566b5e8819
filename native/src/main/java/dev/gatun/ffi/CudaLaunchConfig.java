package dev.gatun.ffi;

import dev.gatun.ffi.cuda.CUlaunchAttributeValue_union;
import dev.gatun.ffi.cuda.CUlaunchAttribute_st;
import dev.gatun.ffi.cuda.CUlaunchConfig_st;
import dev.gatun.ffi.cuda.CudaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Grid, block and attributes of a launch on one stream, laid out once and used at every launch; see
 * {@link CudaFunction#launchEx}.
 */
public final class CudaLaunchConfig {
  private static final int MAX_ATTRIBUTES = 3;
  private static final int MAX_CLUSTER = 16;

  private final MemorySegment config;
  private final MemorySegment attributes;
  // of the global scope, as the parameters' are
  private final MemorySegment segment;
  private final int gridX;
  private final int gridY;
  private final int gridZ;
  private int count;

  /**
   * Lays out a launch without attributes.
   *
   * @param arena whose end is the caller's to order: no launch may be under way with it
   */
  public CudaLaunchConfig(
      Arena arena,
      CudaStream stream,
      int gridX,
      int gridY,
      int gridZ,
      int blockX,
      int blockY,
      int blockZ,
      int sharedBytes) {
    this(arena, stream.segment(), gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes);
  }

  CudaLaunchConfig(
      Arena arena,
      MemorySegment stream,
      int gridX,
      int gridY,
      int gridZ,
      int blockX,
      int blockY,
      int blockZ,
      int sharedBytes) {
    this.gridX = gridX;
    this.gridY = gridY;
    this.gridZ = gridZ;
    config = CUlaunchConfig_st.allocate(arena);
    attributes = CUlaunchAttribute_st.allocateArray(MAX_ATTRIBUTES, arena);
    segment = MemorySegment.ofAddress(config.address());
    CUlaunchConfig_st.gridDimX(config, gridX);
    CUlaunchConfig_st.gridDimY(config, gridY);
    CUlaunchConfig_st.gridDimZ(config, gridZ);
    CUlaunchConfig_st.blockDimX(config, blockX);
    CUlaunchConfig_st.blockDimY(config, blockY);
    CUlaunchConfig_st.blockDimZ(config, blockZ);
    CUlaunchConfig_st.sharedMemBytes(config, sharedBytes);
    CUlaunchConfig_st.hStream(config, stream);
    CUlaunchConfig_st.attrs(config, attributes);
  }

  /**
   * Blocks of a cluster run at once and reach each other's shared memory; needs compute capability
   * 9.0. Clusters of more than 8 blocks are for kernels that ask for them.
   *
   * @throws IllegalArgumentException unless the grid is whole clusters of at most 16 blocks
   */
  public CudaLaunchConfig cluster(int x, int y, int z) {
    if (x < 1 || y < 1 || z < 1 || (long) x * y * z > MAX_CLUSTER) {
      throw new IllegalArgumentException(
          "cluster (%d,%d,%d): each at least 1, at most %d blocks".formatted(x, y, z, MAX_CLUSTER));
    }
    if (gridX % x != 0 || gridY % y != 0 || gridZ % z != 0) {
      throw new IllegalArgumentException(
          "cluster (%d,%d,%d) does not divide grid (%d,%d,%d)"
              .formatted(x, y, z, gridX, gridY, gridZ));
    }
    MemorySegment value = attribute(CudaDriver.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION());
    MemorySegment cluster = CUlaunchAttributeValue_union.clusterDim(value);
    CUlaunchAttributeValue_union.clusterDim.x(cluster, x);
    CUlaunchAttributeValue_union.clusterDim.y(cluster, y);
    CUlaunchAttributeValue_union.clusterDim.z(cluster, z);
    return this;
  }

  /** All blocks run at once, so that they can wait for each other. */
  public CudaLaunchConfig cooperative() {
    CUlaunchAttributeValue_union.cooperative(
        attribute(CudaDriver.CU_LAUNCH_ATTRIBUTE_COOPERATIVE()), 1);
    return this;
  }

  /**
   * Lets the kernel begin before the stream's previous one has ended; it waits by itself ({@code
   * griddepcontrol.wait}) before it reads what that one writes. Needs compute capability 9.0.
   */
  public CudaLaunchConfig programmaticStreamSerialization() {
    CUlaunchAttributeValue_union.programmaticStreamSerializationAllowed(
        attribute(CudaDriver.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION()), 1);
    return this;
  }

  /** The value of the next attribute. */
  private MemorySegment attribute(int id) {
    for (int i = 0; i < count; i++) {
      if (CUlaunchAttribute_st.id(CUlaunchAttribute_st.asSlice(attributes, i)) == id) {
        throw new IllegalStateException("launch attribute " + id + " given twice");
      }
    }
    MemorySegment attribute = CUlaunchAttribute_st.asSlice(attributes, count++);
    CUlaunchAttribute_st.id(attribute, id);
    CUlaunchConfig_st.numAttrs(config, count);
    return CUlaunchAttribute_st.value(attribute);
  }

  MemorySegment segment() {
    return segment;
  }
}
