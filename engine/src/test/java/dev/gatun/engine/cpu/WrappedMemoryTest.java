package dev.gatun.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.op.Relu;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Ops on memory of the caller's, wherever it lies. */
class WrappedMemoryTest {
  private static final int BAND = 64;
  private static final byte MARK = 0x5A;

  /** A tensor one element past a multiple of 64 bytes, between bands that nobody may write to. */
  private record Odd(MemorySegment all, Tensor tensor) {
    static Odd make(CpuDevice device, Arena arena, TensorSpec spec) {
      int start = BAND + spec.dtype().bytes();
      MemorySegment all = arena.allocate(start + spec.sizeBytes() + BAND, 64).fill(MARK);
      return new Odd(all, device.wrap(all.asSlice(start, spec.sizeBytes()), spec));
    }

    void assertBandsAreWhole(String what) {
      long start = BAND + tensor.dtype().bytes();
      for (long i = 0; i < all.byteSize(); i++) {
        if (i < start || i >= start + tensor.spec().sizeBytes()) {
          assertEquals(MARK, all.get(ValueLayout.JAVA_BYTE, i), what + ": byte " + (i - start));
        }
      }
    }
  }

  /** Every op computes the same bits there as in memory of the device's own. */
  @Test
  void everyOpRunsOnMemoryAlignedToAnElement() {
    try (CpuDevice device = new CpuDevice()) {
      List<OpCase> cases = ContractSuite.cases(device);
      assertTrue(cases.size() > 100);
      for (OpCase opCase : cases) {
        List<byte[]> expected = new ArrayList<>();
        List<Tensor> own = new ArrayList<>();
        List<Tensor> results = tensors(opCase, spec -> Tensor.allocate(device, spec), own);
        run(device, opCase, own, results);
        results.forEach(t -> expected.add(bytes(t)));
        own.forEach(Tensor::close);
        results.forEach(Tensor::close);

        try (Arena arena = Arena.ofConfined()) {
          List<Odd> odd = new ArrayList<>();
          List<Tensor> inputs = new ArrayList<>();
          List<Tensor> wrapped =
              tensors(
                  opCase,
                  spec -> {
                    odd.add(Odd.make(device, arena, spec));
                    return odd.getLast().tensor();
                  },
                  inputs);
          run(device, opCase, inputs, wrapped);
          for (int r = 0; r < expected.size(); r++) {
            assertArrayEquals(expected.get(r), bytes(wrapped.get(r)), opCase + ", result " + r);
          }
          odd.forEach(o -> o.assertBandsAreWhole(opCase.toString()));
        }
      }
    }
  }

  private interface Maker {
    Tensor make(TensorSpec spec);
  }

  /** Adds the op's inputs to a list and returns what it writes to: outputs, then changed inputs. */
  private static List<Tensor> tensors(OpCase opCase, Maker maker, List<Tensor> inputs) {
    List<double[]> values = opCase.values();
    for (int i = 0; i < values.size(); i++) {
      inputs.add(maker.make(opCase.inputs().get(i)).writeDoubles(values.get(i)));
    }
    List<Tensor> results = new ArrayList<>();
    opCase.op().check(opCase.inputs()).forEach(spec -> results.add(maker.make(spec)));
    opCase.op().mutates().forEach(i -> results.add(inputs.get(i)));
    return results;
  }

  private static void run(
      CpuDevice device, OpCase opCase, List<Tensor> inputs, List<Tensor> results) {
    int outputs = results.size() - opCase.op().mutates().size();
    device.run(opCase.op(), inputs, results.subList(0, outputs));
  }

  private static byte[] bytes(Tensor tensor) {
    byte[] bytes = new byte[(int) tensor.spec().sizeBytes()];
    tensor.read(MemorySegment.ofArray(bytes));
    return bytes;
  }

  /** Whoever closes the arena while an op is under way is told so; the op ends as it should. */
  @Test
  @Timeout(20)
  void anArenaCannotBeClosedUnderARun() throws Exception {
    for (boolean recorded : new boolean[] {false, true}) {
      try (CpuDevice device = new CpuDevice()) {
        Arena arena = Arena.ofShared();
        MemorySegment y = arena.allocate(8, 4);
        Tensor from = device.wrap(arena.allocateFrom(ValueLayout.JAVA_FLOAT, -1, 2), DType.F32, 2);
        Launch one =
            device.launch(new Relu(), List.of(from), List.of(device.wrap(y, DType.F32, 2)));
        try (Launch launch = recorded ? device.record(List.of(one)) : one) {
          CountDownLatch gate = new CountDownLatch(1);
          Thread blocker =
              Thread.ofPlatform()
                  .start(() ->
                      device.submit(() -> {
                        gate.await();
                        return null;
                      }));
          waitUntilItWaits(blocker);
          FutureTask<float[]> run =
              new FutureTask<>(() -> {
                launch.run();
                return y.toArray(ValueLayout.JAVA_FLOAT);
              });
          Thread runner = Thread.ofPlatform().start(run);
          waitUntilItWaits(runner);
          try {
            assertThrows(IllegalStateException.class, arena::close);
          } finally {
            gate.countDown();
          }
          assertArrayEquals(new float[] {0, 2}, run.get());
          arena.close();
          assertThrows(IllegalStateException.class, launch::run);
        }
      }
    }
  }

  private static void waitUntilItWaits(Thread thread) throws InterruptedException {
    while (thread.getState() != Thread.State.WAITING) {
      TimeUnit.MILLISECONDS.sleep(1);
    }
  }
}
