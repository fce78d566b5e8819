package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.requireEmulator;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.gatun.engine.DeviceException;
import dev.gatun.engine.cuda.CudaDevice.Convolution;
import dev.gatun.ffi.CudaEmulator;
import dev.gatun.ffi.CudaEmulator.Order;
import dev.gatun.ffi.CudaLibrary;
import dev.gatun.ffi.CudaLibrary.Kind;
import dev.gatun.ffi.TestProcesses;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Breaks each kernel on purpose, in every way that a patch in {@code kernels/src/test/patches}
 * describes, and asks that the comparisons notice.
 *
 * <p>A patch's name begins with the op it breaks, {@code conv_taps-missing-barrier}, or with some
 * variants of its kernel, {@code conv_taps_bf16-swizzle}, or with one kernel's name; each kernel of
 * that name must be seen broken. The same comparison must pass with the kernels as they are, built
 * in the same way. {@code -Dgatun.test.patches=conv_taps,adam-} runs the patches whose names begin
 * so.
 */
class PatchedKernelsTest {
  private static final Path KERNELS = Path.of("..", "kernels").toAbsolutePath().normalize();
  private static final Path PATCHES = KERNELS.resolve("src/test/patches");
  private static final Path WORK = Path.of("target", "patched-kernels").toAbsolutePath();
  private static final String WHOLE = "whole";
  private static final int BUILDERS = 2;

  /** In which order the threads of a block, and the seed of a shuffle. */
  private record Turn(Order order, long seed) {
    @Override
    public String toString() {
      return order == Order.SHUFFLE ? "shuffle:" + seed : order.name().toLowerCase(Locale.ROOT);
    }
  }

  /** The one that finds most comes first. */
  private static final List<Turn> TURNS =
      List.of(new Turn(Order.LIFO, 0), new Turn(Order.FIFO, 0), new Turn(Order.SHUFFLE, 1));

  /**
   * A patch.
   *
   * @param seenBy part of the names of the comparisons to try first, or empty
   */
  private record Patch(String name, Path file, String seenBy) {
    private static final String SEEN_BY = "Seen by: ";

    static Patch read(Path file) {
      try {
        return new Patch(
            file.getFileName().toString().replace(".patch", ""),
            file,
            Files.readAllLines(file).stream()
                .filter(line -> line.startsWith(SEEN_BY))
                .map(line -> line.substring(SEEN_BY.length()))
                .findFirst()
                .orElse(""));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    String kernel() {
      return name.substring(0, name.indexOf('-'));
    }
  }

  private static final Map<String, String> MODULE_OF = new TreeMap<>(); // by kernel
  private static final Set<String> SOUND = new HashSet<>(); // comparisons that whole kernels pass
  private static List<KernelCheck> checks;

  @BeforeAll
  static void prepare() throws Exception {
    requireEmulator();
    for (String module : KernelNames.modules()) {
      KernelNames.of(module).forEach(kernel -> MODULE_OF.put(kernel, module));
    }
    deleteAll(WORK);
    build(WHOLE, null, new TreeSet<>(MODULE_OF.values()));
    try (CudaDevice device = open(WHOLE)) {
      checks =
          KernelCheck.all(device).stream()
              .sorted(Comparator.comparingLong(KernelCheck::work))
              .toList();
    }
  }

  @AfterAll
  static void usual() {
    if (CudaLibrary.isOpen(Kind.EMULATED)) {
      CudaEmulator.setOrder(Order.FIFO, 0);
      CudaEmulator.setWatchdog(Duration.ofMinutes(1));
    }
  }

  private static List<Patch> patches() throws IOException {
    try (Stream<Path> files = Files.list(PATCHES)) {
      return files.filter(f -> f.toString().endsWith(".patch")).sorted().map(Patch::read).toList();
    }
  }

  @Test
  void everyKernelIsBrokenByAPatchAndEveryPatchBreaksOne() throws Exception {
    List<Patch> patches = patches();
    Set<String> unbroken = new TreeSet<>(MODULE_OF.keySet());
    List<String> idle = new ArrayList<>();
    for (Patch patch : patches) {
      if (kernels(patch).isEmpty()) {
        idle.add(patch.name);
      }
      unbroken.removeAll(kernels(patch));
    }
    assertEquals(Set.of(), unbroken, "kernels without a patch in " + PATCHES);
    assertEquals(List.of(), idle, "there is no such kernel");
  }

  @Test
  void brokenKernelsAreCaught() throws Exception {
    String[] only = System.getProperty("gatun.test.patches", "").split(",");
    List<Patch> patches =
        patches().stream().filter(p -> Stream.of(only).anyMatch(p.name::startsWith)).toList();
    assertFalse(patches.isEmpty());
    List<String> missed = new ArrayList<>();
    // the next patches are compiled while this thread runs what is built
    try (ExecutorService builder = Executors.newFixedThreadPool(BUILDERS)) {
      Map<Patch, Future<?>> builds = new TreeMap<>(Comparator.comparing(Patch::name));
      for (Patch patch : patches) {
        builds.put(
            patch,
            builder.submit(() -> {
              build(patch.name, patch.file, modules(patch));
              return null;
            }));
      }
      try {
        for (Patch patch : patches) {
          builds.get(patch).get();
          long start = System.nanoTime();
          Map<String, String> caught = caught(patch);
          long millis = (System.nanoTime() - start) / 1_000_000;
          Set<String> kernels = kernels(patch);
          kernels.removeAll(caught.keySet());
          if (!kernels.isEmpty()) {
            missed.add(patch.name + ": " + kernels);
          }
          System.out.println(
              patch.name
                  + ": "
                  + String.join("; ", new TreeSet<>(caught.values()))
                  + (kernels.isEmpty() ? "" : " MISSED in " + kernels)
                  + ", in "
                  + millis
                  + " ms");
          deleteAll(WORK.resolve(patch.name));
        }
      } finally {
        builder.shutdownNow();
      }
    }
    System.out.printf(
        "caught %d of %d broken kernels (%d%%)%n",
        patches.size() - missed.size(),
        patches.size(),
        100 * (patches.size() - missed.size()) / patches.size());
    assertEquals(List.of(), missed, "no comparison noticed these");
  }

  private static Set<String> kernels(Patch patch) {
    if (MODULE_OF.containsKey(patch.kernel())) {
      return new TreeSet<>(Set.of(patch.kernel()));
    }
    Set<String> kernels = new TreeSet<>(MODULE_OF.keySet());
    kernels.removeIf(kernel -> !KernelCheck.matches(patch.kernel(), kernel));
    return kernels;
  }

  private static Set<String> modules(Patch patch) {
    Set<String> modules = new TreeSet<>();
    kernels(patch).forEach(kernel -> modules.add(MODULE_OF.get(kernel)));
    return modules;
  }

  /** By kernel, in which order which comparison noticed: the first that did. */
  private static Map<String, String> caught(Patch patch) {
    Map<String, String> caught = new TreeMap<>();
    Set<String> wanted = kernels(patch);
    List<KernelCheck> likelyFirst =
        checks.stream()
            .filter(check -> check.kernels().stream().anyMatch(wanted::contains))
            .sorted(Comparator.comparing(check -> !check.name().contains(patch.seenBy)))
            .toList();
    for (Turn turn : TURNS) {
      CudaDevice device = open(patch.name);
      try {
        for (KernelCheck check : likelyFirst) {
          if (check.kernels().stream().noneMatch(wanted::contains)) {
            continue;
          }
          if (!passes(device, check, turn)) {
            requireSound(check, turn);
            for (String kernel : check.kernels()) {
              if (wanted.remove(kernel)) {
                caught.put(kernel, turn + " " + check);
              }
            }
            // a fault takes the device with it
            device.close();
            device = open(patch.name);
          }
        }
      } finally {
        device.close();
      }
      if (wanted.isEmpty()) {
        break;
      }
    }
    return caught;
  }

  private static boolean passes(CudaDevice device, KernelCheck check, Turn turn) {
    CudaEmulator.setOrder(turn.order(), turn.seed());
    CudaEmulator.setWatchdog(Duration.ofSeconds(30));
    try {
      check.run(device);
      return true;
    } catch (AssertionError
        | DeviceException
        | IllegalArgumentException // good data refused
        | IllegalStateException e) {
      return false;
    }
  }

  /** What whole kernels fail at says nothing of broken ones. */
  private static void requireSound(KernelCheck check, Turn turn) {
    if (SOUND.add(turn + " " + check)) {
      try (CudaDevice device = open(WHOLE)) {
        assertEquals(true, passes(device, check, turn), turn + " " + check + ", unpatched");
      }
    }
  }

  private static CudaDevice open(String build) {
    return new CudaBackend()
        .open(
            "emulated",
            Convolution.TAPS,
            new CudaKernels(Kind.EMULATED, WORK.resolve(build).resolve("out")));
  }

  /** Compiles some modules, patched unless the patch is null; the others are the whole build's. */
  private static void build(String name, Path patch, Set<String> modules)
      throws IOException, InterruptedException {
    Path folder = WORK.resolve(name);
    Path sources = folder.resolve("src");
    Path out = Files.createDirectories(folder.resolve("out"));
    try (Stream<Path> files = Files.walk(KernelNames.SOURCES)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String base = file.getFileName().toString();
        boolean header = base.endsWith(".cuh");
        if (header || modules.contains(base.replace(".cu", ""))) {
          Path copy = sources.resolve(KernelNames.SOURCES.relativize(file));
          Files.createDirectories(copy.getParent());
          Files.copy(file, copy);
        } else {
          String image = base.replace(".cu", ".host.so");
          Files.copy(WORK.resolve(WHOLE).resolve("out").resolve(image), out.resolve(image));
        }
      }
    }
    if (patch != null) {
      SourcePatch.apply(patch, sources);
    }
    TestProcesses.Outcome outcome =
        TestProcesses.run(
            List.of("sh", KERNELS.resolve("build-kernels.sh").toString(), out.toString()),
            folder.resolve("log"),
            300,
            "KERNELS_SRC=" + sources,
            "GATUN_HOST_OPTIMIZE=-O1",
            "GATUN_NVCC=none");
    assertEquals(0, outcome.exitCode(), name + ": " + outcome.output());
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
