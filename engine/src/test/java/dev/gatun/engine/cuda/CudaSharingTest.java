package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.assertOneLine;
import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Launch;
import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.CudaEmulator;
import dev.gatun.ffi.CudaPointer;
import dev.gatun.ffi.CudaPool;
import dev.gatun.ffi.CudaStream;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Memory that has a limit, streams and memory that are the caller's, several users of one GPU. */
class CudaSharingTest {
  private static final Conv2d CONV = new Conv2d(Taps.square(3));

  private static Tensor tensor(CudaDevice device, float scale, int... dims) {
    Tensor tensor = Tensor.allocate(device, DType.F32, dims);
    float[] values = new float[tensor.elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = scale * ((i * 37 + 11) % 64 - 31);
    }
    return tensor.write(values);
  }

  @Test
  void theLimitIsKeptToAndGivenInOneLine() {
    System.setProperty("gatun.cuda.limit", "3MiB");
    try (CudaDevice device = openEmulated();
        Tensor two = Tensor.allocate(device, DType.U8, 2 << 20)) {
      assertEquals(two.spec().sizeBytes(), device.allocatedBytes());
      OutOfMemoryException e =
          // with the few bytes that the device has for itself it is more than there are
          assertThrows(OutOfMemoryException.class, () -> device.allocate(1 << 20));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("limit is 3.0 MiB, 2.0 MiB allocated"), e.getMessage());
      device.allocate((1 << 20) - 1024).close();
      System.setProperty("gatun.cuda.limit", "3 potatoes");
      assertOneLine(
          assertThrows(RuntimeException.class, CudaTestSupport::openEmulated).getMessage());
    } finally {
      System.clearProperty("gatun.cuda.limit");
    }
  }

  /** What is needed again and again grows by doubling, but not past what there is. */
  @Test
  void scratchTakesWhatThereIs() {
    System.setProperty("gatun.cuda.limit", "3MiB");
    try (CudaDevice device = openEmulated()) {
      device.synchronize(); // makes the context current here
      long first = device.scratch(1 << 20);
      long second = device.scratch((1 << 20) + 4096);
      assertNotEquals(first, second);
      assertThrows(OutOfMemoryException.class, () -> device.scratch(2 << 20));
      assertEquals(second, device.scratch(4096));
    } finally {
      System.clearProperty("gatun.cuda.limit");
    }
  }

  @Test
  void whatIsFreedIsKeptForTheNextUntilItIsTrimmed() {
    try (CudaDevice device = openEmulated()) {
      device.allocate(1 << 20).close();
      device.synchronize();
      CudaPool.Statistics kept = device.memory();
      assertTrue(kept.reservedBytes() >= 1 << 20, kept.toString());
      for (int i = 0; i < 50; i++) {
        device.allocate(1 << 20).close();
      }
      device.synchronize();
      assertEquals(kept.reservedBytes(), device.memory().reservedBytes());
      device.trim();
      assertTrue(device.memory().reservedBytes() < 1 << 20, device.memory().toString());
    }
  }

  /** Also where the caller's stream would come first, were it not for what fills the input. */
  @ParameterizedTest
  @EnumSource(CudaEmulator.Order.class)
  void opsRunOnTheCallersMemoryAndStream(CudaEmulator.Order order) {
    try (CudaDevice device = openEmulated()) {
      CudaEmulator.setOrder(order, 3);
      opsRunOnTheCallersMemoryAndStream(device);
    } finally {
      CudaEmulator.setOrder(CudaEmulator.Order.FIFO, 0);
    }
  }

  private static void opsRunOnTheCallersMemoryAndStream(CudaDevice device) {
    try (Tensor weights = tensor(device, 0.01f, 9, 5, 7);
        Tensor x = tensor(device, 0.1f, 2, 6, 5, 5)) {
      Tensor whole = device.apply(CONV, x, weights).getFirst();
      float[] expected = whole.toFloats();
      whole.close();
      device.synchronize(); // makes the context current here
      CUstream stream = new CUstream();
      JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING);
      CUdeviceptr memory = new CUdeviceptr();
      JCudaDriver.cuMemAlloc(memory, 4L * 2 * 6 * 5 * 7);
      Tensor y = device.wrap(CudaPointer.addressOf(memory), TensorSpec.of(DType.F32, 2, 6, 5, 7));
      long before = device.allocatedBytes();
      try (Launch launch =
          device.launchOn(CudaStream.external(stream), CONV, List.of(x, weights), List.of(y))) {
        launch.run();
        JCudaDriver.cuStreamSynchronize(stream);
        assertArrayEquals(expected, y.toFloats());
        x.write(new float[x.elements()]);
        launch.run();
        JCudaDriver.cuStreamSynchronize(stream);
        assertArrayEquals(new float[expected.length], y.toFloats());
      }
      assertEquals(before, device.allocatedBytes());
      JCudaDriver.cuStreamDestroy(stream);
      JCudaDriver.cuMemFree(memory);
      TensorSpec spec = TensorSpec.of(DType.F32, 1);
      assertOneLine(
          assertThrows(IllegalArgumentException.class, () -> device.wrap(2, spec)).getMessage());
      assertThrows(IllegalArgumentException.class, () -> device.wrap(0, spec));
    }
  }

  @Test
  void severalEnginesAndThreadsShareAGpu() throws Exception {
    try (CudaDevice one = openEmulated();
        CudaDevice two = openEmulated();
        ExecutorService threads = Executors.newFixedThreadPool(4)) {
      List<Callable<float[]>> tasks = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        CudaDevice device = i % 2 == 0 ? one : two;
        float scale = 0.1f * (i / 2 + 1);
        tasks.add(() -> {
          try (Tensor x = tensor(device, scale, 1, 7, 6, 8);
              Tensor w = tensor(device, 0.01f, 9, 8, 8)) {
            Graph graph = new Graph();
            Value y = graph.apply(new Relu(), graph.apply(CONV, graph.bind(x), graph.bind(w)));
            try (Program program = graph.compile(device, y)) {
              float[] last = null;
              for (int turn = 0; turn < 5; turn++) {
                program.run();
                last = program.tensor(y).toFloats();
              }
              return last;
            }
          }
        });
      }
      List<Future<float[]>> results = threads.invokeAll(tasks);
      for (int i = 0; i < 8; i += 2) {
        float[] expected = results.get(i).get();
        assertArrayEquals(expected, results.get(i + 1).get());
        if (i > 0) {
          assertFalse(java.util.Arrays.equals(expected, results.get(0).get()));
        }
      }
      assertEquals(0, one.allocatedBytes());
      assertEquals(0, two.allocatedBytes());
    }
  }

  /** Refused data is told of once; what comes after is good again. */
  @Test
  void badDataIsToldOfWhereTheResultIsAskedFor() {
    try (CudaDevice device = openEmulated();
        Tensor logits = tensor(device, 0.1f, 3, 4);
        Tensor targets = Tensor.allocate(device, DType.U8, 3)) {
      SoftmaxCrossEntropy op = new SoftmaxCrossEntropy(null);
      targets.write((byte) 0, (byte) 4, (byte) 9);
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> device.apply(op, logits, targets));
      assertTrue(
          e.getMessage()
              .matches("softmax_cross_entropy: target [49] in row [12], but .* 4 classes"),
          e.getMessage());
      targets.write((byte) 0, (byte) 3, (byte) 2);
      List<Tensor> out = device.apply(op, logits, targets);
      assertTrue(Float.isFinite(out.getFirst().toFloats()[0]));
      out.forEach(Tensor::close);
    }
  }

  /** Who runs an op hears of its data, and nobody else does. */
  @Test
  void badDataIsToldOfToWhoeverBroughtIt() throws Exception {
    try (CudaDevice device = openEmulated();
        Tensor logits = tensor(device, 0.1f, 3, 4);
        Tensor good = Tensor.allocate(device, DType.U8, 3).write((byte) 0, (byte) 3, (byte) 2);
        Tensor bad = Tensor.allocate(device, DType.U8, 3).write((byte) 0, (byte) 4, (byte) 2);
        Tensor loss = Tensor.allocate(device, DType.F32, 1);
        ExecutorService threads = Executors.newFixedThreadPool(2)) {
      SoftmaxCrossEntropy op = new SoftmaxCrossEntropy(null);
      Graph graph = new Graph();
      graph.store(graph.apply(op, graph.bind(logits), graph.bind(good)), loss);
      Callable<Void> healthy =
          () -> {
            try (Program program = graph.compile(device)) {
              for (int i = 0; i < 300; i++) {
                program.run();
                assertTrue(Float.isFinite(loss.toFloats()[0]));
              }
            }
            return null;
          };
      Callable<Void> broken =
          () -> {
            for (int i = 0; i < 300; i++) {
              assertThrows(IllegalArgumentException.class, () -> device.apply(op, logits, bad));
            }
            return null;
          };
      for (Future<Void> done : threads.invokeAll(List.of(healthy, broken))) {
        done.get();
      }
    }
  }

  /** On a stream of the caller's nobody waits to be told. */
  @Test
  void badDataOnTheCallersStreamGivesNan() {
    try (CudaDevice device = openEmulated();
        Tensor logits = tensor(device, 0.1f, 3, 4);
        Tensor targets = Tensor.allocate(device, DType.U8, 3).write((byte) 0, (byte) 4, (byte) 2);
        Tensor loss = Tensor.allocate(device, DType.F32, 1);
        Tensor nats = Tensor.allocate(device, DType.F32, 3);
        Tensor sums = Tensor.allocate(device, DType.F32, 3)) {
      device.synchronize(); // makes the context current here
      CUstream stream = new CUstream();
      JCudaDriver.cuStreamCreate(stream, CUstream_flags.CU_STREAM_NON_BLOCKING);
      SoftmaxCrossEntropy op = new SoftmaxCrossEntropy(null);
      try (CudaStream theirs = CudaStream.external(stream);
          Launch launch =
              device.launchOn(theirs, op, List.of(logits, targets), List.of(loss, nats, sums))) {
        launch.run();
        assertThrows(IllegalStateException.class, theirs::synchronize);
        JCudaDriver.cuStreamSynchronize(stream);
        assertTrue(Float.isNaN(loss.toFloats()[0]));
        targets.write((byte) 0, (byte) 1, (byte) 2);
        device.apply(op, logits, targets).forEach(Tensor::close); // hears nothing of it
        launch.run();
        JCudaDriver.cuStreamSynchronize(stream);
        assertTrue(Float.isFinite(loss.toFloats()[0]));
      }
      JCudaDriver.cuStreamDestroy(stream); // closing ours has left it as it was
    }
  }

  /** Asked to wait for each kernel, a device tells which one a fault is of. */
  @Test
  void aFaultIsToldOfItsKernel() {
    System.setProperty("gatun.debug", "sync");
    try {
      CudaDevice device = openEmulated();
      Tensor x = tensor(device, 0.1f, 1, 3, 3, 8);
      Tensor w = tensor(device, 0.1f, 1, 8, 16);
      Graph graph = new Graph();
      Value sums = graph.apply(new Conv2d(Taps.point()), graph.bind(x), graph.bind(w));
      Value y = graph.apply(new Gate(), sums);
      Program program = graph.compile(device, y);
      program.run();
      // memory that is nobody's any more
      Tensor gone = device.wrap(x.address() + (1L << 40), x.spec());
      Launch bad =
          device.launch(
              new Add(), List.of(x, gone), List.of(device.apply(new Relu(), x).getFirst()));
      CudaFaultException e = assertThrows(CudaFaultException.class, bad::run);
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains(", in add_f32 of add [[1,3,3,8] f32"), e.getMessage());
      assertThrows(CudaFaultException.class, program::run);
      program.close();
      device.close();
    } finally {
      System.clearProperty("gatun.debug");
    }
  }
}
