package dev.gatun.engine;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A place where ops run: memory, copies and launches. Several devices may be open in one process,
 * and several threads may share one; what they submit runs one after another.
 *
 * <p>A backend extends this class. Closing a device does not free buffers still open on it: each
 * buffer has an owner that closes it first.
 */
public abstract class Device implements AutoCloseable {
  private final AtomicLong allocatedBytes = new AtomicLong();

  /** As on the command line: {@code cpu}, {@code cuda:0}, {@code emulated}. */
  public abstract String name();

  /** One line for people: processor, instruction set or GPU, library versions. */
  public abstract String description();

  /** What {@code --dtype} defaults to: bf16 where matrix units make it the fast one, else f32. */
  public abstract DType preferredDType();

  /**
   * Whether activations can be stored in {@code dtype} here.
   *
   * @return null if so, else one line that says why not
   */
  public abstract String refuses(DType dtype);

  /**
   * Zeroed memory, aligned to at least 64 bytes.
   *
   * @throws OutOfMemoryException naming the size and the device
   */
  public final Buffer allocate(long sizeBytes) {
    Buffer buffer = allocateMemory(sizeBytes);
    allocatedBytes.addAndGet(sizeBytes);
    return buffer;
  }

  /** Bytes in buffers that are open now. */
  public final long allocatedBytes() {
    return allocatedBytes.get();
  }

  /** For backends, when a buffer is freed. */
  protected final void released(long sizeBytes) {
    allocatedBytes.addAndGet(-sizeBytes);
  }

  protected abstract Buffer allocateMemory(long sizeBytes);

  /** Copies host memory into a buffer; done when it returns. */
  public abstract void upload(MemorySegment source, Buffer target, long targetOffsetBytes);

  /** Copies from a buffer to host memory; done when it returns. */
  public abstract void download(Buffer source, long sourceOffsetBytes, MemorySegment target);

  /** Whether this device has an implementation of the op for these inputs. */
  public abstract boolean supports(Op op, List<TensorSpec> inputs);

  /**
   * Fixes an op to memory. Inputs were checked by {@link Op#check}.
   *
   * @throws UnsupportedOpException naming op, inputs and device where there is no implementation
   */
  public abstract Launch prepare(Op op, List<Tensor> inputs, List<Tensor> outputs);

  /** Joins launches into one that runs them in order: a loop, or a CUDA graph. Owns them. */
  public abstract Launch record(List<Launch> launches);

  /**
   * Checks, allocates outputs, runs the op once, and returns the outputs; the caller closes them.
   *
   * @throws ShapeException before any memory is allocated
   */
  public final List<Tensor> apply(Op op, Tensor... inputs) {
    List<Tensor> in = List.of(inputs);
    List<Tensor> out =
        op.check(in.stream().map(Tensor::spec).toList()).stream()
            .map(spec -> Tensor.allocate(this, spec))
            .toList();
    try (Launch launch = prepare(op, in, out)) {
      launch.run();
    } catch (RuntimeException | Error e) {
      out.forEach(Tensor::close);
      throw e;
    }
    return out;
  }

  @Override
  public abstract void close();

  @Override
  public String toString() {
    return name();
  }
}
