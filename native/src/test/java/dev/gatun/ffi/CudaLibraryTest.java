package dev.gatun.ffi;

import static dev.gatun.ffi.CudaTestSupport.assertOneLine;
import static dev.gatun.ffi.CudaTestSupport.namesIn;
import static dev.gatun.ffi.CudaTestSupport.requireEmulator;
import static dev.gatun.ffi.TestProcesses.java;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.ffi.CudaLibrary.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** One driver a process; natives from our folder alone. */
class CudaLibraryTest {
  @BeforeEach
  void emulator() {
    requireEmulator();
  }

  @Test
  void describesTheEmulatedDevice() {
    CudaLibrary library = CudaLibrary.open(Kind.EMULATED);
    assertTrue(library.version() >= 13_000);
    assertEquals(1, library.deviceCount());
    CudaLibrary.Properties device = library.device(0);
    assertTrue(device.name().contains("emulated"), device.name());
    assertTrue(device.major() >= 8);
    assertTrue(device.totalBytes() > 0);
    assertEquals("9", library.dnnVersion().split("\\.")[0]);
  }

  @Test
  void aProcessorWithoutAvx2IsRefused(@TempDir Path folder) throws Exception {
    Path cpuinfo = folder.resolve("cpuinfo");
    Files.writeString(cpuinfo, "model name : old\nflags : fpu bmi2 f16c fma movbe avx\n");
    LibraryException e =
        assertThrows(LibraryException.class, () -> CudaLibrary.requireProcessor(cpuinfo));
    assertOneLine(e.getMessage());
    assertTrue(e.getMessage().endsWith("this one lacks avx2"), e.getMessage());
    Files.writeString(cpuinfo, "flags\t\t: fpu bmi2 f16c fma movbe avx avx2\n");
    CudaLibrary.requireProcessor(cpuinfo);
  }

  @Test
  void asSecondDriverTheRealOneIsRefused() {
    CudaLibrary library = CudaLibrary.open(Kind.EMULATED);
    LibraryException e = assertThrows(LibraryException.class, () -> CudaLibrary.open(Kind.REAL));
    assertOneLine(e.getMessage());
    assertTrue(e.getMessage().contains("a process has one only"), e.getMessage());
    assertTrue(e.getMessage().contains(library.file().file().toString()), e.getMessage());
    assertTrue(CudaLibrary.refuses(Kind.REAL).contains("the CUDA emulator"));
    assertEquals(library, CudaLibrary.open(Kind.EMULATED));
  }

  @Test
  void asSecondDriverTheEmulatorIsRefused(@TempDir Path folder) throws Exception {
    // any libcuda.so.1 that loads will do for NVIDIA's
    Path driver = NativeFiles.unpack("/dev/gatun/emulator/libcuda.so.1");
    TestProcesses.Outcome outcome =
        java(
            OpenBoth.class,
            List.of("-Dgatun.libcuda=" + driver),
            folder.resolve("log"),
            "REAL",
            "EMULATED");
    assertEquals(0, outcome.exitCode(), outcome.output());
    assertTrue(outcome.output().contains("opened REAL"), outcome.output());
    assertTrue(outcome.output().contains("a process has one only"), outcome.output());
  }

  @Test
  void aDriverThatSomebodyElseOpenedIsNoticed(@TempDir Path folder) throws Exception {
    Path driver = NativeFiles.unpack("/dev/gatun/emulator/libcuda.so.1");
    Path other = Files.createDirectories(folder.resolve("other")).resolve("libcuda.so.1");
    Files.copy(driver, other);
    TestProcesses.Outcome outcome =
        java(OpenAfter.class, List.of(), folder.resolve("log"), other.toString());
    assertEquals(0, outcome.exitCode(), outcome.output());
    assertTrue(outcome.output().contains(other + " open already"), outcome.output());
  }

  @Test
  void thePropertyDecidesBeforehand(@TempDir Path folder) throws Exception {
    TestProcesses.Outcome outcome =
        java(
            OpenBoth.class,
            List.of("-Dgatun.cuda.driver=emulated"),
            folder.resolve("log"),
            "REAL",
            "EMULATED");
    assertEquals(0, outcome.exitCode(), outcome.output());
    assertTrue(outcome.output().contains("gatun.cuda.driver=emulated"), outcome.output());
    assertTrue(outcome.output().contains("opened EMULATED"), outcome.output());
  }

  @Test
  void nothingIsLeftInTheTemporaryFolder(@TempDir Path folder) throws Exception {
    Path temporary = Files.createDirectories(folder.resolve("tmp"));
    Path cache = folder.resolve("cache");
    TestProcesses.Outcome outcome =
        java(
            OpenAll.class,
            List.of("-Djava.io.tmpdir=" + temporary, "-Dgatun.cache=" + cache),
            folder.resolve("log"));
    assertEquals(0, outcome.exitCode(), outcome.output());
    assertTrue(outcome.output().contains("tmpdir " + temporary), outcome.output());
    assertEquals(List.of(), namesIn(temporary));
    // JCuda's parts came from the private folder, and from there only
    TreeSet<String> mapped = new TreeSet<>();
    outcome
        .output()
        .lines()
        .filter(line -> line.startsWith("mapped "))
        .forEach(line -> mapped.add(line.substring(7)));
    assertEquals(4, mapped.size(), outcome.output());
    mapped.forEach(file -> assertTrue(file.startsWith(cache.toString()), file));
  }

  @Test
  void aMissingDriverNamesEveryPlace() {
    // in this process the emulator is open: what the search says is asked of the finder itself
    LibraryException e =
        assertThrows(
            LibraryException.class,
            () -> new LibraryFinder("cuda").path("/nonexistent/libcuda.so.1").open());
    assertOneLine(e.getMessage());
    assertTrue(e.getMessage().contains("/nonexistent/libcuda.so.1"), e.getMessage());
  }

  /** Opens two drivers, one after the other, and prints what came of each. */
  static final class OpenBoth {
    public static void main(String[] kinds) {
      for (String kind : kinds) {
        try {
          CudaLibrary.open(Kind.valueOf(kind));
          System.out.println("opened " + kind);
        } catch (LibraryException e) {
          System.out.println(e.getMessage());
        }
      }
    }
  }

  /** Opens the emulator after a library of the driver's name. */
  static final class OpenAfter {
    public static void main(String[] arguments) {
      System.load(arguments[0]);
      try {
        CudaLibrary.open(Kind.EMULATED);
        System.out.println("opened");
      } catch (LibraryException e) {
        System.out.println(e.getMessage());
      }
    }
  }

  /** Opens everything there is to open. */
  static final class OpenAll {
    public static void main(String[] arguments) throws Exception {
      CudaLibrary library = CudaLibrary.open(Kind.EMULATED);
      System.out.println("cuDNN " + library.dnnVersion());
      System.out.println("tmpdir " + System.getProperty("java.io.tmpdir"));
      Files.readAllLines(Path.of("/proc/self/maps")).stream()
          .filter(line -> line.matches(".*/lib(cuda|cudnn|JCuda|JCudnn)[^/]*"))
          .map(line -> line.substring(line.indexOf('/')))
          .distinct()
          .forEach(file -> System.out.println("mapped " + file));
    }
  }
}
