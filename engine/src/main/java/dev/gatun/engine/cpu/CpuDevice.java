package dev.gatun.engine.cpu;

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
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.HeldMemory;
import dev.gatun.ffi.HostMemory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;

/**
 * The host processor.
 *
 * <p>Launches run on one thread of the device's own, since libgomp keeps a pool for each thread
 * that calls oneDNN; element-wise loops are split between that thread and {@link Workers}. Memory
 * is freed on that thread too, so that none goes while a launch uses it.
 */
public final class CpuDevice extends Device {
  private final Dnnl dnnl;
  private final ExecutorService executor;
  private final Workers workers;
  private final Loops loops;
  private final boolean winograd;
  private final Activations activations;
  private final CpuDevice parent;
  private final Scratchpad scratchpad = new Scratchpad(this);
  private final Profile profile = Boolean.getBoolean("gatun.profile") ? new Profile() : null;
  private final Set<OpLaunch> open = ConcurrentHashMap.newKeySet();
  private volatile Thread thread;
  private volatile boolean closed; // set on the thread, so that no launch comes after

  public CpuDevice() {
    this(Loops.best());
    Loops.Best.warmUp();
  }

  CpuDevice(Loops loops) {
    this(loops, null, Runtime.getRuntime().availableProcessors());
  }

  /** A device on another's memory, or with memory of its own where there is no other. */
  private CpuDevice(Loops loops, CpuDevice parent, int threads) {
    this.loops = loops;
    activations = new Activations(loops);
    this.parent = parent;
    winograd = !loops.tiles().isEmpty() && !"off".equals(System.getProperty("gatun.winograd"));
    dnnl = new Dnnl();
    workers = new Workers(threads - 1);
    executor =
        Executors.newSingleThreadExecutor(task -> {
          thread = Thread.ofPlatform().daemon().name("gatun-cpu").unstarted(task);
          return thread;
        });
  }

  /**
   * A device that runs on threads of its own, beside this one, and takes this one's tensors; the
   * caller closes it.
   */
  CpuDevice lane(int threads) {
    CpuDevice lane = new CpuDevice(loops, this, threads);
    try {
      lane.submit(() -> {
        Dnnl.useThreads(threads);
        return null;
      });
      return lane;
    } catch (RuntimeException | Error e) {
      lane.close();
      throw e;
    }
  }

  @Override
  public List<Device> divide(int most) {
    int cores = Runtime.getRuntime().availableProcessors();
    int count = Math.min(most, cores);
    if (parent != null || count < 2) {
      return List.of();
    }
    Owned opened = new Owned();
    List<Device> lanes = new ArrayList<>();
    try {
      for (int i = 0; i < count; i++) {
        lanes.add(opened.add(lane(cores / count)));
      }
      return lanes;
    } catch (RuntimeException | Error e) {
      opened.close();
      throw e;
    }
  }

  static String processor() {
    int cores = Runtime.getRuntime().availableProcessors();
    try {
      for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
        if (line.startsWith("model name")) {
          return line.substring(line.indexOf(':') + 1).strip() + ", " + cores + " cores";
        }
      }
    } catch (IOException e) {
      // no such file in some containers: the count alone still tells something
    }
    return cores + " cores";
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public String description() {
    return processor() + ", oneDNN " + Dnnl.version() + " (" + Dnnl.isa() + ")";
  }

  @Override
  public DType preferredDType() {
    // without instructions for it bf16 is slower than f32, below AVX-512 oneDNN refuses it
    return Dnnl.isa().compareTo(Dnnl.Isa.AVX512_BF16) >= 0 ? DType.BF16 : DType.F32;
  }

  @Override
  public String refuses(DType dtype) {
    if (dtype == DType.F32) {
      return null;
    }
    if (dtype != DType.BF16) {
      return "activations are f32 or bf16, not " + dtype.label();
    }
    return Dnnl.isa() == Dnnl.Isa.BELOW_AVX512
        ? "bf16 needs AVX-512, which this CPU lacks or ONEDNN_MAX_CPU_ISA hides: use --dtype f32"
        : null;
  }

  @Override
  protected Buffer allocateMemory(long sizeBytes) {
    if (parent != null) {
      return parent.allocateMemory(sizeBytes);
    }
    Arena arena = Arena.ofShared();
    try {
      MemorySegment segment = arena.allocate(sizeBytes, 64);
      return new Buffer(
          this,
          segment.address(),
          sizeBytes,
          () ->
              release(() -> {
                arena.close();
                released(sizeBytes);
              }));
    } catch (OutOfMemoryError e) {
      arena.close();
      throw new OutOfMemoryException(
          "no room for " + sizeBytes + " bytes on cpu (" + allocatedBytes() + " in use)", e);
    }
  }

  @Override
  protected boolean holds(Tensor tensor) {
    return super.holds(tensor) || tensor.device() == parent;
  }

  /** Whether bf16 is multiplied no more than twice as fast as f32: there is no AMX. */
  boolean multipliesBf16Slowly() {
    return Dnnl.isa() != Dnnl.Isa.AMX;
  }

  /** Whether 3x3 convolutions may be computed with fewer products: see {@link Winograd}. */
  boolean usesWinograd() {
    return winograd;
  }

  /** The memory of a tensor on this device. */
  MemorySegment segment(Tensor tensor) {
    if (!holds(tensor)) {
      throw new IllegalArgumentException("tensor " + tensor + " is not on this device");
    }
    return HostMemory.at(tensor.address(), tensor.spec().sizeBytes());
  }

  @Override
  protected boolean usesHostMemory() {
    return true;
  }

  @Override
  public void upload(MemorySegment source, Buffer target, long targetOffsetBytes) {
    requireWritable(target, "write");
    run(
        held(List.of(target), source),
        () -> host(target, targetOffsetBytes, source.byteSize()).copyFrom(anyThread(source)));
  }

  @Override
  public void download(Buffer source, long sourceOffsetBytes, MemorySegment target) {
    if (target.isReadOnly()) {
      throw new IllegalArgumentException("read of a tensor into read-only memory");
    }
    run(
        held(List.of(source), target),
        () -> anyThread(target).copyFrom(host(source, sourceOffsetBytes, target.byteSize())));
  }

  private static void requireWritable(Buffer buffer, String what) {
    if (buffer.wrapped() != null && buffer.wrapped().isReadOnly()) {
      throw new IllegalArgumentException(
          what + ": writes to a tensor in read-only memory of " + buffer.sizeBytes() + " bytes");
    }
  }

  /** Memory of a confined arena as the device's thread may see it; the caller holds it. */
  private static MemorySegment anyThread(MemorySegment memory) {
    return memory.isNative() ? HostMemory.at(memory.address(), memory.byteSize()) : memory;
  }

  /** One segment of each arena that others may close. */
  private static List<MemorySegment> held(Iterable<Buffer> buffers, MemorySegment... more) {
    List<MemorySegment> held = new ArrayList<>();
    Set<MemorySegment.Scope> scopes = new HashSet<>();
    for (Buffer buffer : buffers) {
      if (buffer.wrapped() != null && scopes.add(buffer.wrapped().scope())) {
        held.add(buffer.wrapped());
      }
    }
    for (MemorySegment memory : more) {
      if (memory.isNative() && scopes.add(memory.scope())) {
        held.add(memory);
      }
    }
    return held;
  }

  /** Runs work on the device's thread while the memory that it uses is held. */
  private void run(List<MemorySegment> held, Runnable work) {
    Callable<Void> task =
        () -> {
          work.run();
          return null;
        };
    if (Thread.currentThread() == thread) {
      submit(task); // inside a recorded launch, which holds the memory of all
    } else {
      HeldMemory.during(held, () -> submit(task));
    }
  }

  private MemorySegment host(Buffer buffer, long offsetBytes, long sizeBytes) {
    if (buffer.device() != this) {
      throw new IllegalArgumentException(
          "buffer is on " + buffer.device() + ", not on this device");
    }
    if (offsetBytes < 0 || offsetBytes + sizeBytes > buffer.sizeBytes()) {
      throw new IndexOutOfBoundsException(
          sizeBytes + " bytes at " + offsetBytes + " of a buffer of " + buffer.sizeBytes());
    }
    return HostMemory.at(buffer.address() + offsetBytes, sizeBytes);
  }

  @Override
  public boolean supports(Op op, List<TensorSpec> inputs) {
    return CpuOps.supports(op)
        && inputs.stream().allMatch(i -> i.dtype() != DType.BF16 || refuses(DType.BF16) == null);
  }

  @Override
  public Launch prepare(Op op, List<Tensor> inputs, List<Tensor> outputs) {
    List<TensorSpec> specs = inputs.stream().map(Tensor::spec).toList();
    if (!CpuOps.supports(op)) {
      throw new UnsupportedOpException(op, specs, name(), "no CPU form is registered");
    }
    for (Tensor tensor : inputs) {
      String refusal = tensor.dtype() == DType.BF16 ? refuses(DType.BF16) : null;
      if (refusal != null) {
        throw new UnsupportedOpException(op, specs, name(), refusal);
      }
    }
    Set<Buffer> written = new LinkedHashSet<>();
    outputs.forEach(output -> written.add(output.buffer()));
    op.mutates().forEach(i -> written.add(inputs.get(i).buffer()));
    written.forEach(buffer -> requireWritable(buffer, op.name()));
    Set<Buffer> used = new LinkedHashSet<>(written);
    inputs.forEach(input -> used.add(input.buffer()));
    return submit(() -> {
      Launch plain = CpuOps.prepare(this, op, inputs, outputs);
      String what = op.name() + " " + specs;
      Launch work = profile == null ? plain : profile.timed(what, plain);
      OpLaunch launch = new OpLaunch(what, work, used, written);
      open.add(launch);
      return launch;
    });
  }

  /** Work whose memory is held while it runs. */
  private abstract class HoldingLaunch implements Launch {
    final List<MemorySegment> held;

    HoldingLaunch(List<MemorySegment> held) {
      this.held = held;
    }

    /** On the device's thread. */
    abstract void work();

    @Override
    public final void run() {
      CpuDevice.this.run(held, this::work);
    }
  }

  private final class OpLaunch extends HoldingLaunch {
    private final String what;
    private final Launch inner;
    private final Buffer[] used;
    private final Buffer[] written;
    private boolean freed;

    OpLaunch(String what, Launch inner, Set<Buffer> used, Set<Buffer> written) {
      super(CpuDevice.held(used));
      this.what = what;
      this.inner = inner;
      this.used = used.toArray(Buffer[]::new);
      this.written = written.toArray(Buffer[]::new);
    }

    @Override
    void work() {
      if (freed) {
        throw new IllegalStateException(what + " on " + name() + " run after close");
      }
      for (Buffer buffer : used) {
        buffer.address(); // that of a closed one may be anybody's memory by now
      }
      inner.run();
      for (Buffer buffer : written) {
        buffer.touch();
      }
    }

    /** On the device's thread, or with the device closed: then this was done. */
    void free() {
      if (open.remove(this)) {
        freed = true;
        inner.close();
      }
    }

    @Override
    public void close() {
      release(this::free);
    }
  }

  @Override
  public Launch record(List<Launch> launches) {
    Launch[] all = launches.toArray(Launch[]::new);
    List<MemorySegment> held = new ArrayList<>();
    Set<MemorySegment.Scope> scopes = new HashSet<>();
    for (Launch launch : all) {
      if (launch instanceof HoldingLaunch holding) {
        holding.held.stream().filter(memory -> scopes.add(memory.scope())).forEach(held::add);
      }
    }
    return new HoldingLaunch(held) {
      @Override
      void work() {
        for (Launch launch : all) {
          launch.run();
        }
      }

      @Override
      public void close() {
        for (Launch launch : all) {
          launch.close();
        }
      }
    };
  }

  /**
   * Runs a task on the device's thread and waits for it. An interrupt does not cut the wait short,
   * since the caller may free what the task uses; it is kept for the caller to see.
   *
   * @throws DeviceException if the device was closed
   */
  <T> T submit(Callable<T> task) {
    try {
      return onThread(() -> {
        if (closed) {
          throw new DeviceException("cpu: this device was closed");
        }
        return task.call();
      });
    } catch (RejectedExecutionException e) {
      throw new DeviceException("cpu: this device was closed", e);
    }
  }

  /** Frees something between two tasks; once the device is closed there are none to wait for. */
  private void release(Runnable task) {
    try {
      onThread(() -> {
        task.run();
        return null;
      });
    } catch (RejectedExecutionException e) {
      task.run();
    }
  }

  private <T> T onThread(Callable<T> task) {
    if (Thread.currentThread() == thread) {
      try {
        return task.call();
      } catch (Exception e) {
        throw rethrow(e);
      }
    }
    Future<T> result = executor.submit(task);
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return result.get();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } catch (ExecutionException e) {
      throw rethrow(e.getCause());
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private static RuntimeException rethrow(Throwable cause) {
    if (cause instanceof Error error) {
      throw error;
    }
    return cause instanceof RuntimeException runtime
        ? runtime
        : new DeviceException("cpu: " + cause, cause);
  }

  /** Fewer are padded: a product of one row has other kernels. */
  @Override
  public int causalImages(int count) {
    int cores = Runtime.getRuntime().availableProcessors();
    return Math.ceilDiv(count, cores) <= 16 ? 16 : 32;
  }

  @Override
  public CausalProgram causal(Graph graph, CausalPlan plan, Value labels) {
    int cores = Runtime.getRuntime().availableProcessors();
    return new CpuCausal(this, graph, plan, labels, cores);
  }

  Dnnl dnnl() {
    return dnnl;
  }

  Loops loops() {
    return loops;
  }

  Activations activations() {
    return activations;
  }

  Workers workers() {
    return workers;
  }

  Scratchpad scratchpad() {
    return scratchpad;
  }

  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    try {
      submit(() -> {
        closed = true;
        open.forEach(OpLaunch::free); // oneDNN wants them gone before their engine
        scratchpad.close();
        dnnl.close();
        return null;
      });
    } finally {
      executor.shutdown();
      workers.close();
    }
    if (profile != null) {
      profile.print();
    }
  }
}
