package dev.gatun.engine.cpu;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.UnsupportedOpException;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.HostMemory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;

/**
 * The host processor.
 *
 * <p>Launches run on one thread of the device's own, since libgomp keeps a pool for each thread
 * that calls oneDNN; element-wise loops are split between that thread and {@link Workers}.
 */
public final class CpuDevice extends Device {
  private final Dnnl dnnl;
  private final ExecutorService executor;
  private final Workers workers;
  private final Loops loops;
  private final Scratchpad scratchpad = new Scratchpad(this);
  private final Profile profile = Boolean.getBoolean("gatun.profile") ? new Profile() : null;
  private volatile Thread thread;

  public CpuDevice() {
    this(Loops.best());
    Loops.Best.warmUp();
  }

  CpuDevice(Loops loops) {
    this.loops = loops;
    dnnl = new Dnnl();
    workers = new Workers(Runtime.getRuntime().availableProcessors() - 1);
    executor =
        Executors.newSingleThreadExecutor(task -> {
          thread = Thread.ofPlatform().daemon().name("gatun-cpu").unstarted(task);
          return thread;
        });
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
    // without AMX bf16 is slower than f32, below AVX-512 oneDNN refuses it
    return Dnnl.isa() == Dnnl.Isa.AMX ? DType.BF16 : DType.F32;
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
    Arena arena = Arena.ofShared();
    try {
      MemorySegment segment = arena.allocate(sizeBytes, 64);
      return new Buffer(
          this,
          segment.address(),
          sizeBytes,
          () -> {
            arena.close();
            released(sizeBytes);
          });
    } catch (OutOfMemoryError e) {
      arena.close();
      throw new OutOfMemoryException(
          "no room for " + sizeBytes + " bytes on cpu (" + allocatedBytes() + " in use)", e);
    }
  }

  /** The memory of a tensor on this device. */
  MemorySegment segment(Tensor tensor) {
    if (tensor.device() != this) {
      throw new IllegalArgumentException("tensor " + tensor + " is not on this device");
    }
    return HostMemory.at(tensor.address(), tensor.spec().sizeBytes());
  }

  @Override
  public void upload(MemorySegment source, Buffer target, long targetOffsetBytes) {
    submit(() -> {
      host(target, targetOffsetBytes, source.byteSize()).copyFrom(source);
      return null;
    });
  }

  @Override
  public void download(Buffer source, long sourceOffsetBytes, MemorySegment target) {
    submit(() -> {
      target.copyFrom(host(source, sourceOffsetBytes, target.byteSize()));
      return null;
    });
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
    Launch plain = submit(() -> CpuOps.prepare(this, op, inputs, outputs));
    Launch inner = profile == null ? plain : profile.timed(op.name() + " " + specs, plain);
    Set<Buffer> written = new HashSet<>();
    outputs.forEach(output -> written.add(output.buffer()));
    op.mutates().forEach(i -> written.add(inputs.get(i).buffer()));
    Buffer[] touched = written.toArray(Buffer[]::new);
    return new Launch() {
      @Override
      public void run() {
        submit(() -> {
          inner.run();
          for (Buffer buffer : touched) {
            buffer.touch();
          }
          return null;
        });
      }

      @Override
      public void close() {
        submit(() -> {
          inner.close();
          return null;
        });
      }
    };
  }

  @Override
  public Launch record(List<Launch> launches) {
    Launch[] all = launches.toArray(Launch[]::new);
    return new Launch() {
      @Override
      public void run() {
        submit(() -> {
          for (Launch launch : all) {
            launch.run();
          }
          return null;
        });
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
   */
  <T> T submit(Callable<T> task) {
    if (Thread.currentThread() == thread) {
      try {
        return task.call();
      } catch (Exception e) {
        throw rethrow(e);
      }
    }
    Future<T> result;
    try {
      result = executor.submit(task);
    } catch (RejectedExecutionException e) {
      throw new DeviceException("cpu: this device was closed", e);
    }
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

  Dnnl dnnl() {
    return dnnl;
  }

  Loops loops() {
    return loops;
  }

  Workers workers() {
    return workers;
  }

  Scratchpad scratchpad() {
    return scratchpad;
  }

  @Override
  public synchronized void close() {
    if (executor.isShutdown()) {
      return;
    }
    submit(() -> {
      scratchpad.close();
      dnnl.close();
      return null;
    });
    executor.shutdown();
    if (profile != null) {
      profile.print();
    }
    workers.close();
  }
}
