package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Fill;
import dev.gatun.ffi.CublasLt;
import dev.gatun.ffi.CublasLtMatmul;
import dev.gatun.ffi.CublasLtMatmul.Type;
import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaStream;
import dev.gatun.ffi.LibraryException;
import dev.gatun.kernels.CeilingKernels;
import dev.gatun.kernels.KernelCall;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a GPU does at most, to measure kernels against: bytes copied, launches, nodes of a graph,
 * barriers over a grid and over a cluster. Each result is looked at: what was not done has no time.
 */
public final class CudaCeilings {
  private static final int TRIES = 5;
  private static final int CLUSTER = 8;
  private static final int FIRST_WITH_CLUSTERS = 9;
  private static final long WORKSPACE_BYTES = 32 << 20;

  private final CudaDevice device;
  private final Owned owned = new Owned();

  private CudaCeilings(CudaDevice device) {
    this.device = device;
  }

  /**
   * Measures, the best of several tries.
   *
   * @param size 1 for a GPU; less for an emulated one, which takes a million times as long
   * @return by name: GB/s read and written together, and microseconds
   */
  public static Map<String, Double> measure(CudaDevice device, double size) {
    CudaCeilings ceilings = new CudaCeilings(device);
    try {
      return ceilings.all(size);
    } finally {
      ceilings.owned.close();
    }
  }

  private Map<String, Double> all(double size) {
    Map<String, Double> all = new LinkedHashMap<>();
    int elements = (int) Math.max(4096, size * (256 << 20) / Float.BYTES);
    all.put("copyGigabytesPerSecond", 2e-9 * Float.BYTES * elements / copy(elements));
    int launches = (int) Math.max(10, size * 2000);
    all.put("launchMicros", 1e6 * launches(launches) / launches);
    all.put("graphNodeMicros", 1e6 * nodes(launches) / launches);
    int rounds = (int) Math.max(4, size * 2000);
    // a grid that fits on the GPU whatever else is there
    int blocks = size < 1 ? 4 : device.multiprocessors();
    all.put("gridSyncMicros", 1e6 * grid(blocks, rounds) / rounds);
    if (device.capability() >= FIRST_WITH_CLUSTERS) {
      int odd = rounds | 1; // after a multiple of 8 a cluster of one would give the same
      all.put("clusterSyncMicros", 1e6 * cluster(odd) / odd);
    }
    return all;
  }

  /**
   * Products of bf16 matrices by cuBLASLt, summed in f32: what a kernel for them can be held
   * against.
   *
   * @param n rows and columns of each matrix
   * @return 1e12 operations a second, two for each term of a sum
   * @throws DeviceException in one line if there is no cuBLASLt, or it cannot
   */
  public static double matmulTeraflops(CudaDevice device, int n) {
    CudaCeilings ceilings = new CudaCeilings(device);
    try {
      return 2e-12 * n * n * n / ceilings.matmul(n);
    } catch (LibraryException | CudaException e) {
      throw new DeviceException("no bf16 product by cuBLASLt: " + e.getMessage(), e);
    } finally {
      ceilings.owned.close();
    }
  }

  private double matmul(int n) {
    Fill ones = new Fill(TensorSpec.of(DType.BF16, n, n), 1);
    Tensor x = owned.add(device.apply(ones).getFirst());
    Tensor w = owned.add(device.apply(ones).getFirst());
    Tensor y = owned.add(Tensor.allocate(device, DType.BF16, n, n));
    device.synchronize(); // makes the context current here
    CublasLt library = owned.add(CublasLt.open(device.driverMajor()));
    CublasLtMatmul product =
        owned.add(
            new CublasLtMatmul(
                library,
                new CublasLtMatmul.Spec(Type.BF16, n, n, n, false, false, false),
                0,
                WORKSPACE_BYTES));
    Buffer workspace = owned.add(device.allocate(Math.max(1, product.workspaceBytes())));
    CudaLaunch launch =
        new CudaLaunch(device, "a bf16 product", List.of(x.buffer(), w.buffer(), y.buffer())) {
          @Override
          void enqueue(CudaStream stream) {
            product.run(stream, x.address(), w.address(), y.address(), workspace.address());
          }

          @Override
          void release(boolean usable) {}
        };
    double seconds = best(owned.add(launch));
    // a power of two is what bf16 can hold of a sum of n ones
    require(Integer.bitCount(n) == 1 && y.toFloats()[n * n - 1] == n, "bf16 product");
    return seconds;
  }

  private double copy(int elements) {
    Tensor x = owned.add(Tensor.allocate(device, DType.F32, elements));
    Tensor y = owned.add(Tensor.allocate(device, DType.F32, elements));
    float[] last = {3.5f};
    device.upload(MemorySegment.ofArray(last), x.buffer(), 4L * (elements - 1));
    double seconds =
        best(List.of(CeilingKernels.copy(x.address(), y.address(), elements)), x.buffer());
    float[] copied = new float[1];
    device.download(y.buffer(), 4L * (elements - 1), MemorySegment.ofArray(copied));
    require(copied[0] == last[0], "copy");
    return seconds;
  }

  private double launches(int count) {
    Buffer ticks = owned.add(device.allocate(Integer.BYTES));
    KernelCall tick = CeilingKernels.tick(ticks.address());
    double seconds = best(Collections.nCopies(count, tick), ticks);
    require(first(ticks, 0) == count * (TRIES + 1), "tick");
    return seconds;
  }

  private double nodes(int count) {
    Buffer ticks = owned.add(device.allocate(Integer.BYTES));
    KernelCall tick = CeilingKernels.tick(ticks.address());
    CudaLaunch graph =
        owned.add(device.recordCalls("ticks", List.of(ticks), Collections.nCopies(count, tick)));
    double seconds = best(graph);
    require(first(ticks, 0) == count * (TRIES + 1), "recorded tick");
    return seconds;
  }

  private double grid(int blocks, int rounds) {
    Buffer values = owned.add(device.allocate(2L * Integer.BYTES * blocks));
    Buffer barrier = owned.add(device.allocate(Integer.BYTES));
    int even = rounds / 2 * 2; // each try goes on where the one before it ended
    double seconds =
        best(
            List.of(CeilingKernels.gridRounds(values.address(), barrier.address(), blocks, even)),
            values);
    require(first(values, blocks - 1) == even * (TRIES + 1), "grid_rounds");
    return seconds;
  }

  private double cluster(int rounds) {
    Buffer out = owned.add(device.allocate((long) Integer.BYTES * CLUSTER));
    double seconds =
        best(List.of(CeilingKernels.clusterRounds(out.address(), CLUSTER, CLUSTER, rounds)), out);
    require(first(out, 0) == rounds % CLUSTER + rounds, "cluster_rounds");
    return seconds;
  }

  private int first(Buffer buffer, int index) {
    int[] value = new int[1];
    device.download(buffer, (long) Integer.BYTES * index, MemorySegment.ofArray(value));
    return value[0];
  }

  private static void require(boolean done, String what) {
    if (!done) {
      throw new IllegalStateException(what + " gave a wrong result and has no time");
    }
  }

  private double best(List<KernelCall> calls, Buffer buffer) {
    return best(owned.add(device.launchCalls("a ceiling", List.of(buffer), calls)));
  }

  /** Seconds from the first launch to the end of the last, after one that is not counted. */
  private double best(CudaLaunch launch) {
    List<Double> seconds = new ArrayList<>();
    for (int i = 0; i <= TRIES; i++) {
      device.synchronize();
      long start = System.nanoTime();
      launch.run();
      device.synchronize();
      if (i > 0) {
        seconds.add((System.nanoTime() - start) / 1e9);
      }
    }
    return Collections.min(seconds);
  }
}
