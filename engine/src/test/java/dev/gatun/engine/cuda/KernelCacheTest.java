package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DeviceException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelCacheTest {
  private static final byte[] IMAGE = {1, 2, 3, 4, 5};

  @TempDir Path folder;

  @Test
  void whatIsStoredIsFoundAndNothingElseIsLeft() throws Exception {
    Path kernels = folder.resolve("a/kernels");
    KernelCache cache = new KernelCache(kernels);
    assertEquals(Optional.empty(), cache.find("key"));
    cache.store("key", IMAGE);
    cache.store("key", IMAGE);
    assertArrayEquals(IMAGE, cache.find("key").orElseThrow());
    assertEquals(Optional.empty(), cache.find("other"));
    try (var files = Files.list(kernels)) {
      assertEquals(List.of(kernels.resolve("key")), files.toList());
    }
    assertEquals(
        "rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(kernels)));
  }

  @Test
  void aFileThatWasChangedIsNotThereAndIsReplaced() throws Exception {
    KernelCache cache = new KernelCache(folder.resolve("kernels"));
    cache.store("key", IMAGE);
    Path file = folder.resolve("kernels/key");
    byte[] whole = Files.readAllBytes(file);
    for (int i = 0; i < whole.length; i++) {
      byte[] changed = whole.clone();
      changed[i] ^= 1;
      Files.write(file, changed);
      assertEquals(Optional.empty(), cache.find("key"), "byte " + i);
    }
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, java.util.Arrays.copyOf(whole, length));
      assertEquals(Optional.empty(), cache.find("key"), "length " + length);
    }
    cache.store("key", IMAGE);
    assertArrayEquals(IMAGE, cache.find("key").orElseThrow());
  }

  @Test
  void keysTellTheirPartsApart() {
    assertEquals(KernelCache.key(List.of("a", "b")), KernelCache.key(List.of("a", "b")));
    assertNotEquals(KernelCache.key(List.of("a", "b")), KernelCache.key(List.of("ab")));
    assertNotEquals(KernelCache.key(List.of("a", "b")), KernelCache.key(List.of("a", "b", "")));
    assertNotEquals(KernelCache.key(List.of("a", "1:b")), KernelCache.key(List.of("a1", ":b")));
  }

  @Test
  void aFolderThatOthersWriteToIsRefusedInOneLine() throws Exception {
    Path kernels = Files.createDirectory(folder.resolve("kernels"));
    Files.setPosixFilePermissions(kernels, PosixFilePermissions.fromString("rwxrwxrwx"));
    DeviceException e =
        assertThrows(DeviceException.class, () -> new KernelCache(kernels).store("key", IMAGE));
    CudaTestSupport.assertOneLine(e.getMessage());
    assertTrue(e.getMessage().contains("chmod go-w"), e.getMessage());
    Path file = Files.writeString(folder.resolve("file"), "");
    DeviceException none =
        assertThrows(DeviceException.class, () -> new KernelCache(file).store("key", IMAGE));
    CudaTestSupport.assertOneLine(none.getMessage());
  }
}
