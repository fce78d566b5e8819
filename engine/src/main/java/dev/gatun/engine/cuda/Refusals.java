package dev.gatun.engine.cuda;

import dev.gatun.ffi.CudaStaging;
import dev.gatun.ffi.PinnedMemory;

/** Where a device's kernels say that they cannot use their data: see {@code common/refuse.cuh}. */
final class Refusals implements AutoCloseable {
  private final PinnedMemory words = new PinnedMemory(Refusal.BYTES);
  private final CudaStaging staging;
  private final long address;

  /** Called with the device entered; what the kernels write to is the device's to free. */
  Refusals(CudaMemory memory, CudaStaging staging) {
    this.staging = staging;
    try {
      address = memory.allocate(Refusal.MARK_BYTES);
      clear();
    } catch (RuntimeException | Error e) {
      words.close();
      throw e;
    }
  }

  private void clear() {
    staging.upload(Refusal.mark(words.deviceAddress()), address);
  }

  /** On the device, for kernels. */
  long address() {
    return address;
  }

  /**
   * Called when kernels have been waited for.
   *
   * @throws IllegalArgumentException in one line, once, if one of them met data it cannot use
   */
  void requireNone() {
    Refusal found = Refusal.take(words.segment());
    if (found != null) {
      clear();
      throw new IllegalArgumentException(found.message());
    }
  }

  @Override
  public void close() {
    words.close();
  }
}
