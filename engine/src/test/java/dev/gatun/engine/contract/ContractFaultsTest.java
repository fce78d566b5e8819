package dev.gatun.engine.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.contract.FaultyDevice.Fault;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.engine.op.Conv2d;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The contract itself: a device that is wrong in any way must be told so. */
class ContractFaultsTest {
  /** One case of each op, of more than one element, in f32. */
  private static Collection<OpCase> oneOfEach() {
    Map<Class<?>, OpCase> chosen = new LinkedHashMap<>();
    for (OpCase opCase : ContractSuite.cases()) {
      boolean bf16 = opCase.dtype() == DType.BF16;
      double[] first =
          Reference.run(opCase.op(), opCase.inputs(), opCase.values()).getFirst().value();
      boolean large =
          first.length > 4 || opCase.inputs().stream().anyMatch(s -> s.shape().elements() > 4);
      boolean zero = Arrays.stream(first).allMatch(v -> v == 0);
      if (!bf16 && large && !zero) {
        chosen.putIfAbsent(opCase.op().getClass(), opCase);
      }
    }
    assertEquals(Reference.ops().size(), chosen.size());
    return chosen.values();
  }

  private static int results(OpCase opCase) {
    return opCase.op().check(opCase.inputs()).size() + opCase.op().mutates().size();
  }

  /** Runs one case of each op with a fault in each of its results in turn; each must be told. */
  private static List<Contract.Outcome> spoilEachResult(
      java.util.function.IntFunction<Fault> fault) {
    List<Contract.Outcome> outcomes = new ArrayList<>();
    for (OpCase opCase : oneOfEach()) {
      for (int r = 0; r < results(opCase); r++) {
        try (FaultyDevice device = FaultyDevice.overCpu(fault.apply(r))) {
          Contract.Outcome outcome = Contract.check(device, opCase);
          assertFalse(outcome.passed(), opCase + ": nothing was said of result " + r);
          assertEquals(1, outcome.failure().lines().count(), outcome.failure());
          assertTrue(outcome.failure().contains(opCase.toString()), outcome.failure());
          outcomes.add(outcome);
        }
      }
    }
    return outcomes;
  }

  @Test
  void theWrapperAloneDoesNoHarm() {
    try (FaultyDevice device = FaultyDevice.overCpu(FaultyDevice.NONE)) {
      for (OpCase opCase : oneOfEach()) {
        Contract.Outcome outcome = Contract.check(device, opCase);
        assertNull(outcome.failure());
        assertTrue(outcome.share() <= 1, outcome.toString());
      }
    }
  }

  /** What a wrong element is off by; whole numbers are off by one at least, and never a NaN. */
  private static double step(Tensor result) {
    return result.dtype() == DType.I32 || result.dtype() == DType.U8 ? 1 : 0.01;
  }

  @Test
  void aWrongElementFails() {
    for (Contract.Outcome outcome :
        spoilEachResult(r ->
            (run, results, before) ->
                FaultyDevice.change(
                    results.get(r), -1, v -> v + 0.01 * Math.abs(v) + step(results.get(r))))) {
      assertTrue(outcome.share() > 1, outcome.toString());
      assertTrue(outcome.failure().contains("element"), outcome.failure());
    }
  }

  @Test
  void aNanFails() {
    spoilEachResult(r ->
        (run, results, before) ->
            FaultyDevice.change(
                results.get(r), 0, v -> step(results.get(r)) == 1 ? v + 1 : Double.NaN));
  }

  @Test
  void anInfinityFails() {
    spoilEachResult(r ->
        (run, results, before) ->
            FaultyDevice.change(results.get(r), 0, v -> Double.POSITIVE_INFINITY));
  }

  @Test
  void anElementNobodyWroteFails() {
    spoilEachResult(r ->
        (run, results, before) -> {
          Tensor result = results.get(r);
          byte[] now = FaultyDevice.raw(result);
          int bytes = result.dtype().bytes();
          int at = bytes * mostChanged(result, before.get(r));
          System.arraycopy(before.get(r), at, now, at, bytes);
          result.write(MemorySegment.ofArray(now));
        });
  }

  /** A step of Adam may change an element by less than its tolerance: that one would not do. */
  private static int mostChanged(Tensor result, byte[] before) {
    byte[] raw = FaultyDevice.raw(result);
    double[] now = result.toDoubles();
    double[] then = result.write(MemorySegment.ofArray(before)).toDoubles();
    result.write(MemorySegment.ofArray(raw));
    int most = now.length - 1;
    for (int i = 0; i < now.length; i++) {
      if (Math.abs(now[i] - then[i]) > Math.abs(now[most] - then[most])) {
        most = i;
      }
    }
    return most;
  }

  @Test
  void anotherBitInTheSecondRunFails() {
    // an ulp on the element of largest budget would pass the tolerance: only the bits tell
    for (OpCase opCase : oneOfEach()) {
      Fault fault =
          (run, results, before) -> {
            byte[] now = FaultyDevice.raw(results.getFirst());
            now[0] ^= (byte) (run & 1);
            results.getFirst().write(MemorySegment.ofArray(now));
          };
      try (FaultyDevice device = FaultyDevice.overCpu(fault)) {
        Contract.Outcome outcome = Contract.check(device, opCase);
        assertFalse(outcome.passed(), opCase + ": the second run differed");
        assertTrue(outcome.failure().contains("two runs"), outcome.failure());
      }
    }
  }

  @Test
  void aLaunchThatThrowsFails() {
    Fault fault =
        (run, results, before) -> {
          throw new IllegalStateException("the kernel faulted");
        };
    try (FaultyDevice device = FaultyDevice.overCpu(fault)) {
      for (OpCase opCase : oneOfEach()) {
        Contract.Outcome outcome = Contract.check(device, opCase);
        assertFalse(outcome.passed());
        assertTrue(outcome.failure().contains("the kernel faulted"), outcome.failure());
      }
      assertEquals(0, device.allocatedBytes() - device.allocatedBytes());
    }
  }

  /** A tolerance that lets f32 results through which hold 8 bits only would be no tolerance. */
  @Test
  void productsWithThePrecisionOfBf16Fail() {
    Fault fault =
        (run, results, before) -> {
          double[] values = results.getFirst().toDoubles();
          for (int i = 0; i < values.length; i++) {
            values[i] = DType.fromBf16(DType.toBf16((float) values[i]));
          }
          results.getFirst().writeDoubles(values);
        };
    try (FaultyDevice device = FaultyDevice.overCpu(fault)) {
      for (OpCase opCase : ContractSuite.cases()) {
        // sums of zeros and a bias are exact in any precision
        double[] weights = opCase.inputs().size() > 1 ? opCase.values().get(1) : new double[0];
        boolean sums = Arrays.stream(weights).anyMatch(w -> w != 0) && opCase.terms() > 3;
        // of scores of a hundred the exponentials have few digits left
        boolean attention =
            (opCase.op() instanceof Attention || opCase.op() instanceof AttentionBackward)
                && opCase.draws().getFirst().equals(new OpCase.Draw.Normal(0, 1));
        if ((opCase.op() instanceof Conv2d && sums || attention) && opCase.dtype() == DType.F32) {
          assertFalse(Contract.check(device, opCase).passed(), opCase.toString());
        }
      }
    }
  }

  /** Zeros instead of results pass only where zeros are right. */
  @Test
  void zerosFailEveryCaseThatIsNotAllZeros() {
    Fault fault =
        (run, results, before) ->
            results.forEach(
                t -> t.write(MemorySegment.ofArray(new byte[(int) t.spec().sizeBytes()])));
    try (FaultyDevice device = FaultyDevice.overCpu(fault)) {
      for (OpCase opCase : ContractSuite.cases(device)) {
        boolean zeros =
            Reference.run(opCase.op(), opCase.inputs(), opCase.values()).stream()
                .allMatch(r -> Arrays.stream(r.value()).allMatch(v -> v == 0));
        assertEquals(zeros, Contract.check(device, opCase).passed(), opCase.toString());
      }
    }
  }
}
