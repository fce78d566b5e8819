package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
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
