package dev.gatun.ffi;

import jcuda.Pointer;

/** An address, of host or device memory, in the form JCuda and JCudnn take. */
public final class CudaPointer extends Pointer {
  public CudaPointer(long address) {
    super(address);
  }
}
