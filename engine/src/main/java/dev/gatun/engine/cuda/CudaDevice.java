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
import dev.gatun.engine.Owned;
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
import dev.gatun.ffi.CudaPool;
import dev.gatun.ffi.CudaStaging;
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
  private final Owned opened = new Owned(); // in the context, which ends after them
  private final CudaStream stream;
  private final CudaMemory memory;
  private final CudaStaging staging;
  private final Refusals refusals;
  private final boolean debug = debugs();
  private final CudaKernels images;
  private final Map<String, CudaModule> modules = new HashMap<>();
  private final int multiprocessors;
  private final int capability;
  private CudaStream onStream;
  private Cudnn cudnn;

  // what was put on the stream since it was last empty; the last RECENT of it by name
  private final CudaLaunch[] recent = new CudaLaunch[RECENT];
  private long submitted;
  private boolean pending; // whether the stream has anything to do
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
    CudaLibrary.Properties properties = library.device(ordinal);
    multiprocessors = properties.multiprocessors();
    capability = properties.major();
    long limitBytes = CudaMemory.limit();
    Owned all = new Owned();
    try {
      context = all.add(CudaContext.retain(library, ordinal));
      all.add(opened);
      stream = opened.add(context.createStream());
      memory = opened.add(new CudaMemory(name, context, stream, limitBytes));
      staging = opened.add(new CudaStaging(stream));
      refusals = opened.add(new Refusals(memory, staging));
    } catch (CudaException e) {
      abandon(all, e);
      throw new DeviceException("cannot open " + name + ": " + e.getMessage(), e);
    } catch (RuntimeException | Error e) {
      abandon(all, e);
      throw e;
    }
  }

  private static void abandon(Owned opened, Throwable failure) {
    try {
      opened.close();
    } catch (RuntimeException e) {
      failure.addSuppressed(e);
    }
  }

  /** Whether each kernel is waited for, so that a fault is told of the one that made it. */
  private static boolean debugs() {
    String value = System.getProperty("gatun.debug", System.getenv("GATUN_DEBUG"));
    return value != null && List.of(value.toLowerCase(Locale.ROOT).split(",")).contains("sync");
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
    // f32 leaves the tensor cores idle; there are none in the emulator
    return context.library().kind() == CudaLibrary.Kind.REAL ? DType.BF16 : DType.F32;
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

  private DeviceException failed(CudaException e) {
    return failed(e, null);
  }

  /**
   * Puts an error of the driver in the device's words; a fatal one ends the device.
   *
   * @param what was being done, or null
   */
  private DeviceException failed(CudaException e, String what) {
    if (!e.isFatal()) {
      return new DeviceException(
          name + ": " + (what == null ? "" : what + ": ") + e.getMessage(), e);
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
    for (long i = Math.max(0, submitted - RECENT); i < submitted; i++) {
      names.add(recent[(int) (i % RECENT)].toString());
    }
    return (submitted == 1 ? ", while running " : ", while running " + submitted + " launches: ")
        + (submitted > RECENT ? "... " : "")
        + String.join(", ", names)
        + (debug ? "" : " (gatun.debug=sync tells the kernel)");
  }

  private void synchronizeEntered() {
    stream.synchronize();
    submitted = 0;
    pending = false;
  }

  /** Device address of what kernels say is wrong with their data. */
  long refusal() {
    return refusals.address();
  }

  /** Waits for a kernel that has just been put on the stream, if that is asked for. */
  void check(CudaLaunch launch, String kernel) {
    if (debug && capturing == null) {
      try {
        context.synchronize(); // the launch may be on a stream of the caller's
      } catch (CudaException e) {
        if (!e.isFatal()) {
          throw e;
        }
        context.fail(e);
        failure =
            new CudaFaultException(
                name + " failed: " + e.getMessage() + ", in " + kernel + " of " + launch, e);
        throw failure;
      }
    }
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

  /** What the device's pool has given out, and what it holds. */
  public CudaPool.Statistics memory() {
    enter();
    try {
      return memory.statistics();
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  /** Gives the GPU back what the pool holds and nobody uses. */
  public void trim() {
    enter();
    try {
      synchronizeEntered();
      memory.trim();
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  @Override
  protected Buffer allocateMemory(long sizeBytes) {
    if (sizeBytes < 0) {
      throw new IllegalArgumentException("allocation of " + sizeBytes + " bytes");
    }
    enter();
    try {
      long address = memory.allocate(Math.max(1, sizeBytes));
      pending = true;
      return new Buffer(this, address, sizeBytes, () -> free(address, sizeBytes));
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  /** Never throws for what went wrong before: closing has to work on every path. */
  private void free(long address, long sizeBytes) {
    lock.lock();
    try {
      released(sizeBytes);
      if (usable()) { // else the memory went with the device or with its context
        context.makeCurrent();
        memory.free(address);
      }
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
      staging.upload(source, address);
      pending = true;
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
      staging.download(address, target);
      submitted = 0;
      pending = false;
    } catch (CudaException e) {
      throw failed(e);
    } finally {
      leave();
    }
  }

  private long place(Buffer buffer, long offsetBytes, long sizeBytes) {
    requireOwn(buffer);
    if (offsetBytes < 0 || sizeBytes > buffer.sizeBytes() - offsetBytes) {
      throw new IndexOutOfBoundsException(
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
      if (convolution == Convolution.CUDNN && onStream == null && op instanceof Conv2d conv) {
        CudaLaunch launch = CudnnConvolution.prepare(this, conv, inputs, outputs);
        if (launch != null) {
          return launch;
        }
      }
      return CudaOps.prepare(this, op, inputs, outputs);
    } catch (CudaException e) {
      throw failed(e, CudaLaunch.describe(op, inputs));
    } finally {
      leave();
    }
  }

  /** A kernel of ours; the device is entered. */
  CudaFunction function(String module, String kernel) {
    return modules
        .computeIfAbsent(module, m -> opened.add(images.load(context, m)))
        .function(kernel);
  }

  int multiprocessors() {
    return multiprocessors;
  }

  /** The major compute capability. */
  int capability() {
    return capability;
  }

  /** The driver's major version of CUDA. */
  int driverMajor() {
    return context.library().version() / 1000;
  }

  CudaStream stream() {
    return stream;
  }

  /** As {@link CudaMemory#scratch}; the device is entered. */
  long scratch(long sizeBytes) {
    return memory.scratch(sizeBytes);
  }

  /** cuDNN on this device's stream; the device is entered. */
  Cudnn cudnn() {
    if (cudnn == null) {
      cudnn = opened.add(new Cudnn(context.library(), stream));
    }
    return cudnn;
  }

  /**
   * An op on the caller's stream, to be run any number of times: {@link Launch#run} puts it there
   * and returns. What the device had to do before, such as to fill an input, is done then; what the
   * stream does before and after is the caller's to order, and to wait for; before {@link
   * Launch#close} too. Several such launches, and the device's own, share nothing. Where an op
   * refuses its data, such as a label that there is not, the results are NaN and nobody is told.
   *
   * @param stream of this GPU's primary context
   * @param inputs on this device: its own, or the caller's through {@link #wrap(long, TensorSpec)}
   * @throws dev.gatun.engine.ShapeException if a shape or dtype does not fit
   */
  public Launch launchOn(CudaStream stream, Op op, List<Tensor> inputs, List<Tensor> outputs) {
    enter();
    try {
      onStream = stream;
      return launch(op, inputs, outputs);
    } finally {
      onStream = null;
      leave();
    }
  }

  /**
   * A tensor in device memory of the caller's, which stays the caller's.
   *
   * @param address on this GPU; work that fills it is on the caller's stream, or done
   */
  public Tensor wrap(long address, TensorSpec spec) {
    if (address == 0 || address % spec.dtype().bytes() != 0) {
      throw new IllegalArgumentException(
          "device address 0x"
              + Long.toHexString(address)
              + " to wrap as "
              + spec
              + " must be a multiple of "
              + spec.dtype().bytes()
              + " and not null");
    }
    Buffer buffer = new Buffer(this, address, spec.sizeBytes(), () -> {});
    return Tensor.view(buffer, 0, spec);
  }

  /** The stream of the launch that is being prepared, if it is not the device's own. */
  CudaStream onStream() {
    return onStream;
  }

  /**
   * Puts a launch on the stream. One that may refuse its data is waited for before anybody else
   * comes, so a refusal that is found is its own.
   */
  void submit(CudaLaunch launch) {
    enter();
    try {
      launch.requireOpen();
      if (capturing != null) {
        capturing.addAll(List.of(launch.buffers()));
        launch.enqueue(stream);
        return;
      }
      if (launch.stream() != null) {
        if (pending) {
          synchronizeEntered(); // the caller's stream does not wait for the device's
        }
        launch.enqueue(launch.stream());
        return;
      }
      recent[(int) (submitted % RECENT)] = launch;
      submitted++;
      pending = true;
      launch.enqueue(stream);
      if (launch.waits()) {
        synchronizeEntered();
        refusals.requireNone();
      }
    } catch (CudaException e) {
      throw failed(e, launch.toString());
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
      return new KernelsLaunch(this, what, buffers, calls, List.of(), false);
    } catch (CudaException e) {
      throw failed(e, what);
    } finally {
      leave();
    }
  }

  /** The same, recorded; whoever runs it waits with {@link #synchronize}. */
  CudaLaunch recordCalls(String what, List<Buffer> buffers, List<KernelCall> calls) {
    CudaLaunch launch = launchCalls(what, buffers, calls);
    try {
      return record(List.of(launch), false);
    } catch (RuntimeException | Error e) {
      launch.close();
      throw e;
    }
  }

  @Override
  public Launch record(List<Launch> launches) {
    return record(List.copyOf(launches), true);
  }

  private CudaLaunch record(List<Launch> parts, boolean waits) {
    if (debug) {
      return new SequenceLaunch(this, parts, waits);
    }
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
      boolean usable = usable();
      closed = true;
      if (usable) {
        try {
          context.makeCurrent();
          synchronizeEntered();
          opened.close();
        } catch (CudaException e) {
          late = failed(e);
        }
      }
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
