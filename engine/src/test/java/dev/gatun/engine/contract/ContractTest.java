package dev.gatun.engine.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Op;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import dev.gatun.ffi.CudaEmulator;
import dev.gatun.ffi.CudaEmulator.Order;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * The whole contract suite on every device named in {@code -Dgatun.test.devices=cpu,emulated}; the
 * emulated GPU runs it in each order of threads. {@code -Dgatun.test.case=N} runs one case alone,
 * {@code -Dgatun.test.devices=emulated:lifo} one order alone.
 */
class ContractTest {
  private static final String DEVICES = "gatun.test.devices";
  private static final String CASE = "gatun.test.case";
  private static final String DRIVER = "gatun.cuda.driver";
  private static final long SHUFFLE_SEED = 7;

  private static final Map<String, Device> OPEN = new HashMap<>();

  /** Where a case runs: a device and, for the emulated one, the order of its threads. */
  private record Place(String device, Order order) {
    String label() {
      return order == null ? device : device + ":" + order.name().toLowerCase(Locale.ROOT);
    }

    static Stream<Place> of(String label) {
      String[] parts = label.split(":");
      if (!parts[0].equals("emulated")) {
        return Stream.of(new Place(label, null));
      }
      return parts.length > 1
          ? Stream.of(new Place(parts[0], Order.valueOf(parts[1].toUpperCase(Locale.ROOT))))
          : Stream.of(Order.values()).map(order -> new Place(parts[0], order));
    }
  }

  @BeforeAll
  static void oneDriver() {
    // a process has one driver; where there is a real GPU nothing may open it before these tests
    if (System.getProperty(DRIVER) == null && devices().contains("emulated")) {
      System.setProperty(DRIVER, "emulated");
    }
  }

  @AfterAll
  static void closeDevices() {
    OPEN.forEach((name, device) -> {
      if (name.equals("emulated")) {
        CudaEmulator.setOrder(Order.FIFO, 0);
      }
      device.close();
      assertEquals(0, device.allocatedBytes(), name + ": bytes that nobody freed");
    });
    OPEN.clear();
  }

  private static String devices() {
    return System.getProperty(DEVICES, "cpu,emulated");
  }

  @TestFactory
  Stream<DynamicNode> everyCaseOnEveryDevice() {
    return Stream.of(devices().split(","))
        .flatMap(Place::of)
        .map(place -> dynamicContainer(place.label(), tests(place)));
  }

  private static Stream<DynamicNode> tests(Place place) {
    DeviceInfo missing = missing(place.device());
    if (missing != null) {
      return Stream.of(dynamicTest(missing.name(), () -> skip(missing)));
    }
    Device device = OPEN.computeIfAbsent(place.device(), Devices::open);
    List<OpCase> cases = ContractSuite.cases();
    List<DynamicNode> tests = new ArrayList<>();
    for (int n : chosen(cases.size())) {
      OpCase opCase = cases.get(n);
      if (device.supports(opCase.op(), opCase.inputs())) {
        tests.add(dynamicTest(n + " " + opCase, () -> run(place, device, n, opCase)));
      }
    }
    assertFalse(
        tests.isEmpty() && System.getProperty(CASE) == null, place.label() + " runs no case");
    return tests.stream();
  }

  /** The case that {@code -Dgatun.test.case} names, or all. */
  private static int[] chosen(int count) {
    String only = System.getProperty(CASE);
    return only == null ? IntStream.range(0, count).toArray() : new int[] {Integer.parseInt(only)};
  }

  private static void run(Place place, Device device, int n, OpCase opCase) {
    if (place.order() != null) {
      CudaEmulator.setOrder(place.order(), SHUFFLE_SEED);
    }
    Contract.Outcome outcome = Contract.check(device, opCase);
    assertTrue(outcome.passed(), () -> outcome.failure() + "\n" + rerun(place, n));
    assertTrue(outcome.share() <= 1, () -> "share " + outcome.share() + "\n" + rerun(place, n));
  }

  private static String rerun(Place place, int n) {
    return "run it again: mvn -pl engine -am test -Dsurefire.failIfNoSpecifiedTests=false"
        + (" -Dtest=ContractTest -D" + DEVICES + "=" + place.label() + " -D" + CASE + "=" + n);
  }

  /** What is wrong with a device of this machine; null if nothing is. */
  private static DeviceInfo missing(String name) {
    return Devices.list().stream()
        .filter(d -> d.name().equals(name) && !d.usable())
        .findFirst()
        .orElse(null);
  }

  private static void skip(DeviceInfo missing) {
    if (missing.name().equals("cpu") || "true".equals(System.getenv("CI"))) {
      fail(missing.name() + ": " + missing.problem());
    }
    assumeTrue(false, missing.problem());
  }

  @Test
  void aFailureNamesTheLineThatRunsItAloneAndThatLineDoes() {
    String devices = System.getProperty(DEVICES);
    String only = System.getProperty(CASE);
    List<OpCase> cases = ContractSuite.cases();
    try (Device broken = FaultyDevice.overCpu(FaultyDevice.NAN)) {
      AssertionError error = null;
      try {
        run(new Place("cpu", null), broken, 3, cases.get(3));
      } catch (AssertionError e) {
        error = e;
      }
      assertTrue(error != null, "a NaN passed");
      for (String option : error.getMessage().lines().toList().getLast().split(" ")) {
        if (option.startsWith("-D")) {
          String[] pair = option.substring(2).split("=", 2);
          if (pair[0].startsWith("gatun.")) {
            System.setProperty(pair[0], pair[1]);
          }
        }
      }
      List<DynamicNode> nodes = everyCaseOnEveryDevice().toList();
      assertEquals(List.of("cpu"), nodes.stream().map(DynamicNode::getDisplayName).toList());
      assertEquals(
          List.of("3 " + cases.get(3)),
          tests(new Place("cpu", null)).map(DynamicNode::getDisplayName).toList());
    } finally {
      restore(DEVICES, devices);
      restore(CASE, only);
    }
  }

  private static void restore(String key, String value) {
    if (value == null) {
      System.clearProperty(key);
    } else {
      System.setProperty(key, value);
    }
  }

  @Test
  void everyOpHasAReferenceAndCases() throws Exception {
    Set<Class<?>> declared = new HashSet<>();
    Path classes =
        Path.of(Op.class.getProtectionDomain().getCodeSource().getLocation().toURI())
            .resolve("dev/gatun/engine/op");
    try (Stream<Path> files = Files.list(classes)) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        if (name.endsWith(".class") && !name.contains("$")) {
          Class<?> type = Class.forName("dev.gatun.engine.op." + name.replace(".class", ""));
          if (Op.class.isAssignableFrom(type)) {
            declared.add(type);
          }
        }
      }
    }
    assertTrue(declared.size() >= 19, "found " + declared);
    assertEquals(declared, Set.copyOf(Reference.ops()));
    assertEquals(
        declared,
        ContractSuite.cases().stream().map(c -> c.op().getClass()).collect(Collectors.toSet()));
    Set<Class<?>> inF32Alone =
        Set.of(
            SquaredNorm.class,
            Adam.class,
            WeightNorm.class,
            WeightNormBackward.class,
            Conv2dUnit.class, // FusionTest has it
            MaskChannels.class,
            FoldUpsampling.class,
            FoldUpsamplingBackward.class,
            DiffusionTimes.class,
            GaussianKl.class,
            GaussianKlBackward.class,
            GaussianMixture.class,
            GaussianMixtureBackward.class,
            GaussianSample.class,
            GaussianSampleBackward.class,
            KlObjective.class,
            KlObjectiveBackward.class,
            LogisticMixture.class,
            MovingAverage.class,
            Codebook.class,
            GumbelSoftmax.class,
            GumbelSoftmaxBackward.class,
            CategoricalSample.class,
            CategoricalKl.class,
            CategoricalKlBackward.class,
            CategoricalLogProbability.class,
            ImageLikelihood.class,
            ImportanceBound.class,
            ImportanceBoundBackward.class,
            IafStep.class,
            IafStepBackward.class);
    Set<Class<?>> inBf16 = new HashSet<>(declared);
    inBf16.removeAll(inF32Alone);
    assertEquals(
        inBf16,
        ContractSuite.cases().stream()
            .filter(c ->
                c.op().check(c.inputs()).stream().anyMatch(s -> s.dtype() == DType.BF16)
                    || c.dtype() == DType.BF16)
            .map(c -> c.op().getClass())
            .collect(Collectors.toSet()));
  }

  @Test
  void theCpuRunsEveryCaseItsProcessorCan() {
    try (Device cpu = Devices.open("cpu")) {
      boolean bf16 = cpu.refuses(DType.BF16) == null;
      for (OpCase opCase : ContractSuite.cases()) {
        if (bf16 || opCase.dtype() != DType.BF16) {
          assertTrue(cpu.supports(opCase.op(), opCase.inputs()), opCase.toString());
        }
      }
      if (!bf16) {
        assertFalse(
            ContractSuite.cases(cpu).stream().anyMatch(c -> c.dtype() == DType.BF16),
            "bf16 is refused and yet supported");
      }
    }
  }

  @Test
  void casesAreTheSameEveryTime() {
    List<OpCase> first = ContractSuite.cases();
    List<OpCase> second = ContractSuite.cases();
    assertEquals(first, second);
    assertEquals(first.size(), first.stream().map(OpCase::seed).distinct().count());
    for (int i = 0; i < first.size(); i++) {
      List<double[]> a = first.get(i).values();
      List<double[]> b = second.get(i).values();
      for (int j = 0; j < a.size(); j++) {
        org.junit.jupiter.api.Assertions.assertArrayEquals(a.get(j), b.get(j));
      }
    }
  }
}
