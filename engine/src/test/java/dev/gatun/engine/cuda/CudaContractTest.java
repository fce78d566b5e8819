package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static dev.gatun.ffi.TestProcesses.java;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.cuda.CudaDevice.Convolution;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.ffi.CudaEmulator;
import dev.gatun.ffi.TestProcesses;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Convolutions by cuDNN against the reference; on real GPUs every op. The emulated GPU's other ops
 * are {@link dev.gatun.engine.contract.ContractTest}'s.
 */
class CudaContractTest {
  @AfterEach
  void usualOrder() {
    if (dev.gatun.ffi.CudaLibrary.isOpen(dev.gatun.ffi.CudaLibrary.Kind.EMULATED)) {
      CudaEmulator.setOrder(CudaEmulator.Order.FIFO, 0);
    }
  }

  @ParameterizedTest
  @CsvSource({"FIFO,0", "SHUFFLE,3"})
  void convolutionsByCudnn(CudaEmulator.Order order, long seed) {
    Convolution convolution = Convolution.CUDNN;
    try (CudaDevice device = openEmulated(convolution)) {
      CudaEmulator.setOrder(order, seed);
      double worst = checkAll(device, c -> c.op() instanceof Conv2d);
      System.out.printf(
          "%s, %s order, seed %d: at most %.3f of the error budget%n",
          convolution, order, seed, worst);
      assertEquals(0, device.allocatedBytes());
    }
  }

  /** In a process of its own, which NVIDIA's driver cannot share with the emulator. */
  @TestFactory
  List<DynamicTest> real(@TempDir Path folder) {
    if (!Files.exists(Path.of("/dev/nvidiactl"))) {
      return List.of();
    }
    return List.of(
        DynamicTest.dynamicTest(
            "on this machine's GPUs",
            () -> {
              TestProcesses.Outcome outcome =
                  java(OnRealDevices.class, List.of(), folder.resolve("log"));
              System.out.print(outcome.output());
              assertEquals(0, outcome.exitCode(), outcome.output());
            }));
  }

  private static double checkAll(CudaDevice device, Predicate<OpCase> wanted) {
    List<OpCase> cases = ContractSuite.cases(device).stream().filter(wanted).toList();
    assertFalse(cases.isEmpty());
    double worst = 0;
    List<String> failures = new ArrayList<>();
    for (OpCase opCase : cases) {
      Contract.Outcome outcome = Contract.check(device, opCase);
      if (!outcome.passed()) {
        failures.add(outcome.failure());
      }
      worst = Math.max(worst, outcome.share());
    }
    assertTrue(failures.isEmpty(), String.join("\n", failures));
    return worst;
  }

  /** The same on NVIDIA's driver, and the two convolutions side by side. */
  static final class OnRealDevices {
    public static void main(String[] arguments) {
      List<DeviceInfo> found =
          new CudaBackend().probe().stream().filter(d -> d.name().startsWith("cuda")).toList();
      List<DeviceInfo> usable = found.stream().filter(DeviceInfo::usable).toList();
      if (usable.isEmpty()) {
        found.forEach(d -> System.out.println(d.name() + ": " + d.problem()));
        System.exit(1);
      }
      for (DeviceInfo info : usable) {
        for (Convolution convolution : Convolution.values()) {
          if (convolution == Convolution.CUDNN
              && info.description().stream().anyMatch(s -> s.startsWith("cuDNN: not there"))) {
            System.out.println(info.name() + ": no cuDNN");
            continue;
          }
          try (CudaDevice device = new CudaBackend().open(info.name(), convolution)) {
            System.out.printf(
                "%s, %s: at most %.3f of the error budget%n",
                device.description(), convolution, checkAll(device, c -> true));
          }
        }
      }
    }
  }
}
