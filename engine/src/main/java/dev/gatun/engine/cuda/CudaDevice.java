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
import dev.gatun.ffi.PinnedMemory;
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
import java.util.regex.Matcher;
import java.util.regex.Pattern;

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
  private final CudaPool pool;
  private final CudaStaging staging;
  private final PinnedMemory refused;
  private final long refusal;
  private final long limitBytes;
  private final boolean debug = debugs();
  private final CudaKernels images;
  private final Map<String, CudaModule> modules = new HashMap<>();
  private final int multiprocessors;
  private final int capability;
  private final Set<Long> allocations = new LinkedHashSet<>();
  private CudaStream onStream;
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
    CudaLibrary.Properties properties = library.device(ordinal);
    multiprocessors = properties.multiprocessors();
    capability = properties.major();
    limitBytes = limit();
    // closed in the opposite order where a later one fails
    Owned opened = new Owned();
    try {
      context = opened.add(CudaContext.retain(library, ordinal));
      stream = opened.add(context.createStream());
      pool = opened.add(context.createPool());
      staging = opened.add(new CudaStaging(stream));
      refused = opened.add(new PinnedMemory(Refusal.BYTES));
      refusal = allocateZeroed(Refusal.MARK_BYTES);
      allocations.add(refusal);
      staging.upload(Refusal.mark(refused.segment()), refusal);
    } catch (CudaException e) {
      opened.close();
      throw new DeviceException("cannot open " + name + ": " + e.getMessage(), e);
    }
  }

  /** Bytes that {@code gatun.cuda.limit} allows; as many as there are where it says nothing. */
  private static long limit() {
    String value = System.getProperty("gatun.cuda.limit");
    if (value == null) {
      return Long.MAX_VALUE;
    }
    Matcher matcher = Pattern.compile("(\\d{1,9})([MG])iB").matcher(value);
    if (!matcher.matches()) {
      throw new DeviceException(
          "property gatun.cuda.limit is '" + value + "': expected a size such as 512MiB or 8GiB");
    }
    return Long.parseLong(matcher.group(1)) << (matcher.group(2).equals("M") ? 20 : 30);
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

  /** Throws if a kernel that has been waited for met data it cannot use. */
  private void requireAccepted() {
    Refusal found = Refusal.take(refused.segment());
    if (found != null) {
      staging.upload(Refusal.mark(refused.segment()), refusal);
      throw new IllegalArgumentException(found.message());
    }
  }

  /** Device address of what kernels say is wrong with their data. */
  long refusal() {
    return refusal;
  }

  /** Waits for a kernel that has just been put on the stream, if that is asked for. */
  void check(CudaLaunch launch, String kernel) {
    if (debug && capturing == null) {
      try {
        stream.synchronize();
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
      requireAccepted();
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
      return pool.statistics();
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
      pool.trim(0);
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
    if (sizeBytes > limitBytes - allocatedBytes()) {
      throw new OutOfMemoryException(
          name
              + " has no room for "
              + size(sizeBytes)
              + ": gatun.cuda.limit is "
              + size(limitBytes)
              + ", "
              + size(allocatedBytes())
              + " allocated here; use a smaller batch or raise the limit",
          null);
    }
    long address;
    try {
      address = pool.allocate(sizeBytes, stream);
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
        pool.free(address, stream);
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
      pool.free(address, stream);
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
      requireAccepted();
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

  /** The major compute capability. */
  int capability() {
    return capability;
  }

  CudaStream stream() {
    return stream;
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

  /**
   * An op on the caller's stream, to be run any number of times: {@link Launch#run} puts it there
   * and returns. What the stream does before and after is the caller's to order, and to wait for;
   * before {@link Launch#close} too. Several such launches, and the device's own, share nothing.
   *
   * @param stream of this GPU's primary context
   * @param inputs on this device: its own, or the caller's through {@link #wrap(long, TensorSpec)}
   * @throws dev.gatun.engine.ShapeException if a shape or dtype does not fit
   */
  public Launch launchOn(CudaStream stream, Op op, List<Tensor> inputs, List<Tensor> outputs) {
    enter();
    try {
      onStream = stream;
      Launch launch = launch(op, inputs, outputs);
      // what it needs was made on the device's stream, which the caller's does not wait for
      synchronizeEntered();
      return launch;
    } catch (CudaException e) {
      throw failed(e);
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
      launch.enqueue(launch.stream() == null ? stream : launch.stream());
      if (launch.waits()) {
        synchronizeEntered();
        requireAccepted();
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
            requireAccepted();
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
      if (usable()) {
        try {
          context.makeCurrent();
          synchronizeEntered();
          if (cudnn != null) {
            cudnn.close();
          }
          for (long address : allocations) {
            pool.free(address, stream);
          }
          synchronizeEntered();
          for (CudaModule module : modules.values()) {
            module.close();
          }
          refused.close();
          staging.close();
          pool.close();
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
