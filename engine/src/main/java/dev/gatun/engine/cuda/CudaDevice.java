package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.UnsupportedOpException;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.ffi.CudaContext;
import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaFunction;
import dev.gatun.ffi.CudaGraph;
import dev.gatun.ffi.CudaLibrary;
import dev.gatun.ffi.CudaModule;
import dev.gatun.ffi.CudaStream;
import dev.gatun.kernels.KernelCall;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A GPU through the CUDA driver, or the emulator in its place.
 *
 * <p>A launch's {@code run} puts work on the device's one stream and returns; results are there
 * after a download, after a recorded launch's {@code run}, and when a launch is closed. An error of
 * the GPU shows at the same places. Several devices may be open on one GPU: they share its memory
 * and its faults.
 */
public final class CudaDevice extends Device {
  /** What computes convolutions. */
  public enum Convolution {
    /** Our kernel. */
    TAPS,
    /** cuDNN where it can, else our kernel. */
    CUDNN;

    /**
     * What the system property {@code gatun.cuda.conv} says; {@link #TAPS} where it says nothing.
     *
     * @throws DeviceException if it says something else
     */
    public static Convolution fromProperty() {
      String value = System.getProperty("gatun.cuda.conv", "taps");
      return switch (value.toLowerCase(Locale.ROOT)) {
        case "taps" -> TAPS;
        case "cudnn" -> CUDNN;
        default ->
            throw new DeviceException(
                "property gatun.cuda.conv is '" + value + "': expected taps or cudnn");
      };
    }
  }

  private static final int RECENT = 8;

  // images that are drawn together
  private static final int FEW_IMAGES = 16;
  private static final int MANY_IMAGES = 64;

  private final ReentrantLock lock = new ReentrantLock();
  private final String name;
  private final String description;
  private final Convolution convolution;
  private final CudaContext context;
  private final CudaStream stream;
  private final CudaKernels images;
  private final Map<String, CudaModule> modules = new HashMap<>();
  private final int multiprocessors;
  private final Set<Long> allocations = new LinkedHashSet<>();
  private Cudnn cudnn;
  private long scratch;
  private long scratchBytes;

  // what was put on the stream since it was last empty; the last RECENT of it by name
  private final CudaLaunch[] recent = new CudaLaunch[RECENT];
  private int submitted;
  private Set<Buffer> capturing;
  private CudaFaultException failure;
  private boolean closed;

  /**
   * Opens a device.
   *
   * @param library the driver of this process
   * @throws DeviceException in one line if the GPU is of no use to us
   */
  CudaDevice(
      String name,
      CudaLibrary library,
      int ordinal,
      String description,
      CudaKernels images,
      Convolution convolution) {
    this.name = name;
    this.description = description;
    this.images = images;
    this.convolution = convolution;
    this.multiprocessors = library.device(ordinal).multiprocessors();
    CudaContext retained = null;
    try {
      retained = CudaContext.retain(library, ordinal);
      this.stream = retained.createStream();
      this.context = retained;
    } catch (CudaException e) {
      if (retained != null) {
        retained.close();
      }
      throw new DeviceException("cannot open " + name + ": " + e.getMessage(), e);
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String description() {
    return description;
  }

  /** What computes convolutions here. */
  public Convolution convolution() {
    return convolution;
  }

  @Override
  public DType preferredDType() {
    return DType.F32;
  }

  @Override
  public String refuses(DType dtype) {
    return dtype == DType.F32 || dtype == DType.BF16
        ? null
        : "no CUDA kernel takes " + dtype.label() + " activations: use --dtype f32 or bf16";
  }

  // ---- entering and leaving: one thread at a time, with the context current

  private void enter() {
    lock.lock();
    try {
      if (closed) {
        throw new IllegalStateException("device " + name + " used after close");
      }
      if (failure != null) {
        throw new CudaFaultException(failure.getMessage(), failure);
      }
      CudaException elsewhere = context.failure();
      if (elsewhere != null) {
        throw new CudaFaultException(
            name + " was lost to a fault of another device on this GPU: " + elsewhere.getMessage(),
            elsewhere);
      }
      context.makeCurrent();
    } catch (CudaException e) {
      DeviceException told = failed(e);
      lock.unlock();
      throw told;
    } catch (RuntimeException e) {
      lock.unlock();
      throw e;
    }
  }

  private void leave() {
    lock.unlock();
  }

  /** Puts an error of the driver in the device's words; a fatal one ends the device. */
  private DeviceException failed(CudaException e) {
    if (!e.isFatal()) {
      return new DeviceException(name + ": " + e.getMessage(), e);
    }
    context.fail(e);
    failure =
        new CudaFaultException(
            name + " failed: " + e.getMessage() + culprits() + "; open the device again", e);
    return failure;
  }

  private String culprits() {
    if (submitted == 0) {
      return "";
    }
    List<String> names = new ArrayList<>();
    for (int i = Math.max(0, submitted - RECENT); i < submitted; i++) {
      names.add(recent[i % RECENT].toString());
    }
    return (submitted == 1 ? ", while running " : ", while running " + submitted + " launches: ")
        + (submitted > RECENT ? "... " : "")
        + String.join(", ", names);
  }

  private void synchronizeEntered() {
    stream.synchronize();
    submitted = 0;
  }

  /** Waits until all submitted work is done. */
  public void synchronize() {
    enter();
    try {
      synchronizeEntered();
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  // ---- memory

  @Override
  protected Buffer allocateMemory(long sizeBytes) {
    if (sizeBytes < 0) {
      throw new IllegalArgumentException("allocation of " + sizeBytes + " bytes");
    }
    enter();
    try {
      long address = allocateZeroed(Math.max(1, sizeBytes));
      allocations.add(address);
      return new Buffer(this, address, sizeBytes, () -> free(address, sizeBytes));
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  private long allocateZeroed(long sizeBytes) {
    long address;
    try {
      address = context.allocate(sizeBytes);
    } catch (CudaException e) {
      if (!e.isOutOfMemory()) {
        throw e;
      }
      long[] memory = context.memory();
      throw new OutOfMemoryException(
          name
              + " has no room for "
              + size(sizeBytes)
              + ": "
              + size(memory[0])
              + " of "
              + size(memory[1])
              + " free, "
              + size(allocatedBytes())
              + " allocated here; use a smaller batch or close what is not needed",
          e);
    }
    try {
      context.zero(address, sizeBytes, stream);
      return address;
    } catch (CudaException e) {
      if (!e.isFatal()) {
        context.free(address);
      }
      throw e;
    }
  }

  static String size(long bytes) {
    String[] units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return unit == 0 ? bytes + " bytes" : String.format(Locale.ROOT, "%.1f %s", value, units[unit]);
  }

  /** Never throws for what went wrong before: closing has to work on every path. */
  private void free(long address, long sizeBytes) {
    lock.lock();
    try {
      released(sizeBytes);
      if (!allocations.remove(address) || failure != null || context.failure() != null) {
        return; // the memory went with the device or with its context
      }
      context.makeCurrent();
      synchronizeEntered();
      context.free(address);
    } catch (CudaException e) {
      failed(e);
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void upload(MemorySegment source, Buffer target, long targetOffsetBytes) {
    long address = place(target, targetOffsetBytes, source.byteSize());
    enter();
    try {
      context.upload(source, address, stream);
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  @Override
  public void download(Buffer source, long sourceOffsetBytes, MemorySegment target) {
    long address = place(source, sourceOffsetBytes, target.byteSize());
    enter();
    try {
      context.download(address, target, stream);
      synchronizeEntered();
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  private long place(Buffer buffer, long offsetBytes, long sizeBytes) {
    requireOwn(buffer);
    if (offsetBytes < 0 || sizeBytes > buffer.sizeBytes() - offsetBytes) {
      throw new IllegalArgumentException(
          "copy of "
              + sizeBytes
              + " bytes at byte "
              + offsetBytes
              + " of a buffer of "
              + buffer.sizeBytes()
              + " bytes on "
              + name);
    }
    return buffer.address() + offsetBytes;
  }

  private void requireOwn(Buffer buffer) {
    if (buffer.device() != this) {
      throw new IllegalArgumentException(
          "a buffer of device " + buffer.device().name() + " was given to device " + name);
    }
  }

  // ---- ops

  @Override
  public boolean supports(Op op, List<TensorSpec> inputs) {
    return refuses(op, inputs) == null;
  }

  @Override
  public boolean fuses(Op op, List<TensorSpec> inputs) {
    return convolution == Convolution.TAPS && supports(op, inputs);
  }

  private static String refuses(Op op, List<TensorSpec> inputs) {
    return CudaOps.refuses(op, inputs);
  }

  @Override
  public Launch prepare(Op op, List<Tensor> inputs, List<Tensor> outputs) {
    List<TensorSpec> specs = inputs.stream().map(Tensor::spec).toList();
    String why = refuses(op, specs);
    if (why != null) {
      throw new UnsupportedOpException(op, specs, name, why);
    }
    CudaLaunch.buffersOf(inputs, outputs).forEach(this::requireOwn);
    enter();
    try {
      if (convolution == Convolution.CUDNN && op instanceof Conv2d conv) {
        CudaLaunch launch = CudnnConvolution.prepare(this, conv, inputs, outputs);
        if (launch != null) {
          return launch;
        }
      }
      return CudaOps.prepare(this, op, inputs, outputs);
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  /** A kernel of ours; the device is entered. */
  CudaFunction function(String module, String kernel) {
    return modules.computeIfAbsent(module, m -> images.load(context, m)).function(kernel);
  }

  int multiprocessors() {
    return multiprocessors;
  }

  /**
   * Memory that launches share for what does not outlive them, since they run one after another; it
   * stays as long as the device. The device is entered.
   */
  long scratch(long sizeBytes) {
    if (sizeBytes > scratchBytes) {
      // what a recorded launch was given stays its own
      long bytes = Math.max(sizeBytes, 2 * scratchBytes);
      scratch = allocateZeroed(bytes);
      allocations.add(scratch);
      scratchBytes = bytes;
    }
    return scratch;
  }

  /** cuDNN on this device's stream; the device is entered. */
  Cudnn cudnn() {
    if (cudnn == null) {
      cudnn = new Cudnn(context.library(), stream);
    }
    return cudnn;
  }

  /** Puts a launch on the stream. */
  void submit(CudaLaunch launch) {
    enter();
    try {
      launch.requireOpen();
      if (capturing != null) {
        capturing.addAll(List.of(launch.buffers()));
        launch.enqueue(stream);
        return;
      }
      recent[submitted % RECENT] = launch;
      submitted++;
      launch.enqueue(stream);
      if (launch.waits()) {
        synchronizeEntered();
      }
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  /** Waits for the stream, which may still use what the launch holds, and lets the launch go. */
  void retire(CudaLaunch launch) {
    lock.lock();
    try {
      if (!launch.startClosing()) {
        return;
      }
      try {
        if (usable()) {
          context.makeCurrent();
          if (submitted > 0) {
            synchronizeEntered();
          }
        }
      } catch (CudaException e) {
        throw failed(e);
      } finally {
        launch.release(usable());
      }
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      lock.unlock();
    }
  }

  /** Whether handles of the driver are still good; the lock is held. */
  private boolean usable() {
    return !closed && failure == null && context.failure() == null;
  }

  @Override
  public CausalProgram causal(Graph graph, CausalPlan plan, Value labels) {
    return new CudaCausal(this, graph, plan, labels);
  }

  @Override
  public int causalImages(int count) {
    return count <= FEW_IMAGES ? FEW_IMAGES : MANY_IMAGES;
  }

  /** Kernels, to be run one after another; their memory is the caller's. */
  CudaLaunch launchCalls(String what, List<Buffer> buffers, List<KernelCall> calls) {
    enter();
    try {
      return new KernelsLaunch(this, what, buffers, calls, List.of());
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  /** The same, recorded; whoever runs it waits with {@link #synchronize}. */
  CudaLaunch recordCalls(String what, List<Buffer> buffers, List<KernelCall> calls) {
    return record(List.of(launchCalls(what, buffers, calls)), false);
  }

  @Override
  public Launch record(List<Launch> launches) {
    return record(List.copyOf(launches), true);
  }

  private GraphLaunch record(List<Launch> parts, boolean waits) {
    enter();
    try {
      CudaGraph graph;
      Set<Buffer> buffers = new LinkedHashSet<>();
      stream.beginCapture();
      try {
        capturing = buffers;
        parts.forEach(Launch::run);
        capturing = null;
        graph = stream.endCapture();
      } catch (RuntimeException | Error e) {
        capturing = null;
        stream.abandonCapture();
        throw e;
      }
      String what =
          parts.size() == 1 ? "a graph of 1 launch" : "a graph of " + parts.size() + " launches";
      return new GraphLaunch(this, what, List.copyOf(buffers), graph, parts, waits);
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  /**
   * Gives back the device's memory and lets go of the GPU.
   *
   * @throws DeviceException if work still under way fails; the device is closed all the same
   */
  @Override
  public void close() {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      DeviceException late = null;
      if (usable()) {
        try {
          context.makeCurrent();
          synchronizeEntered();
          if (cudnn != null) {
            cudnn.close();
          }
          for (long address : allocations) {
            context.free(address);
          }
          for (CudaModule module : modules.values()) {
            module.close();
          }
          stream.close();
        } catch (CudaException e) {
          late = failed(e);
        }
      }
      closed = true;
      allocations.clear();
      try {
        context.close();
      } catch (CudaException e) {
        late = late == null ? failed(e) : late;
      }
      if (late != null) {
        throw late;
      }
    } finally {
      lock.unlock();
    }
  }
}
