package dev.gatun.engine;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
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
    buffer.device().allocatedBytes.addAndGet(sizeBytes); // a lane's is its device's
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

  /** For backends: whether ops can work on the host's memory where it lies. */
  protected boolean usesHostMemory() {
    return false;
  }

  /**
   * A tensor in the caller's own memory, without a copy; on devices that work on the host's memory,
   * which {@code cpu} does. Row-major, in {@code dtype}, little-endian.
   *
   * <p>The memory stays the caller's: closing the tensor does not free it, and it has to stay open
   * as long as the tensor and the launches over it are used. After its arena was closed they throw
   * {@link IllegalStateException}; an arena cannot be closed while an op runs on its memory. Memory
   * of a confined arena is for its owner's thread: only that thread can run ops on it.
   *
   * <p>The caller may write to the memory between runs. Since the engine does not see that, wrapped
   * weights of a convolution are packed anew at every run; weights that rarely change are better
   * off in {@link Tensor#allocate}.
   *
   * @param memory native, of exactly the tensor's bytes, aligned to an element; read-only memory
   *     can be an input
   * @throws DeviceException if the device has memory of its own
   * @throws IllegalArgumentException in one line if the memory is not as described
   * @throws IllegalStateException if its arena is closed
   */
  public final Tensor wrap(MemorySegment memory, DType dtype, int... dims) {
    return wrap(memory, TensorSpec.of(dtype, dims));
  }

  /** As {@link #wrap(MemorySegment, DType, int...)}. */
  public final Tensor wrap(MemorySegment memory, TensorSpec spec) {
    if (!usesHostMemory()) {
      throw new DeviceException(
          name()
              + " has memory of its own and cannot wrap the host's: use Tensor.allocate and"
              + " Tensor.write");
    }
    String problem = null;
    if (!memory.isNative()) {
      problem = "is on the Java heap: allocate it from an Arena";
    } else if (memory.byteSize() != spec.sizeBytes()) {
      problem = "has " + memory.byteSize() + " bytes, not " + spec.sizeBytes();
    } else if (memory.address() % spec.dtype().bytes() != 0) {
      problem = "is not aligned to " + spec.dtype().bytes() + " bytes";
    }
    if (problem != null) {
      throw new IllegalArgumentException("memory to wrap as " + spec + " " + problem);
    }
    if (!memory.scope().isAlive()) {
      throw new IllegalStateException("memory to wrap as " + spec + " is of a closed arena");
    }
    return Tensor.wrap(this, memory, spec);
  }

  /**
   * Lanes: devices that run at the same time, each on a share of this one's cores, and take this
   * one's tensors. Ops on a lane do not wait for a second core at each step of the way. The caller
   * closes them, before this device.
   *
   * @param most lanes
   * @return 2 or more, or none where this device does not divide
   */
  public List<Device> divide(int most) {
    return List.of();
  }

  /** Whether this device's ops may use a tensor: its own, and for a lane those that it works on. */
  protected boolean holds(Tensor tensor) {
    return tensor.device() == this;
  }

  /** Copies host memory into a buffer; done when it returns. */
  public abstract void upload(MemorySegment source, Buffer target, long targetOffsetBytes);

  /** Copies from a buffer to host memory; done when it returns. */
  public abstract void download(Buffer source, long sourceOffsetBytes, MemorySegment target);

  /** Whether this device has an implementation of the op for these inputs. */
  public abstract boolean supports(Op op, List<TensorSpec> inputs);

  /** Whether an op that stands for two others is there and worth it on this device. */
  public boolean fuses(Op op, List<TensorSpec> inputs) {
    return false;
  }

  /**
   * Fixes an op to memory, for whoever has checked the tensors with {@link Op#check}; {@link
   * #launch} does that.
   *
   * @throws UnsupportedOpException naming op, inputs and device where there is no implementation
   */
  public abstract Launch prepare(Op op, List<Tensor> inputs, List<Tensor> outputs);

  /** Joins launches into one that runs them in order: a loop, or a CUDA graph. Owns them. */
  public abstract Launch record(List<Launch> launches);

  /**
   * Checks tensors and fixes an op to them, to be run any number of times; the caller closes the
   * launch.
   *
   * @param outputs of the shapes and dtypes that {@link Op#check} returns; written to, as are the
   *     inputs that {@link Op#mutates} names, so none of these may overlap another tensor
   * @throws ShapeException if a shape or dtype does not fit
   * @throws IllegalArgumentException if a tensor is on another device, or overlaps where it may not
   * @throws UnsupportedOpException where this device has no implementation
   */
  public final Launch launch(Op op, List<Tensor> inputs, List<Tensor> outputs) {
    List<TensorSpec> specs = specs(inputs);
    List<TensorSpec> results = op.check(specs);
    op.require(
        outputs.size() == results.size(),
        specs,
        "has " + results.size() + " outputs, but " + outputs.size() + " were given");
    for (int i = 0; i < results.size(); i++) {
      op.require(
          outputs.get(i).spec().equals(results.get(i)),
          specs,
          "output " + i + " must be " + results.get(i) + ", is " + outputs.get(i).spec());
    }
    List<Tensor> all = new ArrayList<>(outputs);
    op.mutates().forEach(i -> all.add(inputs.get(i)));
    int written = all.size();
    for (int i = 0; i < inputs.size(); i++) {
      if (!op.mutates().contains(i)) {
        all.add(inputs.get(i));
      }
    }
    for (Tensor tensor : all) {
      if (!holds(tensor)) {
        throw new IllegalArgumentException(
            op.name() + ": tensor " + tensor + " is not on this device, " + name());
      }
    }
    for (int i = 0; i < written; i++) {
      for (int j = i + 1; j < all.size(); j++) {
        if (overlap(all.get(i), all.get(j))) {
          throw new IllegalArgumentException(
              op.name() + ": writes to " + all.get(i) + ", which overlaps " + all.get(j));
        }
      }
    }
    return prepare(op, inputs, outputs);
  }

  private static List<TensorSpec> specs(List<Tensor> tensors) {
    return tensors.stream().map(Tensor::spec).toList();
  }

  private static boolean overlap(Tensor a, Tensor b) {
    return a.address() < b.address() + b.spec().sizeBytes()
        && b.address() < a.address() + a.spec().sizeBytes();
  }

  /**
   * Runs an op once on the caller's tensors; the results are there when it returns. For many runs
   * on the same tensors use {@link #launch}, which also says what is checked.
   */
  public final void run(Op op, List<Tensor> inputs, List<Tensor> outputs) {
    try (Launch launch = launch(op, inputs, outputs)) {
      launch.run();
    }
  }

  /**
   * As {@link #run}, on outputs that it allocates and returns; the caller closes them.
   *
   * @throws ShapeException before any memory is allocated
   */
  public final List<Tensor> apply(Op op, Tensor... inputs) {
    List<Tensor> in = List.of(inputs);
    List<Tensor> out = new ArrayList<>();
    try {
      op.check(specs(in)).forEach(spec -> out.add(Tensor.allocate(this, spec)));
      run(op, in, out);
    } catch (RuntimeException | Error e) {
      out.forEach(Tensor::close);
      throw e;
    }
    return List.copyOf(out);
  }

  /**
   * Prepares a network to be computed pixel by pixel while its images are drawn.
   *
   * @param graph holds the plan's values
   * @param labels [N] u8, bound in the graph; null where the network reads none
   * @throws UnsupportedOperationException if this device cannot
   */
  public CausalProgram causal(Graph graph, CausalPlan plan, Value labels) {
    throw new UnsupportedOperationException(name() + " cannot compute a network pixel by pixel");
  }

  /**
   * How many images each lane of a {@link CausalProgram} should draw together, where {@code count}
   * are wanted.
   */
  public int causalImages(int count) {
    return Math.max(1, count);
  }

  /**
   * Gives back what the device holds; harmless when repeated. Whoever still uses it gets an
   * exception; launches and buffers may be closed afterwards.
   */
  @Override
  public abstract void close();

  @Override
  public String toString() {
    return name();
  }
}
