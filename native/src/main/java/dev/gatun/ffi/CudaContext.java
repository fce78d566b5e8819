package dev.gatun.ffi;

import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/**
 * A hold on a GPU's primary context, which everybody in the process shares.
 *
 * <p>The context is current per thread: a thread calls {@link #makeCurrent} before anything else
 * here. Device addresses are plain longs; nothing here checks them.
 *
 * <p>After a fatal error the context is dead for all who hold it: whoever learns of it calls {@link
 * #fail}, all others see {@link #failure}, and the next {@link #retain} starts afresh. What was
 * allocated before is gone then, so it must not be given back.
 */
public final class CudaContext implements AutoCloseable {
  /** One life of a GPU's primary context. */
  private static final class Life {
    volatile CudaException failure;
    int holders;
  }

  /** By ordinal; the primary context is the process's, and so is this. */
  private static final Map<Integer, Life> LIVES = new HashMap<>();

  private final CudaLibrary library;
  private final int ordinal;
  private final jcuda.driver.CUdevice device;
  private final CUcontext context;
  private final Life life;
  private boolean closed;

  private CudaContext(
      CudaLibrary library,
      int ordinal,
      jcuda.driver.CUdevice device,
      CUcontext context,
      Life life) {
    this.library = library;
    this.ordinal = ordinal;
    this.device = device;
    this.context = context;
    this.life = life;
  }

  /** Takes hold of the primary context of a GPU, and makes it current. */
  public static CudaContext retain(CudaLibrary library, int ordinal) {
    jcuda.driver.CUdevice device = CudaLibrary.handle(ordinal);
    synchronized (LIVES) {
      CUcontext context = new CUcontext();
      CudaException.check(
          "cuDevicePrimaryCtxRetain", () -> JCudaDriver.cuDevicePrimaryCtxRetain(context, device));
      try {
        Life life = LIVES.get(ordinal);
        if (life != null && life.failure != null) {
          CudaException.check(
              "cuDevicePrimaryCtxReset", () -> JCudaDriver.cuDevicePrimaryCtxReset(device));
          life = null;
        }
        if (life == null) {
          life = new Life();
        }
        CudaException.check("cuCtxSetCurrent", () -> JCudaDriver.cuCtxSetCurrent(context));
        LIVES.put(ordinal, life);
        life.holders++;
        return new CudaContext(library, ordinal, device, context, life);
      } catch (RuntimeException e) {
        CudaException.quietly(() -> JCudaDriver.cuDevicePrimaryCtxRelease(device));
        throw e;
      }
    }
  }

  public CudaLibrary library() {
    return library;
  }

  /** Makes the context the calling thread's current one. */
  public void makeCurrent() {
    CudaException.check("cuCtxSetCurrent", () -> JCudaDriver.cuCtxSetCurrent(context));
  }

  /** Says that the context is dead. */
  public void fail(CudaException failure) {
    synchronized (LIVES) {
      if (life.failure == null) {
        life.failure = failure;
      }
    }
  }

  /** What killed the context, or null. */
  public CudaException failure() {
    return life.failure;
  }

  /** Waits for all streams of the context, those of others too. */
  public void synchronize() {
    CudaException.check("cuCtxSynchronize", JCudaDriver::cuCtxSynchronize);
  }

  /** Free and total bytes of the GPU. */
  public long[] memory() {
    long[] free = new long[1];
    long[] total = new long[1];
    CudaException.check("cuMemGetInfo", () -> JCudaDriver.cuMemGetInfo(free, total));
    return new long[] {free[0], total[0]};
  }

  /** Fills with zeros, in the stream's order. */
  public void zero(long address, long sizeBytes, CudaStream stream) {
    CudaException.check(
        "cuMemsetD8Async",
        () ->
            JCudaDriver.cuMemsetD8Async(
                new Address(address), (byte) 0, sizeBytes, stream.handle()));
  }

  /** Memory in a stream's order; the context is current. */
  public CudaPool createPool() {
    return CudaPool.create(device, ordinal);
  }

  /** Loads a fatbin, or the image that the emulator takes for one. */
  public CudaModule load(byte[] image) {
    CUmodule module = new CUmodule();
    CudaException.check("cuModuleLoadData", () -> JCudaDriver.cuModuleLoadData(module, image));
    return new CudaModule(module);
  }

  /** A stream of its own, which does not wait for the legacy stream. */
  public CudaStream createStream() {
    CudaStream.Handle stream = new CudaStream.Handle();
    CudaException.check(
        "cuStreamCreate",
        () -> JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING));
    return new CudaStream(stream);
  }

  /** Lets go. The context ends with its last holder; what is still in it ends too. */
  @Override
  public void close() {
    synchronized (LIVES) {
      if (closed) {
        return;
      }
      closed = true;
      life.holders--;
      try {
        if (life.failure != null && life.holders == 0 && LIVES.get(ordinal) == life) {
          // nobody is left whose memory a reset could take
          LIVES.remove(ordinal);
          CudaException.check(
              "cuDevicePrimaryCtxReset", () -> JCudaDriver.cuDevicePrimaryCtxReset(device));
        }
        CudaException.check(
            "cuDevicePrimaryCtxRelease", () -> JCudaDriver.cuDevicePrimaryCtxRelease(device));
      } catch (CudaException e) {
        if (life.failure == null) {
          throw e;
        }
        // a dead context may repeat what killed it, and that has been told
      }
    }
  }

  /** A device address in the form JCuda takes. */
  static final class Address extends CUdeviceptr {
    Address() {}

    Address(long address) {
      super(new CUdeviceptr(), address);
    }

    long value() {
      return getNativePointer() + getByteOffset();
    }
  }
}
