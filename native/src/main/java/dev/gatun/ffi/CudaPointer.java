package dev.gatun.ffi;

import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;

/** An address, of host or device memory, in the form JCuda and JCudnn take. */
public final class CudaPointer extends Pointer {
  /** Reads what JCuda keeps to itself and its subclasses. */
  private static final class Reader extends CUdeviceptr {
    Reader(CUdeviceptr other) {
      super(other, 0);
    }

    long value() {
      return getNativePointer() + getByteOffset();
    }
  }

  public CudaPointer(long address) {
    super(address);
  }

  /** The device address that one of JCuda's pointers stands for. */
  public static long addressOf(CUdeviceptr pointer) {
    return new Reader(pointer).value();
  }
}
