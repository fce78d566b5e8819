package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LibraryFinderTest {
  private static final String KEY = "gatun.test.library";
  private static final String GOMP = "/org/bytedeco/dnnl/linux-x86_64/libgomp.so.1";

  @TempDir Path folder;

  @AfterEach
  void clear() {
    System.clearProperty(KEY);
  }

  private static String failure(LibraryFinder finder) {
    LibraryException e = assertThrows(LibraryException.class, finder::open);
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    return e.getMessage();
  }

  @Test
  void aFailureListsEveryPlaceInOrderAndWhyEachFailed() throws Exception {
    Path text = Files.writeString(folder.resolve("text.so"), "not a library ".repeat(100));
    Path missing = folder.resolve("missing.so");
    String message =
        failure(
            new LibraryFinder("libthing")
                .property(KEY)
                .variable("GATUN_TEST_NO_SUCH_VARIABLE", "lib/libthing.so")
                .path(missing.toString())
                .path(text.toString())
                .resource("/no/such/resource.so"));
    assertTrue(message.startsWith("cannot open libthing, tried "), message);
    String[] inOrder = {
      "property " + KEY + ": not set",
      "variable GATUN_TEST_NO_SUCH_VARIABLE: not set",
      missing + ": " + missing + " does not exist or cannot be read",
      text.toString(),
      "invalid ELF header",
      "class path /no/such/resource.so: /no/such/resource.so is not on the class path"
    };
    int at = 0;
    for (String part : inOrder) {
      int next = message.indexOf(part, at);
      assertTrue(next >= at, "no '" + part + "' after " + at + " in: " + message);
      at = next;
    }
  }

  @Test
  void aPropertyThatPointsNowhereIsNamedWithItsFile() {
    System.setProperty(KEY, "/no/such/file.so");
    String message = failure(new LibraryFinder("libthing").property(KEY));
    assertTrue(message.contains("property " + KEY + ": /no/such/file.so does not exist"), message);
    System.setProperty(KEY, "nul\0character");
    failure(new LibraryFinder("libthing").property(KEY));
  }

  @Test
  void aFolderInPlaceOfAFileIsAFailureNotACrash() {
    assertTrue(
        failure(new LibraryFinder("libthing").path(folder.toString())).contains(folder.toString()));
  }

  @Test
  void theFirstPlaceThatHasItIsOpenedAndSaid() throws Exception {
    Path copy = folder.resolve("libcopy.so");
    try (var in = LibraryFinder.class.getResourceAsStream(GOMP)) {
      Files.copy(in, copy);
    }
    LibraryFinder.Opened opened =
        new LibraryFinder("gomp")
            .path("/no/such/file.so")
            .path(copy.toString())
            .path("/never/looked/at.so")
            .open();
    assertEquals(copy, opened.file());
    assertEquals(copy.toString(), opened.place());
    assertEquals("gomp: " + copy + " (" + copy + ")", opened.toString());
  }

  @Test
  void withinAPlaceTheFirstFileNameIsPreferred() throws Exception {
    Path b = Files.createDirectories(folder.resolve("b"));
    try (var in = LibraryFinder.class.getResourceAsStream(GOMP)) {
      Files.copy(in, b.resolve("lib.so.12"));
    }
    Files.copy(b.resolve("lib.so.12"), b.resolve("lib.so.13"));
    LibraryFinder finder =
        new LibraryFinder("lib")
            .folders(
                "system folders",
                List.of(folder.resolve("a").toString(), b.toString()),
                List.of("lib.so.13", "lib.so.12"));
    assertEquals(b.resolve("lib.so.13"), finder.open().file());
    // one that does not open is no reason to give up
    Path c = Files.createDirectories(folder.resolve("c"));
    Files.writeString(c.resolve("lib.so.13"), "not a library ".repeat(100));
    Files.copy(b.resolve("lib.so.12"), c.resolve("lib.so.12"));
    LibraryFinder.Opened opened =
        new LibraryFinder("lib")
            .folders("system folders", List.of(c.toString()), List.of("lib.so.13", "lib.so.12"))
            .open();
    assertEquals(c.resolve("lib.so.12"), opened.file());
    assertEquals("system folders", opened.place());
  }

  @Test
  void theSummaryTellsNothingFoundFromWhatIsBroken() throws Exception {
    LibraryException none =
        assertThrows(
            LibraryException.class,
            () ->
                new LibraryFinder("lib")
                    .property(KEY)
                    .folders("folders", List.of("/no/a", "/no/b"), List.of("lib.so"))
                    .open());
    assertEquals("not found", none.summary());
    assertTrue(
        none.getMessage().endsWith("folders: none of /no/a/lib.so, /no/b/lib.so"),
        none.getMessage());
    Path text = Files.writeString(folder.resolve("text.so"), "not a library ".repeat(100));
    LibraryException broken =
        assertThrows(
            LibraryException.class,
            () -> new LibraryFinder("lib").path(text.toString()).path("/no/such.so").open());
    assertTrue(broken.summary().contains("invalid ELF header"), broken.summary());
    assertTrue(broken.summary().contains(text.toString()), broken.summary());
    assertEquals("why", new LibraryException("why").summary());
  }

  /** In a process of its own: the search reads the environment, and python3 is asked once. */
  @Test
  void nvidiasLibrariesAreFoundInTheirOrder() throws Exception {
    Path python = folder.resolve("bin").resolve("python3");
    Path packages = folder.resolve("lib/python3.12/site-packages");
    Files.createDirectories(python.getParent());
    Files.writeString(python, "#!/bin/sh\necho " + packages + "\n");
    assertTrue(python.toFile().setExecutable(true));
    Path toolkit = folder.resolve("toolkit");
    Path loader = folder.resolve("loader");
    Path[] inOrder = {
      folder.resolve("named.so"),
      toolkit.resolve("lib64/libnvrtc.so.13"),
      toolkit.resolve("lib64/libnvrtc.so.12"),
      toolkit.resolve("targets/x86_64-linux/lib/libnvrtc.so.13"),
      loader.resolve("libnvrtc.so.12"),
      packages.resolve("nvidia/cu13/lib/libnvrtc.so.13"),
      packages.resolve("nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
    };
    try (var in = LibraryFinder.class.getResourceAsStream(GOMP)) {
      Files.copy(in, folder.resolve("library"));
    }
    for (Path file : inOrder) {
      Files.createDirectories(file.getParent());
      Files.copy(folder.resolve("library"), file);
    }
    for (Path file : inOrder) {
      assertEquals(file.toString(), search(python, toolkit, loader, inOrder[0], "13"));
      Files.delete(file);
    }
    String none = search(python, toolkit, loader, inOrder[0], "13");
    if (none.startsWith("/")) {
      // this machine has one of its own, in the place that is looked at last
      assertTrue(none.startsWith("/usr/"), none);
    } else {
      for (String place :
          List.of(
              "property gatun.nvrtc: " + inOrder[0],
              "variable GATUN_NVRTC: not set",
              "variable CUDA_PATH: none of " + toolkit,
              "variable LD_LIBRARY_PATH: none of " + loader,
              "python3's packages: none of " + packages,
              "system folders: none of /usr/local/cuda/lib64/libnvrtc.so.13")) {
        assertTrue(none.contains(place), place + " in " + none);
      }
    }
    // for a driver of CUDA 12 only that library
    Files.copy(folder.resolve("library"), inOrder[1]);
    Files.copy(folder.resolve("library"), inOrder[6]);
    assertEquals(inOrder[6].toString(), search(python, toolkit, loader, inOrder[0], "12"));
  }

  private String search(Path python, Path toolkit, Path loader, Path named, String major)
      throws Exception {
    TestProcesses.Outcome outcome =
        TestProcesses.java(
            Search.class,
            List.of("-Dgatun.nvrtc=" + named),
            folder.resolve("log"),
            Map.of(
                "PATH",
                python.getParent() + ":" + System.getenv("PATH"),
                "CUDA_PATH",
                toolkit.toString(),
                "LD_LIBRARY_PATH",
                loader.toString()),
            major);
    assertEquals(0, outcome.exitCode(), outcome.output());
    return outcome.output().strip();
  }

  /** Prints which NVRTC is opened, or why none. */
  static final class Search {
    public static void main(String[] arguments) {
      try {
        System.out.println(NvidiaLibraries.nvrtc(Integer.parseInt(arguments[0])).open().file());
      } catch (LibraryException e) {
        System.out.println(e.getMessage());
      }
    }
  }

  @Test
  void otherPlatformsGetOneClearLine() {
    String os = System.getProperty("os.name");
    String arch = System.getProperty("os.arch");
    try {
      System.setProperty("os.arch", "aarch64");
      LibraryException e = assertThrows(LibraryException.class, LibraryFinder::requireLinuxX64);
      assertEquals("Gatun runs on linux-x86_64 only; this is Linux on aarch64", e.getMessage());
      System.setProperty("os.arch", arch);
      System.setProperty("os.name", "Mac OS X");
      assertThrows(LibraryException.class, LibraryFinder::requireLinuxX64);
    } finally {
      System.setProperty("os.name", os);
      System.setProperty("os.arch", arch);
    }
    LibraryFinder.requireLinuxX64();
  }
}
