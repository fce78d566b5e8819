package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.kernels.Element;
import dev.gatun.kernels.KernelCall;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** What an op's kernels are collected in while they are chosen; the device is entered. */
final class Work {
  private static final long ALIGNMENT = 256;

  private final CudaDevice device;
  private final List<KernelCall> calls = new ArrayList<>();
  private final List<Buffer> owned = new ArrayList<>();
  private boolean refuses;

  Work(CudaDevice device) {
    this.device = device;
  }

  void add(KernelCall call) {
    calls.add(call);
  }

  int multiprocessors() {
    return device.multiprocessors();
  }

  /** Where a kernel says what is wrong with its data: the launch is waited for, to hear it. */
  long refusal() {
    refuses = true;
    return refused();
  }

  /** Where a kernel sees that one before it has refused its data. */
  long refused() {
    if (device.onStream() == null) {
      return device.refusal();
    }
    // on another stream nobody waits: the words lie behind the mark, and are not looked at
    Buffer mark = own(Refusal.MARK_BYTES + Refusal.BYTES);
    device.upload(Refusal.mark(mark.address() + Refusal.MARK_BYTES), mark, 0);
    return mark.address();
  }

  /** Memory of the launch's own that holds these numbers. */
  long table(int[] values) {
    Buffer buffer = own((long) Integer.BYTES * values.length);
    device.upload(MemorySegment.ofArray(values), buffer, 0);
    return buffer.address();
  }

  /** Zeroed memory of the launch's own. */
  Buffer own(long sizeBytes) {
    Buffer buffer = device.allocate(sizeBytes);
    owned.add(buffer);
    return buffer;
  }

  /**
   * Memory for results between one kernel of this launch and the next; other launches use it, too.
   *
   * @return an address for each size
   */
  long[] scratch(long... sizes) {
    long all = 0;
    for (long size : sizes) {
      all += align(size);
    }
    // what runs on another stream shares nothing
    long at =
        device.onStream() == null
            ? device.scratch(Math.max(1, all))
            : own(Math.max(1, all)).address();
    long[] addresses = new long[sizes.length];
    for (int i = 0; i < sizes.length; i++) {
      addresses[i] = at;
      at += align(sizes[i]);
    }
    return addresses;
  }

  private static long align(long size) {
    return Math.ceilDiv(size, ALIGNMENT) * ALIGNMENT;
  }

  CudaLaunch launch(Op op, List<Tensor> inputs, List<Tensor> outputs) {
    return new KernelsLaunch(
        device,
        CudaLaunch.describe(op, inputs),
        CudaLaunch.buffersOf(inputs, outputs),
        calls,
        owned,
        refuses && device.onStream() == null);
  }

  /** Gives back what was to be the launch's. */
  void abandon() {
    owned.forEach(Buffer::close);
  }

  static Element element(Tensor tensor) {
    return element(tensor.dtype());
  }

  static Element element(DType type) {
    return switch (type) {
      case F32 -> Element.F32;
      case BF16 -> Element.BF16;
      default -> throw new IllegalArgumentException("no kernel takes " + type.label());
    };
  }

  /** Whether 16 bytes at a time can be read from the tensor's first element on. */
  static boolean aligned(Tensor tensor) {
    return tensor.address() % 16 == 0;
  }
}
