package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.requireEmulator;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.cuda.CudaDevice.Convolution;
import dev.gatun.ffi.CudaEmulator;
import dev.gatun.ffi.CudaEmulator.Order;
import dev.gatun.ffi.CudaLibrary;
import dev.gatun.ffi.CudaLibrary.Kind;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Breaks each kernel on purpose, in every way that a patch in {@code kernels/src/test/patches}
 * describes, and asks that the comparisons notice.
 */
class PatchedKernelsTest {
  private static final Path KERNELS = Path.of("..", "kernels").toAbsolutePath().normalize();
  private static final Path SOURCES = KERNELS.resolve("src/main/cuda");
  private static final Path PATCHES = KERNELS.resolve("src/test/patches");
  private static final Path WORK = Path.of("target", "patched-kernels").toAbsolutePath();

  /** In which order the threads of a block, and the seed of a shuffle. */
  private record Turn(Order order, long seed) {
    @Override
    public String toString() {
      return order == Order.SHUFFLE ? "shuffle:" + seed : order.name().toLowerCase(Locale.ROOT);
    }
  }

  private static final List<Turn> TURNS =
      List.of(new Turn(Order.FIFO, 0), new Turn(Order.LIFO, 0), new Turn(Order.SHUFFLE, 1));

  @BeforeAll
  static void prepare() throws Exception {
    requireEmulator();
    deleteAll(WORK);
    copyAll(SOURCES, WORK.resolve("whole/src"));
    build("whole");
  }

  @AfterAll
  static void usual() {
    if (CudaLibrary.isOpen(Kind.EMULATED)) {
      CudaEmulator.setOrder(Order.FIFO, 0);
      CudaEmulator.setWatchdog(Duration.ofMinutes(1));
    }
  }

  @Test
  void wholeKernelsPass() {
    for (Turn turn : TURNS) {
      List<String> failures = failures("whole", "", turn, Integer.MAX_VALUE);
      assertEquals(List.of(), failures, turn.toString());
    }
  }

  @Test
  void brokenKernelsAreCaught() throws Exception {
    List<Path> patches;
    try (Stream<Path> files = Files.list(PATCHES)) {
      patches = files.filter(f -> f.toString().endsWith(".patch")).sorted().toList();
    }
    assertFalse(patches.isEmpty());
    List<String> missed = new ArrayList<>();
    for (Path patch : patches) {
      String name = patch.getFileName().toString().replace(".patch", "");
      copyAll(WORK.resolve("whole"), WORK.resolve(name));
      SourcePatch.apply(patch, WORK.resolve(name).resolve("src"));
      build(name);
      // conv_taps-missing-barrier: the kernel's name, then what is wrong with it
      String op = name.substring(0, name.indexOf('-'));
      List<String> caught = new ArrayList<>();
      String first = null;
      for (Turn turn : TURNS) {
        List<String> failures = failures(name, op, turn, 1);
        if (!failures.isEmpty()) {
          caught.add(turn.toString());
          first = first == null ? failures.getFirst() : first;
        }
      }
      System.out.printf("%s: %s%n", name, caught.isEmpty() ? "MISSED" : caught + " " + first);
      if (caught.isEmpty()) {
        missed.add(name);
      }
    }
    System.out.printf(
        "caught %d of %d broken kernels (%d%%)%n",
        patches.size() - missed.size(),
        patches.size(),
        100 * (patches.size() - missed.size()) / patches.size());
    assertEquals(List.of(), missed, "no comparison noticed these");
  }

  /** What went wrong with a build's kernels, until there is enough of it. */
  private static List<String> failures(String build, String op, Turn turn, int enough) {
    CudaKernels kernels = new CudaKernels(Kind.EMULATED, WORK.resolve(build).resolve("out"));
    List<String> failures = new ArrayList<>();
    CudaDevice device = open(kernels);
    try {
      CudaEmulator.setOrder(turn.order(), turn.seed());
      CudaEmulator.setWatchdog(Duration.ofSeconds(30));
      for (OpCase opCase : ContractSuite.cases(device)) {
        if (!op.isEmpty() && !opCase.op().name().equals(op)) {
          continue;
        }
        Contract.Outcome outcome = Contract.check(device, opCase);
        if (!outcome.passed()) {
          failures.add(outcome.failure());
          if (failures.size() >= enough) {
            break;
          }
          // a fault takes the device with it
          device.close();
          device = open(kernels);
        }
      }
    } finally {
      device.close();
    }
    return failures;
  }

  private static CudaDevice open(CudaKernels kernels) {
    return new CudaBackend().open("emulated", Convolution.TAPS, kernels);
  }

  private static void build(String name) throws IOException, InterruptedException {
    Path folder = WORK.resolve(name);
    CudaTestSupport.Outcome outcome =
        CudaTestSupport.run(
            List.of("sh", KERNELS.resolve("build-kernels.sh").toString(), folder + "/out"),
            folder.resolve("log"),
            300,
            "KERNELS_SRC=" + folder.resolve("src"),
            "GATUN_NVCC=none");
    assertEquals(0, outcome.exitCode(), outcome.output());
  }

  /** With their times, so that what is not patched is not built again. */
  private static void copyAll(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Path copy = to.resolve(from.relativize(file).toString());
        if (Files.isDirectory(file)) {
          Files.createDirectories(copy);
        } else {
          Files.copy(file, copy, StandardCopyOption.COPY_ATTRIBUTES);
        }
      }
    }
  }

  private static void deleteAll(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    Files.walkFileTree(
        folder,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path visited, IOException error)
              throws IOException {
            Files.delete(visited);
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
