package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeFilesTest {
  private static final String GOMP = "/org/bytedeco/dnnl/linux-x86_64/libgomp.so.1";

  @TempDir Path folder;
  private String before;

  @BeforeEach
  void ownCache() {
    before = System.getProperty("gatun.cache");
    System.setProperty("gatun.cache", folder.resolve("cache").toString());
  }

  @AfterEach
  void usualCache() {
    if (before == null) {
      System.clearProperty("gatun.cache");
    } else {
      System.setProperty("gatun.cache", before);
    }
  }

  private static Properties pinned() throws IOException {
    Properties hashes = new Properties();
    try (InputStream in = NativeFiles.class.getResourceAsStream("natives.properties")) {
      hashes.load(in);
    }
    return hashes;
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = NativeFiles.class.getResourceAsStream(name)) {
      assertNotNull(in, name);
      return in.readAllBytes();
    }
  }

  private static String sha256(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  @Test
  void pinnedHashesAreThoseOfTheJars() throws Exception {
    Properties hashes = pinned();
    assertTrue(hashes.size() >= 4, hashes.toString());
    for (String name : hashes.stringPropertyNames()) {
      assertEquals(sha256(resource(name)), hashes.getProperty(name), name);
    }
  }

  @Test
  void aFileIsUnpackedWholeIntoAPrivateFolderNamedByItsHash() throws Exception {
    Path file = NativeFiles.unpack(GOMP);
    assertArrayEquals(resource(GOMP), Files.readAllBytes(file));
    assertTrue(file.startsWith(folder.resolve("cache")), file.toString());
    assertEquals("libgomp.so.1", file.getFileName().toString());
    assertEquals(
        pinned().getProperty(GOMP).substring(0, 16), file.getParent().getFileName().toString());
    for (Path p = file.getParent(); !p.equals(folder); p = p.getParent()) {
      assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(p)));
    }
    assertEquals(List.of("libgomp.so.1"), names(file.getParent()));
    var written = Files.getLastModifiedTime(file);
    assertEquals(file, NativeFiles.unpack(GOMP));
    assertEquals(written, Files.getLastModifiedTime(file), "a good file is left alone");
  }

  private static List<String> names(Path where) throws IOException {
    try (Stream<Path> files = Files.list(where)) {
      return files.map(p -> p.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void aFileThatSomebodyChangedIsReplaced() throws Exception {
    byte[] good = resource(GOMP);
    Path file = NativeFiles.unpack(GOMP);
    byte[] changed = good.clone();
    changed[changed.length / 2] ^= 1; // of the same size and date
    Files.write(file, changed);
    assertArrayEquals(good, Files.readAllBytes(NativeFiles.unpack(GOMP)));
    Files.write(file, new byte[0]);
    assertArrayEquals(good, Files.readAllBytes(NativeFiles.unpack(GOMP)));
    Files.delete(file);
    assertArrayEquals(good, Files.readAllBytes(NativeFiles.unpack(GOMP)));
    assertEquals(List.of("libgomp.so.1"), names(file.getParent()), "left over");
  }

  @Test
  void aLinkInPlaceOfTheFileIsReplacedAndItsTargetLeftAlone() throws Exception {
    byte[] good = resource(GOMP);
    Path file = NativeFiles.unpack(GOMP);
    Path elsewhere = folder.resolve("elsewhere");
    Files.write(elsewhere, good);
    Files.delete(file);
    Files.createSymbolicLink(file, elsewhere);
    NativeFiles.unpack(GOMP);
    assertTrue(Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS), "still a link");
    assertArrayEquals(good, Files.readAllBytes(elsewhere));
  }

  @Test
  void aFolderThatOthersMayWriteToIsRefused() throws Exception {
    for (String permissions : List.of("rwxrwx---", "rwx-wx-wx", "rwxr-xrwx")) {
      Path file = NativeFiles.unpack(GOMP);
      Path parent = file.getParent();
      Files.setPosixFilePermissions(parent, PosixFilePermissions.fromString(permissions));
      LibraryException e =
          assertThrows(LibraryException.class, () -> NativeFiles.unpack(GOMP), permissions);
      assertEquals(1, e.getMessage().lines().count());
      assertTrue(e.getMessage().contains(parent.toString()), e.getMessage());
      assertTrue(e.getMessage().contains("chmod go-w"), e.getMessage());
      Files.setPosixFilePermissions(parent, PosixFilePermissions.fromString("rwx------"));
    }
    Path readable = folder.resolve("readable");
    Files.createDirectory(readable);
    Files.setPosixFilePermissions(readable, PosixFilePermissions.fromString("rwxr-xr-x"));
    assertEquals(readable, NativeFiles.privateFolder(readable), "others may read");
  }

  @Test
  void aFolderOfAnotherUserIsRefused() throws Exception {
    Path theirs = Files.createDirectory(folder.resolve("theirs"));
    Files.setPosixFilePermissions(theirs, PosixFilePermissions.fromString("rwxr-xr-x"));
    try {
      Files.setAttribute(theirs, "unix:uid", 12_345);
    } catch (IOException e) {
      assumeTrue(false, "only root can give a folder away");
    }
    LibraryException e =
        assertThrows(LibraryException.class, () -> NativeFiles.privateFolder(theirs));
    assertEquals(1, e.getMessage().lines().count());
    assertTrue(e.getMessage().contains("belongs to another user (12345)"), e.getMessage());
  }

  @Test
  void aFolderThatCannotBeMadeIsAnErrorThatSaysWhatToDo() throws Exception {
    Path file = Files.createFile(folder.resolve("file"));
    System.setProperty("gatun.cache", file.resolve("below").toString());
    LibraryException e = assertThrows(LibraryException.class, () -> NativeFiles.unpack(GOMP));
    assertTrue(e.getMessage().contains("GATUN_CACHE"), e.getMessage());
    assertEquals(1, e.getMessage().lines().count());
  }

  @Test
  void aResourceThatIsNotThereIsNamed() {
    LibraryException e =
        assertThrows(LibraryException.class, () -> NativeFiles.unpack("/no/such/libnone.so"));
    assertTrue(e.getMessage().contains("/no/such/libnone.so"), e.getMessage());
  }

  @Test
  void manyThreadsUnpackAtOnce() throws Exception {
    byte[] good = resource(GOMP);
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try {
      for (int round = 0; round < 5; round++) {
        System.setProperty("gatun.cache", folder.resolve("round" + round).toString());
        List<Future<byte[]>> results = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
          results.add(pool.submit(() -> Files.readAllBytes(NativeFiles.unpack(GOMP))));
        }
        for (Future<byte[]> result : results) {
          assertArrayEquals(good, result.get());
        }
        assertEquals(
            List.of("libgomp.so.1"), names(NativeFiles.unpack(GOMP).getParent()), "left over");
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void severalProcessesUnpackAtOnce() throws Exception {
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      ProcessBuilder builder =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-Xshare:auto",
                  "-XX:TieredStopAtLevel=1",
                  "-Dgatun.cache=" + folder.resolve("shared"),
                  Unpack.class.getName())
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("log" + i).toFile());
      builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
      processes.add(builder.start());
    }
    String expected = pinned().getProperty(GOMP);
    for (int i = 0; i < 3; i++) {
      assertTrue(processes.get(i).waitFor(60, TimeUnit.SECONDS), "process " + i + " hangs");
      assertEquals(expected, Files.readString(folder.resolve("log" + i)).strip());
    }
  }

  /** Unpacks into one new folder after another, each of which the other processes want too. */
  static final class Unpack {
    public static void main(String[] arguments) throws Exception {
      String shared = System.getProperty("gatun.cache");
      String found = null;
      for (int i = 0; i < 30; i++) {
        System.setProperty("gatun.cache", shared + "/" + i);
        found = sha256(Files.readAllBytes(NativeFiles.unpack(GOMP)));
        if (!found.equals(pinned().getProperty(GOMP))) {
          break;
        }
      }
      System.out.println(found);
    }
  }

  @Test
  void theCacheIsWhereTheUserSaysElseBelowTheHome() {
    System.setProperty("gatun.cache", "/some/where");
    assertEquals(Path.of("/some/where"), NativeFiles.cacheRoot());
    System.clearProperty("gatun.cache");
    String variable = System.getenv("GATUN_CACHE");
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path expected =
        variable != null && !variable.isBlank()
            ? Path.of(variable)
            : xdg != null && xdg.startsWith("/")
                ? Path.of(xdg, "gatun")
                : Path.of(System.getProperty("user.home"), ".cache", "gatun");
    assertEquals(expected, NativeFiles.cacheRoot());
  }
}
