package dev.gatun.ffi;

import dev.gatun.ffi.cuda.CUtensorMap_st;
import dev.gatun.ffi.cuda.CudaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.NoSuchElementException;

/**
 * How the tensor memory accelerator of a GPU of compute capability 9.0 or newer walks through a
 * tensor: 128 bytes, handed to a kernel by value as {@link #argument}. It has not met a GPU yet.
 */
public final class CudaTensorMap {
  /** What an element is. */
  public enum Element {
    U8(1, CudaDriver.CU_TENSOR_MAP_DATA_TYPE_UINT8()),
    I32(4, CudaDriver.CU_TENSOR_MAP_DATA_TYPE_INT32()),
    F32(4, CudaDriver.CU_TENSOR_MAP_DATA_TYPE_FLOAT32()),
    BF16(2, CudaDriver.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16());

    final int bytes;
    final int code;

    Element(int bytes, int code) {
      this.bytes = bytes;
      this.code = code;
    }
  }

  /** How 16-byte pieces of a box are permuted in shared memory, in spans of so many bytes. */
  public enum Swizzle {
    NONE(Integer.MAX_VALUE, CudaDriver.CU_TENSOR_MAP_SWIZZLE_NONE()),
    B32(32, CudaDriver.CU_TENSOR_MAP_SWIZZLE_32B()),
    B64(64, CudaDriver.CU_TENSOR_MAP_SWIZZLE_64B()),
    B128(128, CudaDriver.CU_TENSOR_MAP_SWIZZLE_128B());

    final int spanBytes;
    final int code;

    Swizzle(int spanBytes, int code) {
      this.spanBytes = spanBytes;
      this.code = code;
    }
  }

  static final long BYTES = CUtensorMap_st.sizeof();
  // said by an attribute in the header that the generated layout does not have
  static final long ALIGNMENT = 128;

  private static final int MAX_RANK = 5;
  private static final int MAX_BOX = 256;
  private static final int UNIT_BYTES = 16;
  private static final long MAX_EXTENT = 1L << 32;
  private static final long MAX_STRIDE = 1L << 40;

  private final MemorySegment bytes;

  private CudaTensorMap(MemorySegment bytes) {
    this.bytes = bytes;
  }

  /**
   * A tensor that is read or written in boxes; elements outside it are read as zero.
   *
   * @param address of the first element, a multiple of 16
   * @param extents elements along each dimension, the one that changes fastest first; 1 to 5
   * @param strides bytes from one element to the next, from the second dimension on; multiples of
   *     16
   * @param box elements of a box along each dimension, at most 256; its rows are multiples of 16
   *     bytes
   * @throws IllegalArgumentException naming the rule that is not kept
   * @throws LibraryException if the driver is too old to have tensor maps
   * @throws CudaException if the driver refuses it
   */
  public static CudaTensorMap tiled(
      Element element, long address, long[] extents, long[] strides, int[] box, Swizzle swizzle) {
    requireTiled(element, address, extents, strides, box, swizzle);
    MemorySegment map = Arena.ofAuto().allocate(BYTES, ALIGNMENT);
    int[] steps = new int[extents.length];
    Arrays.fill(steps, 1);
    try (Arena arena = Arena.ofConfined()) {
      int status =
          CudaDriver.cuTensorMapEncodeTiled(
              map,
              element.code,
              extents.length,
              MemorySegment.ofAddress(address),
              arena.allocateFrom(ValueLayout.JAVA_LONG, extents),
              arena.allocateFrom(ValueLayout.JAVA_LONG, strides),
              arena.allocateFrom(ValueLayout.JAVA_INT, box),
              arena.allocateFrom(ValueLayout.JAVA_INT, steps),
              CudaDriver.CU_TENSOR_MAP_INTERLEAVE_NONE(),
              swizzle.code,
              CudaDriver.CU_TENSOR_MAP_L2_PROMOTION_L2_128B(),
              CudaDriver.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE());
      if (status != 0) {
        throw CudaException.ofStatus("cuTensorMapEncodeTiled", status);
      }
    } catch (ExceptionInInitializerError e) {
      if (e.getCause() instanceof NoSuchElementException) {
        throw new LibraryException(
            "the CUDA driver has no cuTensorMapEncodeTiled: it is older than CUDA 12.0", e);
      }
      throw e;
    } catch (NoClassDefFoundError e) {
      throw new LibraryException("the CUDA driver has no cuTensorMapEncodeTiled", e);
    }
    return new CudaTensorMap(map);
  }

  /** The driver answers CUDA_ERROR_INVALID_VALUE to all of these. */
  private static void requireTiled(
      Element element, long address, long[] extents, long[] strides, int[] box, Swizzle swizzle) {
    int rank = extents.length;
    if (rank < 1 || rank > MAX_RANK || strides.length != rank - 1 || box.length != rank) {
      throw new IllegalArgumentException(
          "tensor map: %d extents, %d strides, box of %d: expected 1 to 5, one less, as many"
              .formatted(rank, strides.length, box.length));
    }
    if (address == 0 || address % UNIT_BYTES != 0) {
      throw new IllegalArgumentException(
          "tensor map: address 0x%x is not a multiple of 16".formatted(address));
    }
    for (int d = 0; d < rank; d++) {
      if (extents[d] < 1 || extents[d] > MAX_EXTENT || box[d] < 1 || box[d] > MAX_BOX) {
        throw new IllegalArgumentException(
            "tensor map: extent %d, box %d in dimension %d: expected 1 to 2^32 and 1 to 256"
                .formatted(extents[d], box[d], d));
      }
    }
    for (long stride : strides) {
      if (stride < 0 || stride >= MAX_STRIDE || stride % UNIT_BYTES != 0) {
        throw new IllegalArgumentException(
            "tensor map: stride of %d bytes: expected a multiple of 16 below 2^40"
                .formatted(stride));
      }
    }
    int rowBytes = box[0] * element.bytes;
    if (rowBytes % UNIT_BYTES != 0 || rowBytes > swizzle.spanBytes) {
      throw new IllegalArgumentException(
          "tensor map: box rows of %d bytes: expected a multiple of 16%s"
              .formatted(
                  rowBytes, swizzle == Swizzle.NONE ? "" : ", at most " + swizzle.spanBytes));
    }
  }

  /** As a kernel's parameter {@code const __grid_constant__ CUtensorMap}. */
  public byte[] argument() {
    return bytes.toArray(ValueLayout.JAVA_BYTE);
  }

  MemorySegment bytes() {
    return bytes;
  }
}
