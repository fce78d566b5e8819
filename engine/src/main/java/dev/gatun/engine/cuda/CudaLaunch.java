package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.ffi.CudaStream;
import java.util.ArrayList;
import java.util.List;

/** Work that a {@link CudaDevice} puts on its stream. */
abstract class CudaLaunch implements Launch {
  private final CudaDevice device;
  private final String description;
  private final Buffer[] buffers;
  private boolean closed;

  CudaLaunch(CudaDevice device, String description, List<Buffer> buffers) {
    this.device = device;
    this.description = description;
    this.buffers = buffers.stream().distinct().toArray(Buffer[]::new);
  }

  /** As in messages: {@code group_norm [[2,8,8,4] f32, [4] f32, [4] f32]}. */
  static String describe(Op op, List<Tensor> inputs) {
    return op.name() + " " + inputs.stream().map(Tensor::spec).toList();
  }

  static List<Buffer> buffersOf(List<Tensor> inputs, List<Tensor> outputs) {
    List<Buffer> buffers = new ArrayList<>();
    inputs.forEach(t -> buffers.add(t.buffer()));
    outputs.forEach(t -> buffers.add(t.buffer()));
    return buffers;
  }

  /** Adds the work to the stream; the device's context is current. */
  abstract void enqueue(CudaStream stream);

  /**
   * Gives back what the launch holds; none of its work is on the stream any more.
   *
   * @param usable false where the driver's handles ended with the device or its context
   */
  abstract void release(boolean usable);

  /** The stream to be put on, or null for the device's own. */
  CudaStream stream() {
    return null;
  }

  /** Whether {@link #run} returns with the work done, not just submitted. */
  boolean waits() {
    return false;
  }

  final Buffer[] buffers() {
    return buffers;
  }

  /** A buffer given back too early would be somebody else's memory by now. */
  final void requireOpen() {
    if (closed) {
      throw new IllegalStateException(description + " on " + device.name() + " run after close");
    }
    for (Buffer buffer : buffers) {
      buffer.address();
    }
  }

  /** True the first time it is asked. */
  final boolean startClosing() {
    boolean first = !closed;
    closed = true;
    return first;
  }

  @Override
  public final void run() {
    device.submit(this);
  }

  @Override
  public final void close() {
    device.retire(this);
  }

  @Override
  public final String toString() {
    return description;
  }
}
